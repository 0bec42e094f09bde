"""The cluster as a whole: which topics there are, what their partitions hold, what groups have committed."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from streamweaver import BrokerError, PartitionRange, StorageError, TopicMismatchError, TopicSpec, UnknownTopicError
from streamweaver_brokers.kafka.client import Clients
from streamweaver_brokers.kafka.failure import mapped, retrying
from streamweaver_brokers.kafka.offsets import of_group

FRESH_SECONDS = 30.0
"""How long the numbers of partitions are taken for right; a topic that is not known is looked up at once."""

OVERHEAD_BYTES = 128
"""What a batch of one record adds to the record: 61 bytes of header, lengths, and some room."""

_CLEANUP = {"delete": "delete", "compact": "compact", "compact+delete": "compact,delete"}
_OF_TOPIC = 1  # a setting's source, as the protocol numbers them: set on the topic itself


class Cluster:
    """Questions to the cluster, and changes of its topics. Errors that may pass are met by asking again."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._admin: Any = None
        self._probe: Any = None
        self._counts: dict[str, int] = {}
        self._looked = 0.0

    async def open(self) -> None:
        """Connect; BrokerError with the reason when no server can be used."""
        try:
            self._admin = self._clients.admin()
            await self._clients.start(self._admin)
            self._probe = self._clients.consumer()
            await self._clients.start(self._probe)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise await self._clients.unreachable() from error

    async def close(self) -> None:
        """Disconnect."""
        for client in (self._admin, self._probe):
            if client is not None:
                await self._clients.end(client)
        self._admin = self._probe = None

    async def _ask(self, call: Callable[[], Any], doing: str) -> Any:
        return await retrying(call, doing, self._clients.step_seconds)

    # -- topics -----------------------------------------------------------------------------------

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has; what is known holds on while the brokers are away."""
        loop = asyncio.get_running_loop()
        if loop.time() - self._looked > FRESH_SECONDS or topic not in self._counts:
            try:
                await self.look()
            except StorageError:
                if topic not in self._counts:
                    raise
                # Not to have everybody wait for an answer, one after the other.
                self._looked = loop.time()
        if topic not in self._counts:
            raise UnknownTopicError(f"there is no topic {topic!r} on the brokers {', '.join(self._clients.servers)}")
        return self._counts[topic]

    async def look(self) -> list[dict[str, Any]]:
        """Ask for all topics; asking for one by its name might create it."""
        found: list[dict[str, Any]] = await self._ask(self._admin.describe_topics, "listing topics")
        found = [topic for topic in found if not topic["error_code"] and not topic["is_internal"]]
        self._counts = {topic["topic"]: len(topic["partitions"]) for topic in found}
        self._looked = asyncio.get_running_loop().time()
        return found

    async def topics(self) -> dict[str, TopicSpec]:
        """Return all topics with their settings."""
        found = await self.look()
        settings = await self._settings([topic["topic"] for topic in found])
        return {name: _spec(topic, settings[name]) for topic in found if (name := topic["topic"]) in settings}

    async def max_message_bytes(self, topics: Iterable[str]) -> int | None:
        """Return the smallest limit that any of the topics has for a batch."""
        settings = await self._settings(sorted(topics))
        limits = [int(found["max.message.bytes"][0]) for found in settings.values() if "max.message.bytes" in found]
        return min(limits, default=None)

    async def _settings(self, topics: Sequence[str]) -> dict[str, dict[str, tuple[str, bool]]]:
        """Return each topic's settings by name: the value, and whether it was set on the topic itself.

        A topic that is not there any more is left out: others remove theirs whenever they like.
        """
        if not topics:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        found: dict[str, dict[str, tuple[str, bool]]] = {}

        async def call() -> None:
            unknown = set()
            for response in await self._admin.describe_configs(resources):
                for code, message, _, name, entries in response.resources:
                    if code and for_code(code) is UnknownTopicOrPartitionError:
                        unknown.add(name)
                        found.pop(name, None)  # it was there at an earlier try
                    elif code:
                        raise for_code(code)(message or name)
                    else:
                        found[name] = {e[0]: (e[1] or "", e[3] == _OF_TOPIC) for e in entries}
            # One that is new may be unknown to a broker for a moment, and is not gone.
            if unknown and (listed := unknown.intersection(topic["topic"] for topic in await self.look())):
                raise UnknownTopicOrPartitionError(", ".join(sorted(listed)))

        await self._ask(call, "reading topic settings")
        return found

    async def create(self, topics: Sequence[TopicSpec], *, may_create: bool = True, may_alter: bool = False) -> None:
        """Create what is missing and compare the rest; TopicMismatchError names every difference."""
        existing = {topic["topic"]: topic for topic in await self.look()}
        settings = await self._settings([spec.name for spec in topics if spec.name in existing])
        # One of these may have been removed a moment ago.
        missing = [spec for spec in topics if spec.name not in settings]
        if missing and not may_create:
            names = ", ".join(spec.name for spec in missing)
            raise BrokerError(f"there are no topics {names} yet; the running pipeline creates them")
        wrong: list[str] = []
        for spec in (spec for spec in topics if spec.name in settings):
            differences = _differences(spec, existing[spec.name], settings[spec.name])
            if differences and may_alter:
                differences = await self._alter(spec, existing[spec.name], settings[spec.name])
            wrong += [f"topic {spec.name}: {difference}" for difference in differences]
        if wrong:
            hint = "" if may_alter else "; declare what is there, or set alter_topics: true to change the topics"
            raise TopicMismatchError("\n".join(wrong) + hint)
        if missing:
            await self._create(missing)

    async def _create(self, topics: Sequence[TopicSpec]) -> None:
        for spec in topics:
            if spec.partitions < 1:
                raise TopicMismatchError(f"topic {spec.name}: got {spec.partitions} partitions, expected at least 1")
        replicas = [spec.replication or -1 for spec in topics]
        new = [
            NewTopic(spec.name, spec.partitions, count, {} if count == -1 else None, _wanted(spec))
            for spec, count in zip(topics, replicas, strict=True)
        ]

        async def call() -> None:
            for name, code, message, *_ in (await self._admin.create_topics(new)).topic_errors:
                # Another worker, or an earlier try whose answer was lost, may have been there first.
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise mapped(for_code(code)(message or name), f"creating topic {name}")

        await self._ask(call, "creating topics")
        wanted = {spec.name: spec.partitions for spec in topics}

        async def visible() -> None:
            found = {topic["topic"]: topic["partitions"] for topic in await self.look()}
            for name in wanted:
                if any(part["leader"] < 0 for part in found.get(name, [{"leader": -1}])):
                    raise UnknownTopicOrPartitionError(name)

        await self._ask(visible, "waiting for new topics")

    async def _alter(
        self, spec: TopicSpec, topic: Mapping[str, Any], settings: Mapping[str, tuple[str, bool]]
    ) -> list[str]:
        """Change a topic to what is declared; returns what cannot be changed."""
        have = len(topic["partitions"])
        if spec.partitions > have:
            parts = {spec.name: NewPartitions(spec.partitions, None)}
            await self._ask(lambda: self._admin.create_partitions(parts), f"adding partitions to {spec.name}")
        # All of a topic's own settings are replaced at once, so those that are not ours go along.
        own = {name: value for name, (value, is_own) in settings.items() if is_own}
        resource = ConfigResource(ConfigResourceType.TOPIC, spec.name, {**own, **_compared(spec)})

        async def call() -> None:
            for response in await self._admin.alter_configs([resource]):
                for code, message, *_ in response.resources:
                    if code:
                        raise for_code(code)(message or spec.name)

        await self._ask(call, f"changing the settings of {spec.name}")
        await self.look()
        return [text for text in _differences(spec, topic, {}) if not _mended(text, spec, have)]

    async def remove(self, topics: Sequence[str]) -> None:
        """Delete topics with all that they hold; one that is gone already is no error."""
        wanted = list(topics)

        async def call() -> None:
            for name, code, *_ in (await self._admin.delete_topics(wanted)).topic_error_codes:
                if code and for_code(code) is not UnknownTopicOrPartitionError:
                    raise mapped(for_code(code)(name), f"removing topic {name}")

        await self._ask(call, "removing topics")

    # -- partitions -------------------------------------------------------------------------------

    async def ranges(self, topic: str) -> list[PartitionRange]:
        """Return what each partition holds, up to the first open transaction."""
        parts = [TopicPartition(topic, number) for number in range(await self.partitions(topic))]
        begins, ends = await self.begins(parts), await self.ends(parts)
        # Two questions: retention may have passed what was the end by the first.
        return [PartitionRange(begins[part], max(begins[part], ends[part])) for part in parts]

    async def begins(self, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offset of each partition."""
        return await self._offsets(parts, lambda: self._probe.beginning_offsets(parts))

    async def ends(self, parts: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset behind the last record of each partition that a `read_committed` reader may see now."""
        return await self._offsets(parts, lambda: self._probe.end_offsets(parts))

    async def _offsets(self, parts: Sequence[TopicPartition], call: Callable[[], Any]) -> dict[TopicPartition, int]:
        if not parts:
            return {}
        try:
            found: dict[TopicPartition, int] = await self._ask(call, f"asking for offsets of {parts[0].topic}")
        except BrokerError:
            # A topic that is gone shows as time-outs only.
            await self.look()
            for topic in {part.topic for part in parts}:
                await self.partitions(topic)
            raise
        return found

    async def offset_at(self, topic: str, partition: int, timestamp: int) -> int:
        """Return the first offset with that time or a later one; the end when there is none."""
        part = TopicPartition(topic, partition)
        await self.partitions(topic)
        found = await self._ask(
            lambda: self._probe.offsets_for_times({part: max(0, timestamp)}), f"asking {topic} for a time"
        )
        return int(found[part].offset) if found[part] is not None else (await self.ends([part]))[part]

    async def committed(self, group: str) -> dict[tuple[str, int], int]:
        """Return the committed offsets of a group."""
        found = await self._ask(lambda: of_group(self._admin, group), f"asking for the offsets of group {group}")
        return {(part.topic, part.partition): offset for part, offset in found.items()}

    async def members(self, group: str) -> list[str]:
        """Return the ids of a group's members."""

        async def ask() -> list[str]:
            answers = await self._admin.describe_consumer_groups([group])
            code, _, _, _, _, members, *_ = answers[0].groups[0]
            if code:
                raise for_code(code)(group)
            return [member[0] for member in members]

        found: list[str] = await self._ask(ask, f"asking for the members of group {group}")
        return found


def _wanted(spec: TopicSpec) -> dict[str, str]:
    """Return the settings that a topic is created with."""
    return {
        "cleanup.policy": _CLEANUP[spec.cleanup],
        "retention.ms": str(-1 if spec.retention_ms is None else spec.retention_ms),
        "retention.bytes": str(-1 if spec.retention_bytes is None else spec.retention_bytes),
        **spec.settings,
    }


def _compared(spec: TopicSpec) -> dict[str, str]:
    """Return the settings that an existing topic must have: a bound that is not declared may be anything."""
    left_out = {"retention.ms": spec.retention_ms is None, "retention.bytes": spec.retention_bytes is None}
    wanted = _wanted(spec)
    return {name: wanted[name] for name in wanted if name in spec.settings or not left_out.get(name, False)}


def _differences(spec: TopicSpec, topic: Mapping[str, Any], settings: Mapping[str, tuple[str, bool]]) -> list[str]:
    found = []
    have = len(topic["partitions"])
    if have != spec.partitions:
        found.append(
            f"it has {have} partitions, declared are {spec.partitions}; order and state by key depend on the number"
        )
    replicas = {len(part["replicas"]) for part in topic["partitions"]}
    if spec.replication is not None and replicas != {spec.replication}:
        found.append(f"it has {max(replicas, default=0)} replicas, declared are {spec.replication}")
    for name, value in _compared(spec).items():
        is_there = settings[name][0] if name in settings else value
        if sorted(is_there.split(",")) != sorted(value.split(",")):
            found.append(f"{name} is {is_there}, declared is {value}")
    return found


def _mended(text: str, spec: TopicSpec, have: int) -> bool:
    return text.startswith(f"it has {have} partitions") and spec.partitions > have


def _spec(topic: Mapping[str, Any], settings: Mapping[str, tuple[str, bool]]) -> TopicSpec:
    def bound(name: str) -> int | None:
        value = int(settings.get(name, ("-1", False))[0])
        return None if value < 0 else value

    policies = set(settings.get("cleanup.policy", ("delete", False))[0].split(","))
    ours = {"cleanup.policy", "retention.ms", "retention.bytes"}
    return TopicSpec(
        name=topic["topic"],
        partitions=len(topic["partitions"]),
        retention_ms=bound("retention.ms"),
        retention_bytes=bound("retention.bytes"),
        cleanup="compact+delete" if len(policies) == 2 else "compact" if policies == {"compact"} else "delete",
        replication=max((len(part["replicas"]) for part in topic["partitions"]), default=None),
        settings={name: value for name, (value, is_own) in settings.items() if is_own and name not in ours},
    )
