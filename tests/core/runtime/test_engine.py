"""The engine: start, idle, duration, drain, abort, restarts, failures, figures, observers."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from streamweaver import Batch, BrokerContext, ProducerContext, Record, producer, sink, transform
from streamweaver.errors import BrokerLockedError, Fatal, Retriable, RunError, StorageError
from streamweaver.hooks import observer
from streamweaver.metrics import StageMetrics
from streamweaver.runtime import engine as module
from streamweaver.runtime import report
from streamweaver.runtime import snapshot as figures
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.engine import Engine
from streamweaver.testing.harness import Ran, run_async
from streamweaver_brokers.embedded import Embedded
from streamweaver_brokers.embedded.lane import Unit


@producer(resumes=True)
def numbers(context: ProducerContext, *, upto: int = 10) -> Iterable[Record]:
    """Count."""
    for n in range(context.position or 0, upto):
        yield Record({"n": n}, position=n + 1)


@producer(resumes=True)
async def endless(context: ProducerContext) -> AsyncIterator[Record]:
    """Count for ever."""
    n = context.position or 0
    while True:
        yield Record({"n": n}, position=n + 1)
        n += 1
        await asyncio.sleep(0.001)


@sink
def keep(batch: Batch) -> None:
    """Keep it."""


PLUGINS = [numbers, endless, keep]

PIPELINE = """
name: t
drain_timeout: 10s
producers:
  p: {use: %s, to: a}
flows:
  f: {from: a, to: b%s}
sinks:
  s: {use: keep, from: b}
