"""Broken pipeline files: each in `tests/broken`, with every finding that a user sees beside it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import Batch, Record, TransformContext, broker, option, producer, sink, transform
from streamweaver.config import Findings, read
from streamweaver.errors import ConfigError, Finding
from streamweaver.graph.build import build
from streamweaver.registry import Registry

FILES = sorted((Path(__file__).parents[2] / "broken").glob("*.yaml"))


@producer("numbers", resumes=True)
@attrs.define
class Numbers:
    """Counts."""

    upto: int = option(default=10, help="where to end", ge=0)

    def produce(self, context: object) -> Any: ...


@producer
async def forgetful() -> AsyncIterator[Record]:
    """Has no position."""
    yield Record(1)


@transform("mean", groups_by="by")
@attrs.define
class Mean:
    """Keeps state by a field."""

    by: str = option(help="field to group by")

    def process(self, batch: Batch, context: TransformContext) -> Any: ...


@transform
async def ask(record: Record) -> Record:
    """May overlap."""
    await asyncio.sleep(0)
    return record


@transform("clockwork")
@attrs.define
class Clockwork:
    """Acts as time passes."""

    def process(self, batch: Batch, context: TransformContext) -> Any: ...

    def tick(self, context: TransformContext) -> Any: ...


@sink
def keep(batch: Batch) -> None:
    """Keep it, at least once."""


@sink(delivery="best_effort")
def view(batch: Batch) -> None:
    """Show it."""


@sink("ledger", delivery="exactly_once")
@attrs.define
class Ledger:
    """Stores offsets with its rows."""

    def write(self, batch: Batch) -> None: ...

    def committed(self, topic: str, partition: int) -> int | None: ...


@sink("vault")
@attrs.define
class Vault:
    """Wants secrets."""

    password: str = option(help="a secret", secret=True)
    pin: int = option(help="a secret number", secret=True)
    site: str = option(help="no secret")

    def write(self, batch: Batch) -> None: ...


@broker("leaky")
@attrs.define
class Leaky:
    """Promises little."""

    delivery: str = attrs.field(default="at_least_once", init=False)
    shares_work: bool = attrs.field(default=False, init=False)


PLUGINS = [Numbers, forgetful, Mean, ask, Clockwork, keep, view, Ledger, Vault, Leaky]


def findings_of(path: Path) -> list[Finding]:
    """Read a file as `pipeline check` does, without any environment variable; return everything it says."""
    registry = Registry()
    registry.add(PLUGINS)
    findings = Findings()
    try:
        tree = read(path, environ={}, findings=findings)
        return sorted(build(tree, registry, findings)[1])
    except ConfigError as error:
        return error.findings


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_finding_is_as_written_down(path: Path) -> None:
    """Each mistake is told once, at its place, in these words."""
    found = [f"{str(finding).removeprefix(f'{path}:')}\n" for finding in findings_of(path)]
    assert "".join(found) == path.with_suffix(".expected").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_secret_is_shown(path: Path) -> None:
    """Whatever is wrong with a secret option, its value is in no finding."""
    text = "\n".join(map(str, findings_of(path)))
    assert "123456789" not in text
    assert "hunter2" not in text
