"""What the tests of a plugin need: a plugin or a whole pipeline run inside a test, and contexts for calls by hand."""

from streamweaver.testing.context import FakeClock, FakeContext, FakeState
from streamweaver.testing.harness import run, run_async
from streamweaver.testing.ran import Ran
from streamweaver.testing.scratch import ScratchLog
from streamweaver.testing.scripted import scripted_producer, scripted_sink

__all__ = [
    "FakeClock",
    "FakeContext",
    "FakeState",
    "Ran",
    "ScratchLog",
    "run",
    "run_async",
    "scripted_producer",
    "scripted_sink",
]
