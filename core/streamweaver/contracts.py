"""The written contracts: what the engine asks of producers, transforms, sinks, codecs and brokers.

Nothing here is to be inherited from: a class fits when it has the methods. The docstrings say who calls, how often,
whether a call may block, what an exception means, and what is guaranteed in return.

`open(context)` and `close()` are optional on producers, transforms and sinks, plain or `async`. `open` is called once
before anything else, `close` once at the end, also after a failure and also when `open` itself failed. `Fatal` out of
the first `open` of a stage ends the pipeline at once (a missing file, a port in use, a wrong password: nobody need wait
for restarts to hear of it); `Retriable` and all other errors go by the stage's restart policy. After `close`
a new `open` may follow (a restart); an instance is never used by two stages or in two threads at a time. All plain
methods of a transform or sink declared `blocking` are called in one thread of its stage, `open` and `close` among
them; a blocking producer's `open` and `close` run in that thread, its generator in one of its own.

Three more methods are optional on every plugin of a stage. They serve `pipeline check`, and are called on an instance
that is not open:

- `claims()` returns texts that name what it wants for itself alone (`port 8765`, `file /srv/out.csv`). Two equal ones
  in a pipeline are a mistake. It is quick and looks at the options only.
- `warnings()` returns texts on what is missing now and may still come, such as the input file. It is quick, and may
  look at the disk.
- `probe()` is called with `--connect`. It reaches what the plugin will need (a port, a server, a writable folder)
  without taking, making or changing anything, and raises what `open` would. `async`, or plain and then called in a
  thread; it gets ten seconds.
"""

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from pathlib import Path
from typing import Any, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, runtime_checkable

import attrs

from streamweaver.record import Batch, Headers, Record, Rejected

P = ParamSpec("P")
T = TypeVar("T")

Delivery: TypeAlias = Literal["best_effort", "at_least_once", "exactly_once"]
"""Delivery guarantees, weakest first."""

Made: TypeAlias = Record | Iterable[Record] | None
"""What a record function returns: one record, several (a list), or None to drop it."""

Brought: TypeAlias = Record | Rejected | list[Record | Rejected] | list[Record]
"""What a producer yields: a record, input that it cannot read, or a list of these."""


# -- contexts: what the engine lends to a plugin --------------------------------------------------