"""


async def go(use: str = "numbers", more: str = "", plugins: Iterable[Any] = (), **options: Any) -> Ran:
    return await run_async(PIPELINE % (use, more), [*PLUGINS, *plugins], **options)


class Seen:
    """Notes every hook."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    @observer
    def pipeline_starting(self, pipeline: str, stages: list[str]) -> None:
        self.calls.append(("starting", stages))

    @observer
    def stage_started(self, stage: str) -> None:
        self.calls.append(("started", stage))

    @observer
    def stage_ended(self, stage: str) -> None:
        self.calls.append(("ended", stage))

    @observer
    def stage_failed(self, stage: str, error: str, restart_in: float | None) -> None:
        self.calls.append(("failed", (stage, error, restart_in is None)))

    @observer
    def unit_done(self, stage: str, received: int, out: int, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append(("unit", (stage, received, out)))

    @observer
    def metrics_published(self, pipeline: str, metrics: dict[str, Any]) -> None:
        self.calls.append(("metrics", sorted(metrics["stages"])))

    @observer
    def pipeline_stopped(self, pipeline: str, error: str | None) -> None:
        self.calls.append(("stopped", error))

    def of(self, name: str) -> list[Any]:
        return [value for called, value in self.calls if called == name]


async def test_everything_flows_out_before_it_ends() -> None:
    """`until_idle` ends when producers have ended and nothing waits; observers see the whole life."""
    seen = Seen()
    ran = await go(observers=[seen])
    assert ran.summary.drained
    assert {name: counts["out"] for name, counts in ran.counts.items()} == {"p": 10, "f": 10, "s": 10}
    assert seen.calls[0] == ("starting", ["p", "f", "s"])
    assert seen.of("started")[-1] == "p"
    assert sorted(seen.of("started")) == ["f", "p", "s"]
    assert seen.of("ended")[0] == "p"
    assert sum(received for stage, received, _ in seen.of("unit") if stage == "f") == 10
    assert seen.of("metrics")[-1] == ["f", "p", "s"]
    assert seen.calls[-1] == ("stopped", None)


async def test_duration_ends_an_endless_pipeline_drained() -> None:
    """When the time is up, what was produced has gone through."""
    ran = await go("endless", until_idle=False, duration_seconds=0.1)
    assert ran.summary.drained
    assert ran.counts["p"]["out"] == ran.counts["s"]["out"] > 0


async def test_only_runs_what_is_named(tmp_path: Path) -> None:
    """The rest may run elsewhere, or later; an unknown name is an error with a suggestion."""
    ran = await go(only=["p"], data_dir=tmp_path)
    assert list(ran.counts) == ["p"]
    ran = await go(only=["f", "s"], data_dir=tmp_path)
    assert ran.counts["s"]["out"] == 10
    with pytest.raises(RunError, match="no stage is named 'q'; stages are p, f, s"):
        await go(only=["q"], data_dir=tmp_path)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_deadline_ends_a_drain_that_hangs(tmp_path: Path) -> None:
    """Then the run is not drained; nothing is lost, and the counts still balance."""

    @sink("keep")
    async def stuck(batch: Batch) -> None:
        await asyncio.Event().wait()

    pipeline = PIPELINE.replace("10s", "20ms") % ("numbers", "")

    async def stop(engine: Engine) -> None:
        await until(lambda: engine.scopes["s"].activity.what == "writing")
        engine.stop()

    ran = await run_async(pipeline, [numbers, stuck], data_dir=tmp_path, during=stop)
    assert not ran.summary.drained
    assert ran.summary.error is None
    assert ran.counts["s"]["in_flight"] == ran.counts["s"]["out"] == 0
    ran = await go(data_dir=tmp_path)
    assert ran.counts["s"]["out"] == 10


async def test_an_abort_ends_at_once(tmp_path: Path) -> None:
    """A second signal does not wait for the drain."""

    @sink("keep")
    async def stuck(batch: Batch) -> None:
        await asyncio.Event().wait()

    async def twice(engine: Engine) -> None:
        await until(lambda: engine.scopes["s"].activity.what == "writing")
        engine.stop()
        await asyncio.sleep(0)
        engine.abort()

    ran = await run_async(PIPELINE % ("endless", ""), [endless, stuck], data_dir=tmp_path, during=twice)
    assert not ran.summary.drained


@pytest.mark.parametrize("how", ["fails", "hangs"])
@pytest.mark.parametrize("again", [False, True])
async def test_a_broker_that_is_away_holds_up_no_end(
    how: str,
    again: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A broker that cannot say how much is left makes a run "not drained" in time: no failure, and not endless."""
    monkeypatch.setattr(module, "LAST_WORD_SECONDS", 0.05)

    async def away(self: Embedded, group: str, /) -> dict[tuple[str, int], int]:
        if how == "fails":
            raise StorageError("no broker answers")
        await asyncio.Event().wait()
        raise AssertionError

    async def stop(engine: Engine) -> None:
        await until(lambda: engine.scopes["s"].metrics.out > 0)
        monkeypatch.setattr(Embedded, "offsets", away)
        engine.stop()
        if again:
            await asyncio.sleep(0.01)
            engine.abort()

    pipeline = PIPELINE.replace("10s", "60s" if again else "50ms") % ("endless", "")
    async with asyncio.timeout(10):
        ran = await run_async(pipeline, PLUGINS, data_dir=tmp_path, during=stop)
    assert (ran.summary.drained, ran.summary.error) == (False, None)


async def test_a_stop_before_the_start_starts_nothing() -> None:
    """The producers are not opened."""

    async def stop(engine: Engine) -> None:
        engine.stop()

    ran = await go("endless", during=stop)
    assert ran.summary.drained
    assert ran.counts["p"]["in"] == 0


@attrs.define
class Skipping(SystemClock):
    """A clock on which long sleeps end at once."""

    slept: list[float] = attrs.field(factory=list)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


async def test_restarts_back_off_and_end() -> None:
    """Waits double up to the longest; after as many failures in a row as the policy allows the pipeline fails."""

    @transform
    def broken(batch: Batch) -> Iterable[Record]:
        raise SystemExit(9)

    clock, seen = Skipping(), Seen()
    ran = await go(
        more=", steps: [{use: broken}], restart: {attempts: 4, initial: 1s, longest: 4s}",
        plugins=[broken],
        clock=clock,
        observers=[seen],
        fails=True,
    )
    text = "step broken called sys.exit(9)"
    assert ran.summary.error == f"stage f: {text} (after 4 restarts)"
    waits = clock.slept[:4]
    assert [low <= wait <= 2 * low for low, wait in zip((0.5, 1, 2, 2), waits, strict=True)] == [True] * 4
    assert waits[3] <= 4
    assert seen.of("failed") == [("f", text, False)] * 4 + [("f", text, True)]
    assert ran.counts["f"]["restarts"] == 4
    assert seen.calls[-1] == ("stopped", f"stage f: {text} (after 4 restarts)")
    assert not ran.summary.drained


async def test_no_restart_says_nothing_of_restarts() -> None:
    """With `attempts: 0` the first failure is the last."""

    @transform
    def broken(batch: Batch) -> Iterable[Record]:
        raise SystemExit(9)

    ran = await go(more=", steps: [{use: broken}], restart: {attempts: 0}", plugins=[broken], fails=True)
    assert ran.summary.error == "stage f: step broken called sys.exit(9)"


class Panic(BaseException):
    """What errors of some extension modules are made of: no Exception."""


@producer
def panicking(context: ProducerContext) -> Iterable[Record]:
    """Panic after a record."""
    yield Record({"n": 1})
    raise Panic("no more")


@transform
def panicked(batch: Batch) -> Iterable[Record]:
    """Panic."""
    raise Panic("no more")


@sink
def panics(batch: Batch) -> None:
    """Panic."""
    raise Panic("no more")


@pytest.mark.parametrize("stage", ["p", "f", "s"])
async def test_an_error_that_is_no_exception_fails_the_stage(stage: str) -> None:
    """It is named and counts for the restarts, in a producer, a step and a sink."""
    never = ", restart: {attempts: 0}"
    text = PIPELINE % (
        "panicking" + never if stage == "p" else "numbers",
        f", steps: [{{use: panicked}}]{never}" if stage == "f" else "",
    )
    if stage == "s":
        text = text.replace("use: keep", "use: panics" + never)
    ran = await run_async(text, [*PLUGINS, panicking, panicked, panics], fails=True)
    assert ran.summary.error == f"stage {stage}: Panic: no more"


@pytest.mark.parametrize(("stage", "count"), [("p", "out"), ("f", "out"), ("s", "out")])
async def test_what_is_stored_while_the_run_is_aborted_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, count: str
) -> None:
    """A commit that is under way is waited for, and what it has stored is not said to be given back."""
    entered, go_on = asyncio.Event(), asyncio.Event()
    original = Unit.commit

    async def held(unit: Any) -> None:
        if unit._lane is not None and unit._lane.group == f"t.{stage}":
            entered.set()
            await go_on.wait()
        await original(unit)

    async def abort(engine: Engine) -> None:
        await asyncio.wait_for(entered.wait(), 30)
        engine.abort()
        asyncio.get_running_loop().call_later(0.1, go_on.set)

    monkeypatch.setattr(Unit, "commit", held)
    ran = await go(data_dir=tmp_path, during=abort)
    assert ran.counts[stage][count] == 10
    again = await go(data_dir=tmp_path)
    assert again.counts[stage]["in"] == 0


async def test_what_has_never_been_up_is_not_tried_again() -> None:
    """Fatal out of the first `open` ends the pipeline at once, with the place in the file where the stage stands."""

    class Locked:
        """A step that cannot be opened."""

        def open(self, context: Any) -> None:
            raise Fatal("the table is missing; create it")

        def process(self, batch: Batch, context: Any) -> Iterable[Record]:
            return batch

    clock, seen = Skipping(), Seen()
    step = transform("locked")(attrs.define(Locked))
    ran = await go(more=", steps: [{use: locked}]", plugins=[step], clock=clock, observers=[seen], fails=True)
    text = "the table is missing; create it"
    assert ran.summary.error == f"pipeline.yaml:7:6: stage f: {text}"
    assert (seen.of("failed"), ran.counts["f"]["restarts"]) == ([("f", text, True)], 0)


@pytest.mark.parametrize(("error", "restarts"), [(Fatal("gone"), 2), (Retriable("not yet"), 2), (OSError("busy"), 2)])
async def test_what_has_been_up_or_may_pass_is_tried_again(error: Exception, restarts: int) -> None:
    """What is Fatal to a producer that has brought something, and all other errors, go by the restart policy."""

    @producer(resumes=True)
    def breaking(context: ProducerContext) -> Iterable[Record]:
        """Bring one, then break."""
        if isinstance(error, Fatal):
            yield Record({"n": 1}, position=1)
        raise error

    text = PIPELINE % ("breaking, restart: {attempts: 2, initial: 1ms}", "")
    ran = await run_async(text, [*PLUGINS, breaking], clock=Skipping(), fails=True)
    assert ran.summary.error is not None
    assert ran.summary.error.startswith("stage p: ")
    assert ran.summary.error.endswith(f"{error} (after {restarts} restarts)")


async def test_a_producer_that_is_fatal_before_its_first_record_ends_the_pipeline() -> None:
    """As in `open`, which a function has not."""

    def no_file() -> Iterable[Record]:
        raise Fatal("no such file; check `path`")

    @producer
    def missing() -> Iterable[Record]:
        """Find nothing."""
        yield from no_file()

    ran = await run_async(PIPELINE % ("missing", ""), [*PLUGINS, missing], fails=True)
    assert ran.summary.error == "pipeline.yaml:5:12: stage p: no such file; check `path`"


async def test_others_go_on_while_one_starts_again(tmp_path: Path) -> None:
    """A stage that fails stops nobody else, and catches up."""
    failing = True
    others: list[int] = []

    @sink
    def shaky(batch: Batch) -> None:
        if failing:
            raise SystemExit(1)

    @sink
    def steady(batch: Batch) -> None:
        nonlocal failing
        others.extend(r.value["n"] for r in batch)
        if len(others) >= 30:
            failing = False

    async def stop(engine: Engine) -> None:
        await until(lambda: not failing and engine.scopes["shaky"].metrics.out)
        engine.stop()

    ran = await run_async(
        """
name: t
producers:
  p: {use: endless, to: a}
sinks:
  shaky: {use: shaky, from: a, restart: {attempts: 100000, initial: 1ms, longest: 1ms}}
  steady: {use: steady, from: a}
""",
        [endless, shaky, steady],
        data_dir=tmp_path,
        during=stop,
    )
    assert ran.counts["shaky"]["restarts"] > 0
    assert ran.counts["shaky"]["out"] == ran.counts["steady"]["out"] == ran.counts["p"]["out"]


async def test_a_stage_that_fails_while_everything_ends_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error out of a cancelled stage ends it; the run does not wait for its restart."""
    from streamweaver.runtime import flow

    real = flow.run_lanes  # type: ignore[attr-defined]

    async def run_lanes(*arguments: Any, **options: Any) -> None:
        try:
            await real(*arguments, **options)
        except asyncio.CancelledError:
            raise ValueError("too late") from None

    monkeypatch.setattr(flow, "run_lanes", run_lanes)
    async with asyncio.timeout(10):
        ran = await go(more=", restart: {initial: 100s, longest: 100s}")
    assert ran.summary.drained
    assert ran.counts["f"]["restarts"] == 0


async def test_a_plugin_that_does_not_close_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds the run ends without it and says so."""
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.02)
    release = asyncio.Event()

    @sink("keep")
    @attrs.define
    class Clinging:
        """Never closes."""

        def write(self, batch: Batch) -> None: ...

        async def close(self) -> None:
            await release.wait()

    ran = await run_async(PIPELINE % ("numbers", ""), [numbers, Clinging])
    release.set()
    await asyncio.sleep(0)
    assert [line.fields["stage"] for line in ran.log if "left behind" in line.event] == ["s"]


async def test_an_error_in_close_is_logged(tmp_path: Path) -> None:
    """It fails nothing, since everything is stored."""

    @sink("keep")
    @attrs.define
    class Untidy:
        """Fails to close."""

        def write(self, batch: Batch) -> None: ...

        def close(self) -> None:
            raise OSError("gone")

    ran = await run_async(PIPELINE % ("numbers", ""), [numbers, Untidy], data_dir=tmp_path)
    assert [line.fields for line in ran.log if line.event == "close failed"] == [
        {"plugin": "Untidy", "error": "OSError: gone"}
    ]


async def test_counts_that_do_not_balance_fail_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a defect, and must not go unseen: the run ends with an error that names the stage."""
    real = StageMetrics.settle

    def settle(self: StageMetrics, tally: Any) -> None:
        real(self, tally)
        self.skipped += 1

    monkeypatch.setattr(StageMetrics, "settle", settle)
    with pytest.raises(RunError, match=r"stage .: counts do not balance, -[0-9]+ records unaccounted for"):
        await go(until_idle=False, duration_seconds=0.05)


async def test_a_topic_that_cannot_be_had_fails_the_run(tmp_path: Path) -> None:
    """An error of the broker after it is open is the pipeline's error; observers are told."""
    await go(data_dir=tmp_path)
    seen = Seen()
    pipeline = (PIPELINE % ("numbers", "")).replace("producers:", "topics: {a: {partitions: 3}}\nproducers:")
    ran = await run_async(pipeline, PLUGINS, data_dir=tmp_path, observers=[seen], fails=True)
    assert ran.summary.error is not None
    assert "topic a: it has 1 partitions, declared are 3" in ran.summary.error
    assert seen.calls == [("stopped", ran.summary.error)]


@pytest.mark.parametrize(("said", "kept"), [("", None), ("dead_letter_retention: 90d", 90 * 86_400_000)])
async def test_dead_letters_are_kept_as_long_as_the_file_says(tmp_path: Path, said: str, kept: int | None) -> None:
    """Their marks for longer, since a broker may keep the letters for longer; for good when nothing is said."""
    ran = await run_async(said + PIPELINE % ("numbers", ""), PLUGINS, data_dir=tmp_path)
    broker: Any = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path, role="tool"))
    topics = await broker.topics()
    await broker.close()
    assert topics[ran.plan.dead_letters].retention_ms == kept
    assert topics[ran.plan.settled_letters].retention_ms == (kept and kept + 8 * 86_400_000)


