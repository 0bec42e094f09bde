"""What a group has committed, from its coordinator: where the answer is a refusal, that is no "nothing".

The client (aiokafka 0.14) looks for errors partition by partition. But a broker that no longer coordinates the group,
or has not read its offsets yet, answers with one error for all and no partition, which the client takes to mean that
nothing was ever committed: the reader would begin anew, and everything would come twice.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import NotCoordinatorForGroupError, for_code
from aiokafka.protocol.commit import OffsetFetchRequest


async def of_member(consumer: AIOKafkaConsumer, parts: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the offsets that the consumer's group has committed for these partitions; KafkaError if nobody knows."""
    coordinator = consumer._coordinator  # noqa: SLF001
    by_topic = defaultdict(list)
    for part in parts:
        by_topic[part.topic].append(part.partition)
    await coordinator.ensure_coordinator_known()
    request = OffsetFetchRequest(coordinator.group_id, list(by_topic.items()))
    try:
        return _offsets(await coordinator._send_req(request), coordinator.group_id)  # noqa: SLF001
    except NotCoordinatorForGroupError:
        coordinator.coordinator_dead()
        raise


async def of_group(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """Return all offsets that a group has committed; KafkaError if nobody knows."""
    node = await admin.find_coordinator(group)
    return _offsets(await admin._send_request(OffsetFetchRequest(group, None), node), group)  # noqa: SLF001


def _offsets(answer: Any, group: str) -> dict[TopicPartition, int]:
    _check(answer.error_code, group)
    found = {}
    for topic, partitions in answer.topics:
        for partition, offset, _, code in partitions:
            _check(code, topic)
            if offset >= 0:
                found[TopicPartition(topic, partition)] = offset
    return found


def _check(code: int, what: str) -> None:
    if code:
        raise for_code(code)(what)
