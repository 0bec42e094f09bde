"""Back-off and restart decisions."""

from hypothesis import given
from hypothesis import strategies as st

from streamweaver.retry import Backoff, RestartTracker


@given(st.floats(0.001, 100), st.floats(0.001, 1000), st.integers(1, 5000), st.floats(0, 1))
def test_a_wait_lies_between_half_and_all(initial: float, longest: float, attempt: int, chance: float) -> None:
    """It doubles up to the longest, is never zero, and never overflows."""
    whole = min(longest, initial * 2.0 ** min(attempt - 1, 60))
    wait = Backoff(initial, longest).wait(attempt, lambda: chance)
    assert whole / 2 <= wait <= min(longest, whole * 1.0000001) or attempt > 60
    assert 0 < wait <= longest


def test_two_processes_wait_differently() -> None:
    """Chance spreads them."""
    assert len({Backoff(1.0, 10.0).wait(1) for _ in range(20)}) > 1


def test_failures_in_a_row_end_it() -> None:
    """As many restarts as allowed, with growing waits, then None."""
    tracker = RestartTracker(3, 300.0, Backoff(1.0, 60.0))
    assert [tracker.failed(0.0, lambda: 1.0) for _ in range(5)] == [1.0, 2.0, 4.0, None, None]


def test_a_long_run_clears_the_count() -> None:
    """A failure after it is the first again."""
    tracker = RestartTracker(2, 300.0, Backoff(1.0, 60.0))
    assert [tracker.failed(ran, lambda: 1.0) for ran in (0, 0, 300, 0, 299.9)] == [1.0, 2.0, 1.0, 2.0, None]


def test_no_restart_is_allowed() -> None:
    """The first failure is the last."""
    assert RestartTracker(0, 1.0, Backoff(1.0, 1.0)).failed(100.0) is None
