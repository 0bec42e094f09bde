"""Making aiokafka's clients with our defaults, and ending them for certain."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.protocol.metadata import MetadataRequest

from streamweaver import BrokerError, StorageError
from streamweaver_brokers.kafka.failure import FAILURES, lasting, text
from streamweaver_brokers.kafka.reach import Reach

T = TypeVar("T")

COMPRESSORS: dict[str, tuple[Callable[[], bool], int]] = AIOKafkaProducer._COMPRESSORS  # noqa: SLF001
"""Of each compression, by name: whether its library is there, and the number that stands for it in a batch."""

START_SECONDS = 1.0
"""How long a client whose start is cancelled may go on with it, so that it can be stopped in order."""

STOP_SECONDS = 3.0
"""How long a client may take to stop in order."""

BOTH = {"metadata_max_age_ms": 30_000, "connections_max_idle_ms": 540_000, "retry_backoff_ms": 100}
CONSUMER = {
    "fetch_max_wait_ms": 500,
    "fetch_min_bytes": 1,
    "fetch_max_bytes": 16 * 1024 * 1024,
    "max_partition_fetch_bytes": 1024 * 1024,
    "check_crcs": True,
}
PRODUCER = {"linger_ms": 0}

SETTINGS: dict[str, Any] = {**BOTH, **CONSUMER, **PRODUCER}
"""What `settings` may change, with our defaults. The rest decides what is guaranteed, or has an option of its own."""


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raise ValueError for a setting that may not be changed, or has the wrong type."""
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ValueError(f"got the setting {name!r}, expected one of {', '.join(SETTINGS)}")
        if type(value) is not type(SETTINGS[name]):
            raise ValueError(f"{name}: got {value!r}, expected {type(SETTINGS[name]).__name__}")
        if value < 0:
            raise ValueError(f"{name}: got {value!r}, expected no less than 0")


class _FileToken(AbstractTokenProvider):  # type: ignore[misc]
    """An OAuth token from a file, which something else keeps fresh."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def token(self) -> str:
        """Read the token, each time a connection is made."""
        return (await asyncio.to_thread(self._path.read_text)).strip()


@attrs.frozen(kw_only=True)
class Security:
    """How connections are protected and who we are."""

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    token_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password: str | None = attrs.field(default=None, repr=False)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that every client takes; BrokerError when a file cannot be used."""
        arguments: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.endswith("SSL"):
            arguments["ssl_context"] = self._tls()
        if self.protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.mechanism
            arguments["sasl_plain_username"] = self.username
            arguments["sasl_plain_password"] = self.password
            if self.token_file is not None:
                arguments["sasl_oauth_token_provider"] = _FileToken(self.token_file)
        return arguments

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise BrokerError(f"ca_file {self.ca_file}: {error}; expected certificates in PEM form") from error
        if self.certificate_file is not None:
            try:
                context.load_cert_chain(self.certificate_file, self.key_file, self.key_password)
            except (OSError, ssl.SSLError) as error:
                where = f"certificate_file {self.certificate_file}, key_file {self.key_file}"
                raise BrokerError(f"{where}: {error}; expected both in PEM form, and the key's password") from error
        return context


