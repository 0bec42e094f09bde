"""State is the same whatever is in memory, in the log of changes or in the table, and whenever that is broken off."""

import asyncio
import functools
import shutil
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamweaver import BrokerContext, BrokerError, TopicSpec
from streamweaver.testing.broker import append, rows
from streamweaver_brokers.embedded import Embedded, fold, recent, schema
from streamweaver_brokers.embedded.check import check
from streamweaver_brokers.embedded.fold import Fold, in_order

Launch = Callable[..., Awaitable[Embedded]]

KEYS = st.sampled_from([b"", b"a", b"b", b"c", b"d", b"e\0", b"f"])
UNITS = st.dictionaries(KEYS, st.none() | st.binary(max_size=3), max_size=5)


def fold_of(broker: Embedded) -> Fold:
    """Return what folds the state of a running broker."""
    assert broker._session is not None
    found = broker._session._writer._fold
    assert found is not None
    return found


async def pieces(broker: Embedded, count: int) -> None:
    """Fold so many pieces, as the writer does between two transactions."""
    assert broker._session is not None
    for _ in range(count):
        await broker._session._writer.call(lambda _: fold_of(broker).step())


class StateMachine(RuleBasedStateMachine):
    """Two stores, folded in pieces of two values as soon as there are a few; a dict says what must be there."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(fold, "PIECE_VALUES", 2)
        self.patched.setattr(fold, "PIECE_ROWS", 2)
        self.patched.setattr(recent, "LAYER_BYTES", 2_000)
        self.runner = asyncio.Runner()
        self.folders = [Path(tempfile.mkdtemp())]
        self.state: dict[str, dict[bytes, bytes]] = {"a": {}, "b": {}}
        self.runner.run(self.open())

    async def open(self) -> None:
        """Open the broker; its writer folds only when it is told to."""
        self.broker = Embedded(durability="process")
        await self.broker.open(BrokerContext(pipeline="model", data_dir=self.folders[-1]))
        assert self.broker._session is not None
        self.broker._session._writer._maintain = lambda: False  # type: ignore[method-assign]

    @rule(units=st.lists(st.tuples(st.sampled_from(["a", "b"]), UNITS), min_size=1, max_size=3))
    def commit(self, units: list[tuple[str, dict[bytes, bytes | None]]]) -> None:
        """Units that are committed at the same time; once a fold has failed they may be refused, each by itself."""

        async def run() -> list[BaseException | None]:
            found = [self.broker.begin() for _ in units]
            for unit, (store, changes) in zip(found, units, strict=True):
                unit.put_state(store, 0, changes)
            return await asyncio.gather(*(unit.commit() for unit in found), return_exceptions=True)

        folding = fold_of(self.broker)
        is_full, has_failed = folding.failure is not None, folding._failure is not None
        refused = self.runner.run(run())
        assert any(refused) or not is_full
        for (store, changes), error in zip(units, refused, strict=True):
            if error is not None:
                assert has_failed
                assert isinstance(error, BrokerError)
                assert "cannot be folded" in str(error)
                continue
            for key, value in changes.items():
                if value is None:
                    self.state[store].pop(key, None)
                else:
                    self.state[store][key] = value

    @rule(count=st.integers(1, 8))
    def fold(self, count: int) -> None:
        """Some pieces, if any are due."""
        self.runner.run(pieces(self.broker, count))

    @rule()
    def fold_all(self) -> None:
        """All that is in memory, and of what is left of another fold."""
        self.runner.run(self.broker.maintain())

    @rule()
    def fail(self) -> None:
        """A fold that has failed begins anew."""
        fold_of(self.broker).put_off(BrokerError("cannot be folded"))
        fold_of(self.broker)._due = 0.0

    @rule()
    def reopen(self) -> None:
        """Close it and open it again."""
        self.runner.run(self.broker.close())
        assert check(self.folders[-1]) == []
        self.runner.run(self.open())

    @rule()
    def kill(self) -> None:
        """Go on with the files as they are now, as after a kill."""
        copy = Path(tempfile.mkdtemp())
        for path in self.folders[-1].glob("log.sqlite*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, copy)
        self.runner.run(self.broker.close())
        self.folders.append(copy)
        self.runner.run(self.open())

    @invariant()
    def it_is_all_there(self) -> None:
        """Each value by itself, all of a store, and both as another process sees them."""

        async def run() -> None:
            tool = Embedded()
            await tool.open(BrokerContext(pipeline="model", data_dir=self.folders[-1], role="tool"))
            for broker in (self.broker, tool):
                assert broker._session is not None
                state = broker._session.state
                for store, wanted in self.state.items():
                    items = list(state.items(store, 0))
                    assert len(items) == len(wanted)
                    assert dict(items) == wanted
                    for key in (b"", b"a", b"b", b"c", b"d", b"e\0", b"f", b"none"):
                        assert state.get(store, 0, key) == wanted.get(key)
            await tool.close()

        self.runner.run(run())

    def teardown(self) -> None:
        """Close and remove it."""
        self.runner.run(self.broker.close())
        self.runner.close()
        self.patched.undo()
        for folder in self.folders:
            shutil.rmtree(folder)


TestStateMachine = StateMachine.TestCase
# An example opens the file again and again: ten of them here, some hundred in `make soak`.
TestStateMachine.settings = settings(max_examples=settings().max_examples // 3, stateful_step_count=20, deadline=None)


@given(st.lists(st.binary(max_size=3), unique=True, max_size=60))
def test_keys_are_put_in_order_in_pieces(keys: list[bytes]) -> None:
    """Each key comes once, in order, and no piece is too long."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fold, "PIECE_VALUES", 4)
        patched.setattr(fold, "SORTED_VALUES", 10)
        found = list(in_order(keys))
    assert list(chain(*found)) == sorted(keys)
    assert max(map(len, found), default=0) <= 4


