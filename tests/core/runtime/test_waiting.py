"""How long records have waited, told from where a partition ended at each look."""

from hypothesis import given
from hypothesis import strategies as st

from streamweaver.runtime import waiting as module
from streamweaver.runtime.waiting import Waiting


def test_the_oldest_that_waits_counts_from_the_look_that_first_saw_it() -> None:
    """Each look dates what has come since the one before; what is settled counts no more."""
    waiting = Waiting()
    assert waiting.seconds(settled=0, end=10, now=100.0) == 0.0
    assert waiting.seconds(0, 20, 101.0) == 1.0
    assert waiting.seconds(9, 20, 102.0) == 2.0
    assert waiting.seconds(10, 20, 102.5) == 1.5
    assert waiting.seconds(20, 20, 103.0) == 0.0
    assert waiting.seconds(20, 21, 110.0) == 0.0


def test_a_partition_that_is_kept_up_with_never_waits() -> None:
    """Whatever comes and goes between two looks."""
    waiting = Waiting()
    assert [waiting.seconds(n * 100, n * 100 + 5, float(n)) for n in range(5)] == [0.0] * 5


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.floats(0.0, 2.0)), max_size=200))
def test_a_wait_is_never_told_too_short_and_too_long_by_little(steps: list[tuple[int, int, float]]) -> None:
    """Against a model that knows when each record was first seen: looks close to each other are one look."""
    waiting = Waiting()
    first_seen: list[float] = []
    settled, now = 0, 0.0
    for more, done, later in steps:
        now += later
        first_seen += [now] * more
        settled = min(len(first_seen), settled + done)
        true = now - first_seen[settled] if settled < len(first_seen) else 0.0
        told = waiting.seconds(settled, len(first_seen), now)
        assert true <= told + 1e-9
        assert told <= true + module._LOOK_SECONDS + 1e-9


def test_what_is_remembered_is_bounded() -> None:
    """A stage that stands still for days keeps so many looks, and the oldest of them."""
    waiting = Waiting()
    for n in range(10 * module._MOST_LOOKS):
        assert waiting.seconds(0, n + 1, float(n)) == n
        assert len(waiting.seen) <= module._MOST_LOOKS
    assert waiting.seconds(10 * module._MOST_LOOKS, 10 * module._MOST_LOOKS, 10.0**6) == 0.0