class Clients:
    """Makes the clients of one broker, all alike."""

    def __init__(
        self,
        servers: list[str],
        security: Security,
        settings: Mapping[str, Any],
        *,
        client_id: str,
        request_seconds: float,
        rack: str | None = None,
        compression: str | None = None,
        batch_bytes: int,
        log: Callable[..., None],
    ) -> None:
        chosen = {**SETTINGS, **settings}
        self.request_seconds = request_seconds
        self.step_seconds = 2.5 * request_seconds
        """The longest time for one step: transactional batches never expire by themselves."""
        self.servers = servers
        self._reach = Reach(log)
        self._security = security.arguments()
        self._by_token = self._security.get("sasl_mechanism") == "OAUTHBEARER"
        self._common = {
            "bootstrap_servers": servers,
            "client_id": client_id,
            "request_timeout_ms": round(request_seconds * 1000),
            **self._security,
            **{name: chosen[name] for name in BOTH},
        }
        self._consumer = {
            "enable_auto_commit": False,
            # Where to read is always said; whoever is out of range is told, and how much is missing is counted.
            "auto_offset_reset": "none",
            "isolation_level": "read_committed",
            "client_rack": rack,
            **{name: chosen[name] for name in CONSUMER},
        }
        self._batch_bytes = batch_bytes
        self._compression = COMPRESSORS[compression][1] if compression else 0
        self._producer = {
            "acks": "all",
            "enable_idempotence": True,
            "compression_type": compression,
            "max_batch_size": batch_bytes,
            **{name: chosen[name] for name in PRODUCER},
        }

    def admin(self) -> AIOKafkaAdminClient:
        """Make an admin client."""
        return self._watched(AIOKafkaAdminClient(**self._common))

    def consumer(self, **more: Any) -> AIOKafkaConsumer:
        """Make a consumer: read_committed, nothing automatic."""
        return self._watched(AIOKafkaConsumer(**{**self._common, **self._consumer, **more}))

    def producer(self, **more: Any) -> AIOKafkaProducer:
        """Make a producer: idempotent, all replicas acknowledge."""
        return self._watched(AIOKafkaProducer(**{**self._common, **self._producer, **more}))

    def _watched(self, client: T) -> T:
        self._reach.watch(_inner(client))
        return client

    def batch(self, *, transactional: bool) -> BatchBuilder:
        """Begin a batch as the producers of this broker do; any producer of the same kind may send it."""
        return BatchBuilder(self._batch_bytes, self._compression, is_transactional=transactional)

    def limit_batches(self, most: int) -> None:
        """Begin no batch larger than this."""
        self._batch_bytes = min(self._batch_bytes, most)

    async def start(self, client: Any) -> None:
        """Start a client within the time for one step; ends it when that fails."""
        starting = asyncio.create_task(self._start(client))
        starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Cancelled while it makes a connection the library forgets it, and leaves it open.
            try:
                await asyncio.wait({starting}, timeout=START_SECONDS)
            finally:
                starting.cancel()
                await self.end(client)
            raise
        except BaseException:
            await self.end(client)
            raise

    async def _start(self, client: Any) -> None:
        async with asyncio.timeout(self.step_seconds):
            try:
                await client.start()
            except KafkaConnectionError as error:
                raise KafkaConnectionError(f"none of {', '.join(self.servers)} can be reached") from error
        # The client takes the refusal of a token for a welcome, and then understands nothing that the broker says.
        if self._by_token and not _inner(client).cluster.brokers():
            raise KafkaConnectionError("no broker makes itself known")

    def is_cut_off(self, client: Any) -> bool:
        """Say whether a client reaches no broker at all, so that nothing orderly can be done with it."""
        return self._reach.is_cut_off(_inner(client))

    async def end(self, client: Any, *, leave: bool = True) -> None:
        """Stop a client of any kind; when that takes too long, or cannot be orderly, close its connections.

        Never raises for what the client meets, and goes through to its end when the caller is cancelled.
        """
        task = asyncio.create_task(_end(client, leave and not self.is_cut_off(client)))
        cancelled = False
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    async def unreachable(self) -> BrokerError:
        """Return why no server answers: connects to each, since clients only log what they met.

        A StorageError as long as one of the reasons may pass.
        """
        reasons = []
        lasts = True
        for host, port, _ in collect_hosts(self.servers):
            try:
                async with asyncio.timeout(self.step_seconds):
                    connection = await create_conn(
                        host, port, request_timeout_ms=self._common["request_timeout_ms"], **self._security
                    )
                    try:
                        welcome = (await connection.send(MetadataRequest([]))).brokers
                    finally:
                        connection.close()
                refuses = self._by_token and not welcome
                refused = "the broker refuses the token; is what token_file holds still valid?"
                reasons.append(f"{host}:{port}: {refused if refuses else 'it answers now'}")
                lasts = lasts and refuses
            except FAILURES as error:
                known = lasting(error)
                reasons.append(f"{host}:{port}: {known or text(error)}{'' if known else self._hint(error)}")
                lasts = lasts and known is not None
        kind = BrokerError if lasts else StorageError
        return kind(f"no kafka broker can be used: {'; '.join(reasons)}")

    def _hint(self, error: BaseException) -> str:
        if not isinstance(error, ConnectionError | KafkaConnectionError):
            return ""
        if self._security["security_protocol"] == "SSL" and not isinstance(error, ConnectionRefusedError):
            return "; does it want another certificate of ours (certificate_file), is the port right?"
        return "; is it started, is the port right?"


def _inner(client: Any) -> Any:
    """Return what holds a client's connections."""
    return getattr(client, "client", None) or client._client  # noqa: SLF001


async def _end(client: Any, leave: bool) -> None:
    stop: Callable[[], Awaitable[None]] = getattr(client, "stop", None) or client.close
    if leave:
        with contextlib.suppress(*FAILURES, asyncio.CancelledError):
            async with asyncio.timeout(STOP_SECONDS):
                await stop()
                return
    # Not to be warned of by its destructor: it is closed now, just not in order.
    client._closed = True  # noqa: SLF001
    inner = _inner(client)
    sender = getattr(getattr(client, "_sender", None), "sender_task", None)
    tasks = {task for task in (sender, *_tasks_of(client)) if task is not None and not task.done()}
    for task in tasks:
        task.cancel()
    with contextlib.suppress(*FAILURES, asyncio.CancelledError):
        async with asyncio.timeout(STOP_SECONDS):
            await inner.close()
    # A cancelled task first waits for its own; cancelled again it gives those up as well.
    for _ in range(5):
        if not tasks:
            break
        done, tasks = await asyncio.wait(tasks, timeout=0.2)
        for task in tasks:
            task.cancel()
        # Looked at, so that nobody is told of an exception that was never retrieved.
        for task in done:
            if not task.cancelled():
                task.exception()


def _tasks_of(consumer: Any) -> list["asyncio.Task[Any] | None"]:
    coordinator, fetcher = getattr(consumer, "_coordinator", None), getattr(consumer, "_fetcher", None)
    names = ("_coordination_task", "_heartbeat_task", "_commit_refresh_task", "_reset_committed_task")
    found = [getattr(coordinator, name, None) for name in names]
    return [*found, getattr(fetcher, "_fetch_task", None)]
