"""`pipeline up`: run a pipeline in this process, show how it goes, and say how it ended."""

import asyncio
import contextlib
import os
import re
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast

import attrs
import click

from streamweaver.cli.failure import FAILED, NOT_DRAINED, say
from streamweaver.cli.health_file import HealthFile
from streamweaver.cli.live import LiveTable, LogLines, on_terminal
from streamweaver.cli.load import Loaded, data_folder, load, unknown_stage
from streamweaver.cli.logs import Logger, taken_over
from streamweaver.cli.loop import Leftovers, leave, run_loop, soon
from streamweaver.cli.output import print_json, print_table
from streamweaver.cli.signals import ABORT_SECONDS, Stopper, handled, impatient
from streamweaver.contracts import Broker
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers
from streamweaver.registry import Registry
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.context import Log
from streamweaver.runtime.engine import Engine, RunOptions, Summary


@attrs.frozen(kw_only=True)
class Wishes:
    """The options of `pipeline up`."""

    only: frozenset[str] | None
    leave_out: frozenset[str]
    workers: int
    worker_name: str | None
    supervisor: int | None
    """Descriptor of the socket to the supervisor, in a worker process."""
    data: Path | None
    duration_seconds: float | None
    until_idle: bool
    health_file: Path | None
    as_json: bool
    log_level: str
    log_format: str


def up_pipeline(file: Path, overrides: tuple[str, ...], wishes: Wishes) -> int:
    """Run a pipeline to its end; returns the exit status."""
    loaded = load(file, overrides)
    plan = loaded.plan
    chosen = chosen_stages(plan, wishes)
    if wishes.supervisor is not None:
        from streamweaver.cli.worker import run_worker

        return run_worker(loaded, chosen, wishes)
    wishes = named(plan, wishes)
    log = Logger(wishes.log_level, cast('Literal["text", "json"]', wishes.log_format), plan.redact)
    health = HealthFile(wishes.health_file) if wishes.health_file is not None else None
    _announce(loaded, chosen, data_folder(plan, wishes.data), log)
    if wishes.workers > 1:
        from streamweaver.cli.workers import run_workers

        with taken_over(log), _removed_in_the_end(health):
            outcome = run_workers(file, overrides, plan, chosen, wishes, log, health)
        status = status_of_run(outcome.summary)
        with impatient(status):
            _tell(file, plan, outcome.summary, wishes, outcome.more)
        return status
    with taken_over(log), _removed_in_the_end(health):
        (aborted, summary), left = _run(plan, chosen, wishes, log, health)
    status = status_of_run(summary)
    with impatient(status, ABORT_SECONDS if aborted else None):
        _tell(file, plan, summary, wishes, {})
        return leave(status, left, aborted=aborted)


@contextlib.contextmanager
def _removed_in_the_end(health: HealthFile | None) -> Iterator[None]:
    try:
        yield
    finally:
        if health is not None:
            health.end()


def status_of_run(summary: Summary) -> int:
    """Return the exit status that a run's end means."""
    return FAILED if summary.error else 0 if summary.drained else NOT_DRAINED


# -- what to run ----------------------------------------------------------------------------------


def chosen_stages(plan: Plan, wishes: Wishes) -> frozenset[str]:
    """Return the names of the stages to run; a usage error when a name is unknown or nothing is left."""
    for flag, names in (("--only", wishes.only or ()), ("--except", wishes.leave_out)):
        for name in sorted(names):
            if name not in plan.stages:
                raise unknown_stage(name, plan, flag)
    chosen = (frozenset(plan.stages) if wishes.only is None else wishes.only) - wishes.leave_out
    if not chosen:
        raise click.UsageError("--only and --except leave no stage to run")
    return chosen


