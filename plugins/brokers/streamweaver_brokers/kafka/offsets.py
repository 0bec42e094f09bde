"""What a group has committed, from its coordinator: where the answer is a refusal, that is no "nothing".

The client (aiokafka 0.14) looks for errors partition by partition. But a broker that no longer coordinates the group,
or has not read its offsets yet, answers with one error for all and no partition, which the client takes to mean that
nothing was ever committed: the reader would begin anew, and everything would come twice.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NotCoordinatorForGroupError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest

_READ, _UNREAD = "read:", "unread:"


class Held(NamedTuple):
    """A partition as its group holds it: the next offset to consume, and which producer may commit it."""

    offset: int | None
    """None as long as nothing was consumed: then `written` gives the place where reading begins."""
    owner: str
    """The transactional id of the lane's transactions; empty when nobody has it."""

    def written(self, begin: int) -> tuple[int, str]:
        """Return the offset and the metadata that say it to the group; an offset there must be."""
        if self.offset is None:
            return begin, f"{_UNREAD}{self.owner}"
        return self.offset, f"{_READ}{self.owner}"

    @classmethod
    def of(cls, offset: int, metadata: str | None) -> "Held":
        """Read what `written` wrote, or another program that has set the offset."""
        text = metadata or ""
        if text.startswith(_UNREAD):
            return cls(None, text.removeprefix(_UNREAD))
        return cls(offset, text.removeprefix(_READ) if text.startswith(_READ) else "")


async def of_member(consumer: AIOKafkaConsumer, parts: Iterable[TopicPartition]) -> dict[TopicPartition, Held]:
    """Return how the consumer's group holds these partitions, as far as it does; KafkaError if nobody knows."""
    coordinator = consumer._coordinator  # noqa: SLF001
    by_topic = defaultdict(list)
    for part in parts:
        by_topic[part.topic].append(part.partition)
    await coordinator.ensure_coordinator_known()
    request = OffsetFetchRequest(coordinator.group_id, list(by_topic.items()))
    try:
        return _held(await coordinator._send_req(request), coordinator.group_id)  # noqa: SLF001
    except NotCoordinatorForGroupError:
        coordinator.coordinator_dead()
        raise


async def of_group(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """Return all offsets that a group has committed; KafkaError if nobody knows."""
    node = await admin.find_coordinator(group)
    found = _held(await admin._send_request(OffsetFetchRequest(group, None), node), group)  # noqa: SLF001
    return {part: held.offset for part, held in found.items() if held.offset is not None}


def _held(answer: Any, group: str) -> dict[TopicPartition, Held]:
    _check(answer.error_code, group)
    found = {}
    for topic, partitions in answer.topics:
        for partition, offset, metadata, code in partitions:
            _check(code, topic)
            if offset >= 0:
                found[TopicPartition(topic, partition)] = Held.of(offset, metadata)
    return found


def _check(code: int, what: str) -> None:
    if code:
        raise for_code(code)(what)
