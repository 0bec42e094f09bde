"""When to try again: back-off, retry and restart decisions. Pure arithmetic; the caller waits."""

import random
from collections.abc import Callable

import attrs


@attrs.frozen
class Backoff:
    """Exponential back-off with full jitter below a cap.

    The n-th wait (from 1) lies between half and all of `initial_seconds * 2**(n-1)`, at most `longest_seconds`: never
    zero, and never the same for two processes that failed together.
    """

    initial_seconds: float
    longest_seconds: float

    def wait(self, attempt: int, chance: Callable[[], float] = random.random) -> float:
        """Return the seconds to wait after the `attempt`-th failure in a row."""
        # 2**62 is far beyond any cap; more would overflow a float.
        whole = min(self.longest_seconds, self.initial_seconds * 2.0 ** min(attempt - 1, 62))
        return whole * (0.5 + 0.5 * chance())


@attrs.define
class RestartTracker:
    """Counts the failures in a row of one stage and decides what comes next."""

    attempts: int
    """Restarts in a row before giving up."""
    reset_seconds: float
    """A run this long clears the count of failures."""
    backoff: Backoff
    failures: int = 0

    def failed(self, ran_seconds: float, chance: Callable[[], float] = random.random) -> float | None:
        """Note a failure after `ran_seconds`; return the wait before the next start, or None to give up."""
        self.failures = 1 if ran_seconds >= self.reset_seconds else self.failures + 1
        if self.failures > self.attempts:
            return None
        return self.backoff.wait(self.failures, chance)
