"""What the tests of the transforms share: a context, and a small engine that rolls back as the real one does."""

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from streamweaver import BadRecord, Batch, Record
from streamweaver.testing import FakeContext


@pytest.fixture
def context() -> FakeContext:
    return FakeContext()


def stored(values: dict[Any, Any]) -> dict[Any, Any]:
    """State as it comes back from disk: through MessagePack."""
    return {key: msgspec.msgpack.decode(msgspec.msgpack.encode(value), strict=False) for key, value in values.items()}


@pytest.fixture(scope="session")
def run() -> Callable[..., tuple[list[Record], list[str]]]:
    """Process batches; a batch that fails is rolled back and tried record by record. Returns outputs and errors."""

    def run(
        make: Callable[[], Any], records: list[Record], context: FakeContext, sizes: list[int] | None = None
    ) -> tuple[list[Record], list[str]]:
        out: list[Record] = []
        errors: list[str] = []
        step, at, cuts = make(), 0, list(sizes or [len(records) or 1])
        while at < len(records):
            size = cuts.pop(0) if cuts else 3
            chunk = records[at : at + size]
            at += size
            for part in _parts(step, chunk, context):
                before = stored(context.state.values)
                try:
                    out += step.process(Batch(copy.deepcopy(part)), context)
                except Exception as error:
                    context.state.values = before
                    errors.append(str(error.why if isinstance(error, BadRecord) else error))
                context.state.values = stored(context.state.values)
            step = make()  # a restart after each batch: everything must be in the state
        return out, errors

    def _parts(step: Any, chunk: list[Record], context: FakeContext) -> list[list[Record]]:
        before, counts = stored(context.state.values), dict(context.counts)
        try:
            step.process(Batch(copy.deepcopy(chunk)), context)
        except Exception:
            return [[record] for record in chunk]
        finally:
            context.state.values, context.counts = before, counts
        return [chunk]

    return run