class Context(Protocol):
    """What every plugin gets in `open` (and in its verb); valid until `close`."""

    pipeline: str
    stage: str

    def now(self) -> int:
        """Milliseconds since 1970. Use this clock, not the system's, so that tests can set it."""

    async def sleep(self, seconds: float) -> None:
        """Wait on the context's clock; ends early, by cancellation, when the stage stops."""

    async def run_blocking(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run blocking code in a thread, one call of this stage at a time, and return its result."""

    def log(
        self, event: str, /, *, level: Literal["debug", "info", "warning", "error"] = "info", **fields: Any
    ) -> None:
        """Write one structured log line, marked with the stage. Values of secret options are blanked."""

    def waits_for(self, what: str | None) -> None:
        """Say what the plugin waits for (`a file that matches *.log`); None when it no longer does.

        It is shown as what the stage is at while it has nothing else to do.
        """

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter of the stage's own; it is published with the stage's metrics."""

    def gauge(self, name: str, value: float) -> None:
        """Set a figure of the stage's own; it is published with the stage's metrics."""


class ProducerContext(Context, Protocol):
    """The context of a producer."""

    position: Any
    """The position of the last durable record of an earlier run, or None."""

    emitted: int
    """How many records of this producer are durable already, over all runs."""


class State(Protocol):
    """Durable values by key, for one step and one partition; committed together with the step's output.

    A key is str, bytes or int; a value is anything that MessagePack can hold. A value that was read and then changed
    in place must be assigned again, or the change is not stored. When a unit of work is aborted, everything that was
    touched since the last commit is forgotten and read again.
    """

    def get(self, key: str | bytes | int, default: Any = None, /) -> Any:
        """Return the value, or `default`; may read from the local disk (microseconds), never from the network."""

    def __getitem__(self, key: str | bytes | int, /) -> Any: ...

    def __setitem__(self, key: str | bytes | int, value: Any, /) -> None: ...

    def __delitem__(self, key: str | bytes | int, /) -> None: ...

    def __contains__(self, key: object, /) -> bool: ...

    def items(self) -> Iterator[tuple[str | bytes | int, Any]]:
        """Go through everything stored, in no order. Reads all of it: keep what is iterated small."""


class TransformContext(Context, Protocol):
    """The context of a transform step. In `open`, `state` is not to be used; in `process` it is the partition's."""

    topic: str
    partition: int

    @property
    def state(self) -> State:
        """The durable values of this step and partition."""


class SinkContext(Context, Protocol):
    """The context of a sink."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics that the stage reads."""

    data_dir: Path
    """A folder of the stage's own, for what the sink must remember."""

    async def history(self, topic: str, limit: int) -> list[Record]:
        """Return up to `limit` of the newest records of one of the stage's topics, oldest first."""


# -- plugins --------------------------------------------------------------------------------------


@runtime_checkable
class Producer(Protocol):
    """Brings records in.

    `produce` is called once after each `open`. It is an async generator, or a plain generator (which must not block
    longer than some milliseconds; declare `blocking=True` to have it run in a thread). It yields records, or lists
    of records where speed matters; a list is stored in one unit of work, so only its last record needs a position. An
    empty list brings nothing and lets other stages have a turn, for a plain generator that has much to pass over. With
    a `rate` a list is cut, so that its records go evenly: anywhere, or, where the producer resumes, behind a record
    that has a position. So one that resumes gives a position to each record of a list where that is cheap.
    For input that cannot be read it yields `Rejected`, which becomes a dead letter. Returning ends the stage: it has
    no more to bring. Rate, count, retry and restart are the engine's.

    A record's `position` says where to resume after it, and is stored in the same unit of work as the record. After a
    restart `context.position` is the position of the last record that is durable: so nothing is lost, and nothing
    comes twice. A producer that can promise this declares `resumes=True`; without it a restart begins anew.

    Raising `Retriable` or anything else ends the generator: `produce` is called again, after a back-off, with a fresh
    context; after as many failures in a row as the stage's restart policy allows, the stage fails. `Fatal` before
    anything was yielded is taken as in `open`.
    """

    def produce(self, context: ProducerContext, /) -> AsyncIterator[Brought] | Iterator[Brought]: ...


@runtime_checkable
class Transform(Protocol):
    """Records to records, a batch at a time: the fast form.

    `process` is called with each batch, in order, never twice at a time. It returns (or yields) the records that go
    on, in order; it may change the given records in place, drop some, add some. Plain or `async`.

    Raising `BadRecord(index, why)` blames one record of the batch; `Retriable` asks for another try; anything else
    means that some record is bad: the state is rolled back and the records are tried one at a time, so one bad
    record costs one dead letter and none of its neighbours.

    A transform may also have `tick(context)`: called about once a second for every partition that the stage
    holds, also when no record comes, with the same rights as `process` (records returned, state committed).
    """

    def process(self, batch: Batch, context: TransformContext, /) -> Iterable[Record] | Awaitable[Iterable[Record]]: ...


@runtime_checkable
class RecordTransform(Protocol):
    """Records to records, one at a time: the simple form, for a class that wants `open`, `close` or several options.

    `process_record` returns a record (the same, changed, or a new one), a list of records, or None to drop it.
    Whatever it raises blames that record alone. Plain or `async`; when `async`, the step's `concurrency: N` lets N
    calls of one batch overlap, still one after the other for records of the same key.
    """

    def process_record(self, record: Record, context: TransformContext, /) -> Made | Awaitable[Made]: ...


@runtime_checkable
class Sink(Protocol):
    """Takes records out.

    `write` is called with each batch, in order, never twice at a time, and returns when the batch is as durable as
    the sink can make it; only then is the offset committed. Plain (and quick), plain and declared `blocking=True`
    (runs in a thread), or `async`. A batch holds what waits, so that nothing waits longer than it must; the stage's
    `batch` has the engine gather more first, for stores that like few large writes.

    Raising `BadRecord(index, why)` blames one record; `Retriable` asks for the same batch again; anything else makes
    the engine split the batch until the bad record stands alone. In each case nothing of that batch may have been
    written, or writing it again must do no harm.

    A sink may have `write_all(batches)`, in the same form as `write`: several batches in one step, for a store where a
    step costs more than what is in it (a sync, a transaction, a request). It is called in place of `write` when more
    than one batch waits, with all of them in order; of one partition there may be several. What is said of `write` and
    its batch goes for `write_all` and all of its batches, except that `BadRecord` is as good as any other error: the
    engine then gives each batch to `write` alone.

    `batch.topic` is the topic that the records belong to, also when they are dead letters that are replayed. (For a
    sink with `committed` it is the one that their offsets belong to: the stage's replay topic.) The stage's `timeout`
    bounds `async` writes only.

    A sink may have `committed(topic, partition) -> int | None` (plain or `async`, called after `open`): the offset
    after the last one it has stored together with its rows (`batch.last_offset + 1`). The engine resumes there or at
    the offset that the stage's group has committed, whichever is later: after a crash that is the sink's own, which
    makes the sink exactly-once; it declares `delivery="exactly_once"`. The group's is later when nothing of the last
    records was left to write, and when the store was set back: then the group must be set back too, or what is missing
    is not written again (the log tells both offsets). A sink for which a repeated batch is harmless (an upsert)
    declares the same. A live view, which keeps nothing, declares `delivery="best_effort"`.
    """

    def write(self, batch: Batch, /) -> Awaitable[None] | None: ...


@runtime_checkable
class RecordSink(Protocol):
    """Takes records out one at a time: the simple form.

    `write_record` returns when the record is durable; whatever it raises blames that record alone.
    """

    def write_record(self, record: Record, /) -> Awaitable[None] | None: ...


@runtime_checkable
class Codec(Protocol):
    """Values to bytes and back. Both methods are called once a record, must be quick, and raise on bad input."""

    def encode(self, value: Any, /) -> bytes:
        """Turn a value into bytes; never called with None, which is stored as a tombstone."""

    def decode(self, data: bytes, /) -> Any:
        """Turn bytes into a value; never called for a tombstone."""


# -- brokers --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class TopicSpec:
    """A topic as declared.

    `retention_ms` and `retention_bytes` (a partition) bound what is kept, None means no bound. `cleanup` is `delete`
    (by retention), `compact` (the newest record of each key stays; a tombstone removes its key) or both.
    `settings` go to the broker as they are.
    """

    name: str
    partitions: int = 1
    retention_ms: int | None = None
    retention_bytes: int | None = None
    cleanup: Literal["delete", "compact", "compact+delete"] = "delete"
    replication: int | None = None
    settings: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class PartitionRange:
    """What a partition holds: offsets from `begin` up to, not including, `end`."""

    begin: int
    end: int


@attrs.define(slots=True)
class Rows:
    """Encoded records in columns, all of one length: the form in which brokers store and hand out records.

    Columns, not objects: a broker moves a thousand records with a handful of list operations. `headers` is None when
    no record has any.
    """

    keys: list[bytes | None]
    values: list[bytes | None]
    timestamps: list[int]
    headers: list[Headers] | None = None

    def __len__(self) -> int:
        return len(self.values)


@attrs.define(slots=True)
class Fetched(Rows):
    """Rows as read from one partition.

    `offsets` is as long as the columns (a `range` when there are no gaps). `next_offset` is where to read on, and may
    lie beyond the last offset + 1. `lost` counts offsets that retention had removed before they could be read.
    """

    topic: str = ""
    partition: int = 0
    offsets: Sequence[int] = ()
    next_offset: int = 0
    lost: int = 0


class UnitOfWork(Protocol):
    """Everything that one step forward changes, stored as a whole or not at all.

    All but the last two only collect, in memory. A unit is used once: after `commit` or `abort` it is done with.
    """

    def append(self, topic: str, partition: int, rows: Rows, /) -> None:
        """Add rows to a partition. Rows of one partition keep the order of the calls."""

    def put_state(self, store: str, partition: int, changes: Mapping[bytes, bytes | None], /) -> None:
        """Set (or, with None, delete) values of a state store."""

    def mark(self, topic: str, partition: int, offset: int, /) -> None:
        """Say that the lane's group has consumed everything before `offset`."""

    def mark_position(self, position: bytes, /) -> None:
        """Set the position of the lane's producer."""

    def expect_end(self, topic: str, partition: int, offset: int, /) -> None:
        """Have `commit` raise ConflictError, and store nothing, unless the partition still ends at `offset`.

        So who has read a partition to its end appends to it knowing that nobody else has, in whatever process, as
        long as everybody who appends there expects an end. For a unit outside any group, and one partition of it.
        """

    async def commit(self) -> None:
        """Make it all durable, atomically. When this returns, it survives what the broker promises to survive.

        Raises ConflictError when an expected end has moved (now nothing is stored, for certain), LaneLostError when
        the lane's partitions have moved, StorageError when it cannot be stored; after any other
        exception the outcome is settled by asking the lane again where it stands.
        """

    async def abort(self) -> None:
        """Forget it. May also be called after a failed `commit`."""


class Reader(Protocol):
    """Reads partitions from given offsets on, without a group: for tools, views and replay."""

    async def poll(self, *, max_records: int = 5_000, timeout: float | None = None) -> list[Fetched]:
        """Return what waits, at most one item a partition, at once if there is any; else wait for it.

        An empty list comes back only after `timeout` seconds. Never returns more than a few MiB at once. An item
        without rows says that nothing is, or is left, before its `next_offset`: who reads up to an end gets there.
        """

    async def close(self) -> None: ...


class Lane(Protocol):
    """A share of a group's work: some partitions, read and committed together by one task.

    How many lanes a group has in this process is the broker's choice (one for everything; one a partition). The task
    that runs a lane calls `poll`, works, commits one unit, and polls again; it never has two open units. When a
    partition moves away the next call raises LaneLostError, and the task calls `release` and ends.
    """

    @property
    def partitions(self) -> Sequence[tuple[str, int]]:
        """(topic, partition) of each share, empty for a producer's lane."""

    async def poll(self, *, max_records: int = 5_000, timeout: float | None = None) -> list[Fetched]:
        """As `Reader.poll`, from where the lane stands."""

    def seek(self, topic: str, partition: int, offset: int, /) -> None:
        """Go on reading a partition at `offset` (a sink that keeps its own offsets)."""

    async def rewind(self) -> None:
        """Go back to what is committed, after an aborted or failed unit."""

    def begin(self) -> UnitOfWork:
        """Start the lane's next unit of work."""

    def position(self) -> bytes | None:
        """Return the committed position of the lane's producer."""

    def committed(self, topic: str, partition: int, /) -> int | None:
        """Return the group's committed offset: the next one to consume; None before the first commit."""

    def get_state(self, store: str, partition: int, key: bytes, /) -> bytes | None:
        """Return a committed value of a state store; quick (local), never over the network."""

    def state_items(self, store: str, partition: int, /) -> Iterator[tuple[bytes, bytes]]:
        """Go through the committed values of a state store."""

    async def release(self) -> None:
        """Give the lane back; called once, when its task ends, for whatever reason."""


class Group(Protocol):
    """This process's membership in a consumer group."""

    def lanes(self) -> AsyncIterator[Lane]:
        """Yield each lane as it is assigned, until `leave`. Called once."""

    async def leave(self) -> None:
        """Leave the group; all lanes have been released before."""


def _no_log(_level: str, _event: str, /, **_fields: Any) -> None:
    """Stand in for the engine's log where nobody reads it."""


@attrs.frozen(kw_only=True)
class BrokerContext:
    """What a broker is told in `open`.

    `role` is `run` for the one running pipeline (takes whatever locks there are, creates what is missing) and `tool`
    for a command beside it, which must neither wait for a lock of the runner's nor create anything.
    """

    pipeline: str
    data_dir: Path
    role: Literal["run", "tool"] = "run"
    worker: str = "0"
    delivery: Delivery = "exactly_once"
    """The strongest guarantee that any stage relies on; a broker may save work when it is a weaker one."""
    log: Callable[..., None] = _no_log
    """Writes a line of the broker's own: `log(level, event, **fields)`."""


@runtime_checkable
class Broker(Protocol):
    """Keeps topics, groups' offsets, producers' positions and state.

    `open` comes first, `close` last; between them any number of groups and readers may be open at once, all used
    from one event loop. An exception other than those of `streamweaver.errors` is a defect of the broker.
    """

    delivery: Delivery
    """The best guarantee that its unit of work can give."""

    shares_work: bool
    """Whether several processes may run the same group."""

    @property
    def max_record_bytes(self) -> int | None:
        """The largest record (key, value and headers) that it takes, None for any; valid once `create` is done.

        The engine treats a larger one as a bad record, so that it costs one dead letter and not the stage.
        """

    async def open(self, context: BrokerContext, /) -> None: ...

    async def close(self) -> None: ...

    async def create(self, topics: Sequence[TopicSpec], /) -> None:
        """Make sure that the topics exist as declared; TopicMismatchError names every difference it cannot mend."""

    async def topics(self) -> dict[str, TopicSpec]:
        """Return the topics that exist."""

    async def ranges(self, topic: str, /) -> list[PartitionRange]:
        """Return what each partition of a topic holds; UnknownTopicError when there is none."""

    async def offset_at(self, topic: str, partition: int, timestamp: int, /) -> int:
        """Return the first offset with that timestamp (ms) or a later one; the end when there is none."""

    async def offsets(self, group: str, /) -> dict[tuple[str, int], int]:
        """Return the committed offsets of a group by (topic, partition)."""

    async def join(self, group: str, topics: Sequence[str], /, *, single: bool = False) -> Group:
        """Join a consumer group on topics. New groups start at the beginning of each partition.

        `single` asks for one lane in the whole group, however many processes join (producers, with no topics, and
        single-instance sinks); the others stand by. One topic's partitions count alike over all topics of a lane.
        """

    async def reader(self, starts: Mapping[tuple[str, int], int], /) -> Reader:
        """Open a reader at the given offset of each (topic, partition)."""

    def begin(self) -> UnitOfWork:
        """Start a unit of work outside any group (replay, metrics); `mark` and `mark_position` are not for it."""

    # A broker that knows for certain has also `async def holder(self) -> str | None`: who runs the pipeline on this
    # data now, in words, and None when nobody does. Others are told by the age of the pipeline's figures. One whose
    # topics outlive its folder has `async def remove(self, topics)`, by which tests clear up after themselves.

    def state_items(self, store: str, partition: int, /) -> Iterator[tuple[bytes, bytes]]:
        """Go through the committed values of a state store."""