def named(plan: Plan, wishes: Wishes) -> Wishes:
    """Give the worker a name that no other worker has; a usage error when several are wanted and cannot be."""
    broker: Broker = plan.broker.build()
    if wishes.workers > 1 and not broker.shares_work:
        why = (
            f"broker {plan.broker.plugin.name} cannot share the work of a stage among processes; "
            "leave --workers out, or use a broker that can"
        )
        raise click.BadParameter(f"got {wishes.workers}, but {why}", param_hint="--workers")
    if wishes.worker_name is not None or not broker.shares_work:
        return wishes
    # Names of members of consumer groups are made of these characters.
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())
    # Containers may share a host's name, and each have a process 1.
    return attrs.evolve(wishes, worker_name=f"{host[:60]}-{os.getpid()}-{secrets.token_hex(2)}")


def _announce(loaded: Loaded, chosen: frozenset[str], data: Path, log: Logger) -> None:
    plan = loaded.plan
    for warning in loaded.warnings:
        log("warning", str(warning))
    for stage in plan.stages.values():
        if stage.name in chosen:
            reads = {"reads": ",".join(stage.inputs)} if stage.inputs else {}
            writes = {"writes": stage.output} if stage.output else {}
            log("info", "stage", stage=stage.name, kind=stage.kind, **reads, **writes, guarantee=stage.delivery)
    log("info", "starting", pipeline=plan.name, stages=len(chosen), broker=plan.broker.plugin.name, data=str(data))


# -- running --------------------------------------------------------------------------------------


def _run(
    plan: Plan, chosen: frozenset[str], wishes: Wishes, log: Logger, health: HealthFile | None
) -> tuple[tuple[bool, Summary], Leftovers]:
    """Run until the end; returns whether a second signal ended it, the summary, and what is left of the run."""
    table = LiveTable() if on_terminal() else None
    aborted = False

    async def go() -> tuple[bool, Summary]:
        clock = SystemClock()
        observers = installed_observers(log)
        observers.connect(LogLines(log, clock.monotonic) if table is None else table)
        if health is not None:
            observers.connect(health)
        engine = Engine(
            plan,
            RunOptions(
                duration_seconds=wishes.duration_seconds,
                until_idle=wishes.until_idle,
                only=chosen,
                worker=wishes.worker_name or "0",
            ),
            data_dir=data_folder(plan, wishes.data),
            clock=clock,
            log=log,
            redact=plan.redact,
            observers=observers,
        )
        loop = asyncio.get_running_loop()

        def drain() -> None:
            log("info", "stopping: draining; again to stop at once", most_seconds=plan.drain_seconds)
            engine.stop()

        def abort() -> None:
            nonlocal aborted
            aborted = True
            log("warning", "stopping at once")
            engine.abort()

        stopper = Stopper(lambda: soon(loop, drain), lambda: soon(loop, abort))
        with handled(stopper):
            if table is not None:
                table.start()
            try:
                summary = await engine.run()
            finally:
                if table is not None:
                    table.stop()
        return aborted, summary

    return run_loop(go())


def installed_observers(log: Log) -> Observers:
    """Return the observers that distributions bring; a broken one is logged, and the pipeline runs without it."""
    observers = Observers(lambda text: log("error", text))
    observers.load_installed(Registry().allows)
    return observers


# -- the end --------------------------------------------------------------------------------------

_COLUMNS = ("in", "added", "out", "filtered", "dead_lettered", "skipped", "in_flight", "errors")


def _tell(file: Path, plan: Plan, summary: Summary, wishes: Wishes, more: dict[str, Any]) -> None:
    if wishes.as_json:
        print_json({"stages": summary.counts, **more})
    else:
        rows = [[name, *(counts[column] for column in _COLUMNS)] for name, counts in summary.counts.items()]
        print_table(
            ["stage", *(column.replace("_", " ") for column in _COLUMNS)],
            rows,
            right=[c.replace("_", " ") for c in _COLUMNS],
        )
    if dead := sum(counts["dead_lettered"] for counts in summary.counts.values()):
        letters = "1 dead letter was" if dead == 1 else f"{dead} dead letters were"
        click.echo(f"{letters} made; see what waits with: streamweaver dlq list {file}", err=True)
    if summary.error is not None:
        say(f"failed: {plan.redact(summary.error)}")
        click.echo("nothing is lost: mend what it names, and the next start goes on from there", err=True)
    elif not summary.drained:
        click.echo(
            "stopped before everything was drained; nothing is lost, the next start goes on from there", err=True
        )
