"""How long a killed worker stalls the others: the gaps in the output of partitions that were not its own."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import attrs
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment

Shares = dict[str, set[int]]
"""Partitions by the client id of the worker that has them."""


async def shares(admin: Any, group: str) -> Shares:
    """Ask the cluster which worker has which partitions; nothing while the group shares them out anew."""
    (answer,) = await admin.describe_consumer_groups([group])
    found: Shares = {}
    for description in answer.groups:
        # Before the members: error, name, state, type, protocol. Of a member, from its end: assignment, metadata,
        # host, client id; what comes before differs with the version.
        if description[0] == 0 and description[2] == "Stable":
            for member in description[5]:
                assigned = ConsumerProtocolMemberAssignment.decode(member[-1]).assignment
                found.setdefault(member[-4], set()).update(part for _, parts in assigned for part in parts)
    return found


@attrs.frozen
class Kill:
    """A worker that was killed."""

    at: float
    own: frozenset[int]
    """The partitions that it had."""
    produced: bool
    """Whether it ran the producer, without which nobody has anything to do."""
    at_once: bool
    """Whether it was started again at once."""


def gap(arrivals: Sequence[float], begin: float, end: float) -> float:
    """Return the longest time without an arrival between two moments."""
    within = [time for time in arrivals if begin < time < end]
    return max(later - earlier for earlier, later in pairwise([begin, *within, end]))


def told(kills: Sequence[Kill], events: Sequence[float], arrivals: Mapping[int, Sequence[float]]) -> dict[str, str]:
    """Return, for each kind of kill, how many there were and how long partitions were without output after them.

    Up to the next event, whatever that is: so stalls that last until then are cut off there.
    """
    texts = {}
    for at_once in (True, False):
        for produced in (False, True):
            found = [kill for kill in kills if (kill.at_once, kill.produced) == (at_once, produced)]
            if not found:
                continue
            own, others = [], []
            for kill in found:
                end = min((event for event in events if event > kill.at), default=kill.at + 30.0)
                gaps = {part: gap(times, kill.at, end) for part, times in arrivals.items()}
                own.append(max((gaps[part] for part in kill.own if part in gaps), default=0.0))
                others.append(max((gaps[part] for part in gaps.keys() - kill.own), default=0.0))
            name = (
                f"{'started again at once' if at_once else 'started later'}{', had the producer' if produced else ''}"
            )
            texts[name] = f"{len(found)} kills, own partitions {_figures(own)}, others {_figures(others)}"
    return texts


def _figures(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.1f} s (most {max(seconds):.1f})"
