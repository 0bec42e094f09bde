"""How long records have waited, told from where a partition ended at each look. Pure."""

from collections import deque

import attrs

_LOOK_SECONDS = 0.5
_MOST_LOOKS = 1_000


@attrs.define
class Waiting:
    """Since when records of a partition wait to be settled, as far as somebody has looked.

    Where the partition ended at each look is kept, with the moment, until all before that end is settled. So the wait
    is right to the time between two looks, and a record that was there before this process counts from its first look.
    """

    seen: deque[tuple[int, float]] = attrs.field(factory=deque)
    """(end of the partition, seconds on the monotonic clock), both rising; the first is the oldest that waits."""

    def seconds(self, settled: int, end: int, now: float) -> float:
        """Note the partition's end, and return how long the oldest record from `settled` on has waited."""
        seen = self.seen
        while seen and seen[0][0] <= settled:
            seen.popleft()
        if settled >= end:
            return 0.0
        if not seen or (end > seen[-1][0] and now - seen[-1][1] >= _LOOK_SECONDS):
            seen.append((end, now))
        elif end > seen[-1][0]:
            # Looks that follow each other closely are taken as one, and long lists thinned out: what came a little
            # later counts as if it had come with what was there.
            seen[-1] = (end, seen[-1][1])
        if len(seen) > _MOST_LOOKS:
            kept = list(seen)
            self.seen = deque((kept[min(i + 1, len(kept) - 1)][0], kept[i][1]) for i in range(0, len(kept), 2))
        return now - self.seen[0][1]