async def test_a_locked_folder_is_refused(tmp_path: Path) -> None:
    """Nothing was started, so it is raised."""
    ran = await go(data_dir=tmp_path)
    broker = ran.plan.broker.build()
    await broker.open(BrokerContext(pipeline="t", data_dir=tmp_path))
    try:
        with pytest.raises(BrokerLockedError):
            await go(data_dir=tmp_path)
    finally:
        await broker.close()


@pytest.mark.parametrize("error", [StorageError("disk full"), OverflowError("too much")], ids=repr)
async def test_figures_that_cannot_be_published_fail_nothing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """It is logged, whatever the reason, and the run ends in order."""

    def snapshot(self: Any, broker: Any) -> Any:
        raise error

    monkeypatch.setattr(report.Reporter, "snapshot", snapshot)
    ran = await go()
    assert ran.summary.drained
    missing = [line.fields["error"] for line in ran.log if line.event == "metrics cannot be taken, for now"]
    assert missing == [f"{type(error).__name__}: {error}"]


async def test_a_failure_that_names_an_undecodable_file_can_be_published() -> None:
    """The error's text is stored with the figures, told to observers, and ends the run: with escapes."""

    @transform("careless")
    def careless(record: Record) -> Record:
        raise Fatal("cannot read caf\udce9.csv")

    seen = Seen()
    text = "cannot read caf\\udce9.csv"
    with pytest.raises(RunError) as failed:
        await go(more=", steps: [{use: careless}], restart: {attempts: 0}", plugins=[careless], observers=[seen])
    assert str(failed.value) == f"stage f: {text}"
    assert seen.of("failed") == [("f", text, True)]
    assert len(seen.of("metrics")) == 1


