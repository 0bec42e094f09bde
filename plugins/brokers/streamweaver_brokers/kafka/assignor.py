"""Who of a group gets which partitions: those of one number stay together, and with whom they were."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata


def share(count: int, claims: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    """Share the numbers below `count` among members as evenly as can be; each keeps what it claims, up to its share.

    Every member of a group comes to the same result from the same claims. Two claims to one number are settled by
    the members' order.
    """
    members = sorted(claims)
    least, more = divmod(count, len(members))
    shares: dict[str, list[int]] = {member: [] for member in members}
    free = set(range(count))
    # Those who hold the most are the first to get one of the larger shares, so that the fewest move.
    for place, member in enumerate(sorted(members, key=lambda m: (-len(set(claims[m])), m))):
        quota = least + (place < more)
        kept = sorted(free.intersection(claims[member]))[:quota]
        shares[member] = kept
        free.difference_update(kept)
    left = sorted(free, reverse=True)
    order = sorted(members, key=lambda m: (-len(set(claims[m])), m))
    for place, member in enumerate(order):
        quota = least + (place < more)
        while len(shares[member]) < quota:
            shares[member].append(left.pop())
        shares[member].sort()
    return shares


class LaneAssignor:
    """The assignor of our groups, as aiokafka wants it; one object a consumer.

    Partition i of every topic goes to the same member, since together they are one lane. In a `single` group one
    member gets everything. `owned` is what the member tells the others that it holds.
    """

    version = 0

    def __init__(self, *, single: bool) -> None:
        self.name = "streamweaver-single" if single else "streamweaver"
        self.owned: list[int] = []
        self._single = single

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this member says when it joins."""
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), json.dumps(self.owned).encode())

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Share the group's partitions; called on the member that the coordinator has chosen to do so."""
        counts: dict[str, int] = {}
        for metadata in members.values():
            for topic in metadata.subscription:
                counts[topic] = len(cluster.partitions_for_topic(topic) or ())
        claims = {member: _claims(metadata.user_data) for member, metadata in members.items()}
        lanes = share(1 if self._single else max(counts.values(), default=0), claims)
        assignments = {}
        for member, metadata in members.items():
            # A member that does not know a topic (an older pipeline file) leaves it alone until it is replaced.
            parts = [(topic, self._part(lanes[member], counts[topic])) for topic in sorted(metadata.subscription)]
            assignments[member] = ConsumerProtocolMemberAssignment(self.version, [p for p in parts if p[1]], b"")
        return assignments

    def _part(self, lanes: list[int], partitions: int) -> list[int]:
        if self._single:
            return list(range(partitions)) if lanes else []
        return [lane for lane in lanes if lane < partitions]

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Take note of an assignment; the consumer's listener does."""


def _claims(user_data: bytes) -> list[int]:
    try:
        return [int(number) for number in json.loads(user_data)]
    except (ValueError, TypeError):
        return []
