"""What the tests of a plugin need: a whole pipeline run inside a test, and contexts for calling a plugin by hand."""

from streamweaver.testing.context import FakeClock, FakeContext, FakeState
from streamweaver.testing.harness import Ran, run, run_async
from streamweaver.testing.scripted import scripted_producer, scripted_sink

__all__ = [
    "FakeClock",
    "FakeContext",
    "FakeState",
    "Ran",
    "run",
    "run_async",
    "scripted_producer",
    "scripted_sink",
]
