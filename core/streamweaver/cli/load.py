"""A pipeline as commands get it: its file, checked in one pass, the folder of its data, and its broker as a tool."""

import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import click

from streamweaver.cli.failure import redact_with, say
from streamweaver.config import Findings, read, suggest
from streamweaver.contracts import Broker, BrokerContext
from streamweaver.errors import BrokerError, Finding
from streamweaver.graph.build import build
from streamweaver.graph.plan import Plan
from streamweaver.registry import Registry

DATA = Path(".streamweaver")
"""Where pipelines keep their data, each in a folder of its name, unless told otherwise."""


SET = "STREAMWEAVER_SET"
"""Variable with overrides, as of `--set`, one a line. Every command applies them, those without `--set` too, so that
all programs in a container see the pipeline as it runs there."""


@attrs.frozen
class Loaded:
    """A valid pipeline file, and what is worth a warning in it."""

    plan: Plan
    warnings: list[Finding]


def load(path: Path, overrides: tuple[str, ...] = ()) -> Loaded:
    """Read and check a pipeline file; ConfigError with everything that is wrong with it, warnings included.

    What the variable STREAMWEAVER_SET says comes first, so `overrides` win.
    """
    findings = Findings()
    lines = (line.strip() for line in os.environ.get(SET, "").splitlines())
    tree = read(path, (*filter(None, lines), *overrides), findings=findings)
    plan, warnings = build(tree, Registry(), findings)
    if (ctx := click.get_current_context(silent=True)) is not None:
        redact_with(ctx, plan.redact)
    _started()
    return Loaded(plan, sorted(set(warnings)))


def say_warnings(loaded: Loaded) -> None:
    """Print what is worth a warning in a valid file."""
    for warning in loaded.warnings:
        say(loaded.plan.redact(str(warning)))


def _started() -> None:
    """Look for garbage from here on, but not among what start-up has made, which stays."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def data_folder(plan: Plan, chosen: Path | None) -> Path:
    """Return the folder of a pipeline's data."""
    return DATA / plan.name if chosen is None else chosen


def elsewhere(plan: Plan) -> str:
    """Return what may be the matter where a pipeline that runs is not found."""
    return (
        f"the broker here is {plan.broker.plugin.name}: what `pipeline up` is given by --set this command needs, too, "
        f"by --set if it takes that, else in the variable {SET}, one a line"
    )


def unknown_stage(name: str, plan: Plan, flag: str) -> click.UsageError:
    """Return what is said of an option that names a stage that the file has not."""
    hint = suggest(name, plan.stages) or f"; the file has {', '.join(plan.stages)}"
    return click.BadParameter(f"no stage is named {name!r}{hint}", param_hint=flag)


@asynccontextmanager
async def tool(plan: Plan, data: Path) -> AsyncIterator[Broker]:
    """Open a pipeline's broker beside the pipeline, running or not; BrokerError when there is nothing to open."""
    broker: Broker = plan.broker.build()
    try:
        try:
            await broker.open(BrokerContext(pipeline=plan.name, data_dir=data, role="tool"))
        except BrokerError as error:
            if type(error) is not BrokerError:
                raise  # one that is there, and in trouble
            raise BrokerError(f"{error} ({elsewhere(plan)})") from error
        yield broker
    finally:
        await broker.close()
