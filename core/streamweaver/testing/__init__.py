"""What the tests of a plugin need: contexts with a clock that can be set and state that can be looked at."""

from streamweaver.testing.context import FakeClock, FakeContext, FakeState

__all__ = ["FakeClock", "FakeContext", "FakeState"]
