"""The plugin: options, and the contract `Broker` over one session."""

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
from aiokafka import TopicPartition

from streamweaver import (
    BrokerContext,
    BrokerError,
    Delivery,
    PartitionRange,
    Seconds,
    Size,
    TopicSpec,
    broker,
    option,
)
from streamweaver_brokers.kafka.client import COMPRESSORS, SETTINGS, Clients, Security, check_settings
from streamweaver_brokers.kafka.group import Membership
from streamweaver_brokers.kafka.lane import Unit
from streamweaver_brokers.kafka.reader import Reader
from streamweaver_brokers.kafka.session import Session


def _known(_: Any, __: Any, settings: Mapping[str, Any]) -> None:
    check_settings(settings)


@broker("kafka", example='{use: kafka, servers: ["localhost:9092"]}')
@attrs.define(eq=False)
class Kafka:
    """Topics, offsets and state on Apache Kafka: exactly-once over any number of workers.

    Workers of a pipeline share the partitions of each stage by consumer groups; start the same command again, on any
    machine, and they share the work. With `delivery: exactly_once` everything is committed in transactions.
    """

    servers: list[str] = option(
        help="brokers to begin with, each `host:port`", example=["kafka-1:9092", "kafka-2:9092"], min_length=1
    )
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = option(
        default="PLAINTEXT",
        help="how connections are protected (SSL) and whether we log in (SASL)",
        choices=("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = option(
        default="SCRAM-SHA-512",
        help="how to log in, with SASL",
        choices=("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
    )
    username: str | None = option(default=None, help="user to log in as", example="streamweaver")
    password: str | None = option(
        default=None, help="the user's password", secret=True, example="${env:KAFKA_PASSWORD}"
    )
    token_file: Path | None = option(
        default=None, help="file with an OAuth token, read at each connection", example="/run/secrets/kafka-token"
    )
    ca_file: Path | None = option(
        default=None, help="certificates to trust, PEM; the system's when not set", example="ca.pem"
    )
    certificate_file: Path | None = option(default=None, help="our own certificate, PEM", example="client.pem")
    key_file: Path | None = option(default=None, help="the certificate's key, PEM", example="client.key")
    key_password: str | None = option(default=None, help="password of the key", secret=True, example="changeit")
    client_id: str | None = option(
        default=None, help="our name in the broker's logs and quotas; the pipeline's name when not set", example="demo"
    )
    rack: str | None = option(default=None, help="where we are, to read from the nearest replica", example="eu-west-1a")
    instance: str | None = option(
        default=None,
        help="name of this process that outlives it, with a --worker-name that does, too: a quick restart then moves "
        "no partitions. No two may share both",
        example="worker-1",
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = option(
        default="none", help="how batches are compressed", choices=("none", "gzip", "snappy", "lz4", "zstd")
    )
    alter_topics: bool = option(
        default=False, help="change existing topics to what is declared: settings, and more partitions"
    )
    max_batch_bytes: Size = option(
        default=Size(1_000_000),
        help="records are sent in batches up to this size; less where a topic's max.message.bytes asks for it",
        ge=1_024,
        example="512KiB",
    )
    max_record_bytes: Size = option(
        default=Size(1_000_000),
        help="larger records are bad records; less where a topic's max.message.bytes asks for it",
        ge=1_024,
        example="1MB",
    )
    request_seconds: Seconds = option(
        default=Seconds(5.0), help="how long a broker may take to answer", ge=0.1, example="5s"
    )
    session_seconds: Seconds = option(
        default=Seconds(6.0), help="silence after which a worker is taken to be dead", ge=1, example="6s"
    )
    transaction_seconds: Seconds = option(
        default=Seconds(60.0),
        help="how long an open transaction of a dead worker that nobody succeeds may hold up readers",
        ge=5,
        example="60s",
    )
    pause_seconds: Seconds = option(
        default=Seconds(0.02),
        help="least time between two transactions of a lane: longer is cheaper, and adds as much to the latency",
        ge=0,
        le=5,
        example="100ms",
    )
    settings: dict[str, Any] = option(
        factory=dict,
        help=f"more of the client's settings: {', '.join(SETTINGS)}",
        example={"fetch_max_wait_ms": 100},
        validator=_known,
    )

    delivery: Delivery = attrs.field(default="exactly_once", init=False, repr=False)
    shares_work: bool = attrs.field(default=True, init=False, repr=False)
    _session: Session | None = attrs.field(default=None, init=False, repr=False)

    async def open(self, context: BrokerContext, /) -> None:
        """Connect; BrokerError with the reason when that cannot be done."""
        if self._session is not None:
            raise BrokerError("the kafka broker is open already")
        self._check()
        clients = Clients(
            self.servers,
            Security(
                protocol=self.security,
                mechanism=self.mechanism,
                username=self.username,
                password=self.password,
                token_file=self.token_file,
                ca_file=self.ca_file,
                certificate_file=self.certificate_file,
                key_file=self.key_file,
                key_password=self.key_password,
            ),
            self.settings,
            client_id=self.client_id or context.pipeline,
            request_seconds=self.request_seconds,
            rack=self.rack,
            compression=None if self.compression == "none" else self.compression,
            batch_bytes=self.max_batch_bytes,
            log=context.log,
        )
        session = Session(
            context,
            clients,
            instance=_instance(self.instance, context.worker),
            session_seconds=self.session_seconds,
            transaction_seconds=self.transaction_seconds,
            pause_seconds=self.pause_seconds,
            max_record_bytes=self.max_record_bytes,
            unique=f"{os.getpid()}.{uuid.uuid4().hex[:12]}",
        )
        await session.open()
        self._session = session

    def _check(self) -> None:
        """Raise BrokerError for options that do not go together."""
        if self.compression != "none" and not COMPRESSORS[self.compression][0]():
            raise BrokerError(f"compression {self.compression} needs the package cramjam: pip install cramjam")
        if not self.security.startswith("SASL"):
            return
        if self.mechanism == "OAUTHBEARER":
            if self.token_file is None:
                raise BrokerError("mechanism OAUTHBEARER needs token_file")
        elif self.username is None or self.password is None:
            raise BrokerError(f"mechanism {self.mechanism} needs username and password")

    async def close(self) -> None:
        """Let what is being stored come to its end, and disconnect."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def create(self, topics: Sequence[TopicSpec], /) -> None:
        """Make sure that the topics exist as declared."""
        session = self._opened()
        await session.create(topics, may_alter=self.alter_topics)
        self.max_record_bytes = Size(session.max_record_bytes)

    async def topics(self) -> dict[str, TopicSpec]:
        """Return the topics that exist, Kafka's own left out."""
        return await self._opened().cluster.topics()

    async def remove(self, topics: Sequence[str], /) -> None:
        """Delete topics with all that they hold: what a test has made. Nothing else of StreamWeaver deletes topics."""
        await self._opened().cluster.remove(topics)

    async def ranges(self, topic: str, /) -> list[PartitionRange]:
        """Return what each partition holds, up to the first open transaction."""
        return await self._opened().cluster.ranges(topic)

    async def offset_at(self, topic: str, partition: int, timestamp: int, /) -> int:
        """Return the first offset with that timestamp or a later one; the end when there is none."""
        return await self._opened().cluster.offset_at(topic, partition, timestamp)

    async def offsets(self, group: str, /) -> dict[tuple[str, int], int]:
        """Return the committed offsets of a group."""
        return await self._opened().offsets(group)

    async def join(self, group: str, topics: Sequence[str], /, *, single: bool = False) -> Membership:
        """Join a group: one lane a partition number, or one in all for a `single` group."""
        return await self._opened().join(group, topics, single=single or not topics)

    async def reader(self, starts: Mapping[tuple[str, int], int], /) -> Reader:
        """Open a reader at the given offsets."""
        return await self._opened().reader({TopicPartition(*place): offset for place, offset in starts.items()})

    def begin(self) -> Unit:
        """Start a unit of work outside any group."""
        return Unit(self._opened(), None)

    def state_items(self, store: str, partition: int, /) -> Iterator[tuple[bytes, bytes]]:
        """Go through the committed values of a state store that a lane of this process holds."""
        found: Iterator[tuple[bytes, bytes]] = self._opened().state_items(store, partition)
        return found

    def _opened(self) -> Session:
        if self._session is None:
            raise BrokerError("the kafka broker is not open")
        return self._session


def _instance(chosen: str | None, worker: str) -> str | None:
    """Return the name of a static member; a worker without a name of its own is a dynamic one."""
    if chosen is not None:
        return f"{chosen}.{worker}"
    return None if worker == "0" else worker