async def test_the_metrics_topic_holds_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts, rates, lag, latency, health and guarantee, under the names that programs read."""
    monkeypatch.setattr(report, "PERIOD_SECONDS", 0.01)
    ran = await go("endless", until_idle=False, duration_seconds=0.1)
    snapshots = [msgspec.json.decode(value or b"") for rows in ran.rows["t.metrics"] for value in rows.values]
    assert len(snapshots) > 2
    last = snapshots[-1]
    assert (last["pipeline"], sorted(last["stages"])) == ("t", ["f", "p", "s"])
    stage = last["stages"]["f"]
    assert stage["in"] == stage["out"] == ran.counts["f"]["out"]
    assert (stage["kind"], stage["delivery"], stage["lag_records"], stage["error"]) == (
        "flow",
        "at_least_once",
        0,
        None,
    )
    assert {"processing_ms", "latency_ms", "in_per_second", "out_per_second", "lag_seconds", "activity"} <= stage.keys()
    assert last["stages"]["p"]["health"] == "ended"
    assert any(snapshot["stages"]["f"]["in_per_second"] > 0 for snapshot in snapshots)
    assert "ok" in {snapshot["stages"]["f"]["health"] for snapshot in snapshots}


async def test_a_stuck_stage_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has input and is at the same thing for long is called stuck, once, with what it is at."""
    monkeypatch.setattr(report, "PERIOD_SECONDS", 0.005)
    monkeypatch.setattr(figures, "STUCK_SECONDS", 0.02)
    release = asyncio.Event()

    @sink("keep")
    async def slow(batch: Batch) -> None:
        await release.wait()

    seen: list[str] = []

    class Health:
        @observer
        def metrics_published(self, metrics: dict[str, Any]) -> None:
            seen.append(metrics["stages"]["s"]["health"])
            if seen.count("stuck") > 2:
                release.set()

    ran = await run_async(PIPELINE % ("numbers", ""), [numbers, slow], observers=[Health()])
    assert "stuck" in seen
    told = [line.fields for line in ran.log if line.event == "stage makes no progress"]
    # On a busy machine another stage may be at its commit for as long.
    assert [fields["at"] for fields in told if fields["stage"] == "s"] == ["writing"]


async def test_a_stage_that_waits_for_its_restart_is_failed_not_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its health says so, with the error, and for longer than makes a stage that does something stuck."""
    monkeypatch.setattr(report, "PERIOD_SECONDS", 0.02)
    monkeypatch.setattr(figures, "STUCK_SECONDS", 0.2)
    failed = False

    @transform
    def once(batch: Batch) -> Iterable[Record]:
        nonlocal failed
        if not failed:
            failed = True
            raise SystemExit(1)
        return batch

    seen: list[tuple[str, Any]] = []

    class Health:
        @observer
        def metrics_published(self, metrics: dict[str, Any]) -> None:
            seen.append((metrics["stages"]["f"]["health"], metrics["stages"]["f"]["error"]))

    ran = await go(more=", steps: [{use: once}], restart: {initial: 500ms}", plugins=[once], observers=[Health()])
    assert ("failed", "step once called sys.exit(1)") in seen
    assert not [line for line in ran.log if line.event == "stage makes no progress"]
    assert ran.counts["f"]["out"] == 10