async def test_memory_and_the_log_of_changes_stay_small(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """However much is changed, what is not folded yet is bounded; the values are those that were set last."""
    monkeypatch.setattr(recent, "LAYER_BYTES", 100_000)
    broker = await launch(durability="process")
    for number in range(300):
        unit = broker.begin()
        unit.put_state("store", 0, {b"%d" % (key * 7 % 3_000): b"%d" % number for key in range(number, number + 100)})
        await unit.commit()
        assert broker._session is not None
        memory = broker._session.state.recent
        assert memory is not None
        assert memory.filled < 1.3
    await broker.maintain()
    assert not memory.has_values
    assert not memory.is_folding
    last = {b"%d" % (key * 7 % 3_000): b"%d" % number for number in range(300) for key in range(number, number + 100)}
    assert dict(broker.state_items("store", 0)) == last
    await broker.close()
    assert check(folder) == []


def change(folder: Path, statement: str) -> None:
    """Run a statement on the file."""
    with closing(schema.connect(folder / schema.NAME)) as connection:
        connection.execute(statement)


async def fill(broker: Embedded, values: int, times: int = 1) -> None:
    """Commit units that change some values each."""
    for _ in range(times):
        unit = broker.begin()
        unit.put_state("store", 0, {b"%d" % number: b"value" for number in range(values)})
        await unit.commit()


def logged(folder: Path) -> int:
    """Return how many changes the file holds that are not folded yet, beside the newest, which always stays."""
    with closing(schema.connect(folder / schema.NAME)) as connection:
        return int(connection.execute("SELECT count(*) FROM change").fetchone()[0]) - 1


async def test_no_unit_waits_for_a_whole_fold(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the next unit comes the share of the fold that the last one filled of the next layer, not more."""
    monkeypatch.setattr(recent, "LAYER_BYTES", 400_000)
    monkeypatch.setattr(fold, "PIECE_VALUES", 10)
    broker = await launch(durability="process")
    assert broker._session is not None
    writer = broker._session._writer
    monkeypatch.setattr(writer, "_maintain", lambda: False)
    found = fold_of(broker)
    memory = broker._session.state.recent
    assert memory is not None
    await fill(broker, 1_000, 3)
    assert memory.filled > 1
    assert await writer.call(lambda _: found.step()) == (True, 0)
    assert not found.is_late
    steps: list[int] = []

    def catch_up(_: object) -> None:
        steps.append(0)
        while found.is_late:
            found.step()
            steps[-1] += 1

    while memory.is_folding:
        await fill(broker, 100)  # a twentieth of a layer
        await writer.call(catch_up)
        assert memory.filled <= 1.2
    assert sum(steps) > 80
    assert max(steps) < 20


async def test_runs_that_are_killed_early_do_not_fill_the_disk(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """However often a run ends within its first fold, what is not folded is no more than a few layers."""
    monkeypatch.setattr(recent, "LAYER_BYTES", 100_000)
    monkeypatch.setattr(fold, "PIECE_VALUES", 1)
    most = 0

    def fold_what_must_be(found: Fold) -> bool:
        found.step()
        while found.is_late:
            found.step()
        return False

    for _ in range(30):
        broker = await launch(durability="process")
        assert broker._session is not None
        # A piece after each transaction: how far a writer comes by itself in such a short life nobody can tell.
        maintain = functools.partial(fold_what_must_be, fold_of(broker))
        monkeypatch.setattr(broker._session._writer, "_maintain", maintain)
        await fill(broker, 50, 5)  # about half of a layer
        await broker.close()
        most = max(most, logged(folder))
    assert 10 < most < 45
    assert check(folder) == []


async def test_state_that_cannot_be_folded_is_refused(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """When the table cannot be written, units with state get to know why instead of filling memory; others go on."""
    monkeypatch.setattr(recent, "LAYER_BYTES", 20_000)
    monkeypatch.setattr(fold, "PAUSE_SECONDS", 0.0)
    broker = await launch()
    await broker.create([TopicSpec(name="t")])
    change(folder, "CREATE TRIGGER broken BEFORE INSERT ON state BEGIN SELECT RAISE(ABORT, 'no room'); END")
    taken = 0
    with pytest.raises(BrokerError, match="no room"):
        for _ in range(100):
            await fill(broker, 20)
            taken += 1
    assert 2 < taken < 20
    await append(broker, "t", 0, rows([b"value"]))
    change(folder, "DROP TRIGGER broken")
    await until_taken(broker)
    assert len(dict(broker.state_items("store", 0))) == 20
    await broker.maintain()
    assert logged(folder) == 0


async def until_taken(broker: Embedded) -> None:
    """Commit state again and again until it is not refused any more."""
    async with asyncio.timeout(60):
        while True:
            try:
                await fill(broker, 20)
            except BrokerError:
                await asyncio.sleep(0.01)
            else:
                return


@pytest.mark.parametrize(("durability", "level"), [("full", 2), ("process", 1)])
async def test_only_folding_does_not_wait_for_the_disk(
    launch: Launch, monkeypatch: pytest.MonkeyPatch, folder: Path, durability: str, level: int
) -> None:
    """After a piece, and after one that failed, units are as durable as they were asked to be."""
    monkeypatch.setattr(recent, "LAYER_BYTES", 20_000)
    broker = await launch(durability=durability)
    assert broker._session is not None
    writer = broker._session._writer
    seen: list[int] = []

    def look(connection: sqlite3.Connection) -> None:
        seen.append(connection.execute("PRAGMA synchronous").fetchone()[0])

    await fill(broker, 20, 20)
    await broker.maintain()
    await writer.call(look)
    change(folder, "CREATE TRIGGER broken BEFORE INSERT ON state BEGIN SELECT RAISE(ABORT, 'no room'); END")
    await fill(broker, 20)
    with pytest.raises(BrokerError, match="no room"):
        await broker.maintain()
    await writer.call(look)
    assert seen == [level, level]


async def test_big_values_are_folded_few_at_a_time(launch: Launch) -> None:
    """A piece is bounded by its bytes as well, so that no unit waits for long."""
    broker = await launch(durability="process")
    unit = broker.begin()
    unit.put_state("store", 0, {b"%d" % number: b"x" * 300_000 for number in range(20)})
    await unit.commit()
    sizes: list[int] = []
    assert broker._session is not None
    connection = broker._session._writer._connection

    def fold_all(_: object) -> None:
        before = connection.total_changes
        for _written in fold_of(broker).whole():
            sizes.append(connection.total_changes - before)
            before = connection.total_changes

    await broker._session._writer.call(fold_all)
    assert sum(sizes[:-1]) >= 20
    assert max(sizes) <= 4 * 2  # a replacement may count twice
    assert dict(broker.state_items("store", 0)) == {b"%d" % number: b"x" * 300_000 for number in range(20)}
