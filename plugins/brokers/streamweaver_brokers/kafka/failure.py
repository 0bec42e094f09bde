"""What goes wrong between us and Kafka, in the errors of StreamWeaver: the one place that reads its error classes."""

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiokafka import TopicPartition, errors

from streamweaver import BrokerError, StorageError, UnknownTopicError

T = TypeVar("T")

LASTING: dict[type[errors.KafkaError], str] = {
    errors.TopicAuthorizationFailedError: "this user may not use the topic {0}; grant it READ, WRITE and DESCRIBE",
    errors.GroupAuthorizationFailedError: "this user may not use the group {0}; grant it READ",
    errors.ClusterAuthorizationFailedError: "this user may not create topics; grant it CREATE on the cluster",
    errors.TransactionalIdAuthorizationFailed: "this user may not use the transactional id {0}; grant it WRITE",
    errors.AuthenticationFailedError: "the broker refuses username and password; check them, and the mechanism",
    errors.SaslAuthenticationFailed: "the broker refuses username and password; check them, and the mechanism",
    errors.UnsupportedSaslMechanismError: "the broker does not offer this SASL mechanism",
    errors.AuthenticationMethodNotSupported: "the broker does not offer this SASL mechanism",
    errors.MessageSizeTooLargeError: "a batch is larger than the topic's max.message.bytes; lower max_batch_bytes",
    errors.RecordListTooLargeError: "a batch is larger than the topic's segments; lower max_batch_bytes",
    errors.InvalidTransactionTimeout: "the broker allows only shorter transactions; lower transaction_seconds",
    errors.InvalidSessionTimeoutError: "the broker does not allow this session_seconds (by default: 6 s to 30 m)",
    errors.InvalidReplicationFactorError: "there are fewer brokers than replicas are asked for",
    errors.UnsupportedVersionError: "the broker is too old; Kafka 2.1 is the oldest",
    errors.IncompatibleBrokerVersion: "the broker is too old; Kafka 2.1 is the oldest",
    errors.PolicyViolationError: "a policy of the cluster forbids it",
}
"""Errors that trying again does not cure, with what to do. Everything else may pass."""


def lasting(error: BaseException) -> BrokerError | None:
    """Return our error for one that trying again does not cure; None for one that may pass."""
    if isinstance(error, BrokerError):
        return None if isinstance(error, StorageError) else error
    if isinstance(error, ssl.SSLError):
        return BrokerError(f"no trusted connection: {_tls(error)}")
    for kind, text in LASTING.items():
        if isinstance(error, kind):
            detail = str(error.args[0]) if error.args else "named by the broker's log"
            return BrokerError(text.format(detail))
    return None


def _tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate fails: {error.verify_message.lower()}; check ca_file and the server's name"
    reason = getattr(error, "reason", None) or str(error)
    return f"{reason.lower().replace('_', ' ')}; check security and the port"


def text(error: BaseException) -> str:
    """Return an error in few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    detail = str(error).partition("\n")[0].rstrip(".")
    name = type(error).__name__
    return detail if detail.startswith(name) else f"{name}: {detail}" if detail else name


def root(error: BaseException) -> BaseException:
    """Return what an error goes back to."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def named(part: TopicPartition) -> str:
    """Return a partition as texts name it."""
    return f"{part.topic}[{part.partition}]"


def mapped(error: BaseException, doing: str) -> BrokerError:
    """Return our error for any of Kafka's, with what was being done."""
    found = lasting(error)
    if isinstance(found, UnknownTopicError):
        return found
    if found is not None:
        return type(found)(f"{doing}: {found}")
    return StorageError(f"{doing}: {text(error)}; is the broker reachable and well?")


FENCED = (errors.ProducerFenced, errors.IllegalOperation, AssertionError)
"""What a producer raises that a newer one has fenced: the last two when it notices while it is being used."""

FAILURES = (errors.KafkaError, errors.IllegalOperation, OSError, TimeoutError, AssertionError, RuntimeError)
"""What clients raise when something fails."""


@asynccontextmanager
async def described(doing: str, seconds: float | None = None) -> AsyncIterator[None]:
    """Turn failures inside into our errors, and bound the time that it may take."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except BrokerError:
        raise
    except FAILURES as error:
        raise mapped(error, doing) from error


async def retrying(call: Callable[[], Awaitable[T]], doing: str, seconds: float) -> T:
    """Call until it succeeds; errors that may pass are tried again for so many seconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    wait = 0.05
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                return await call()
        except FAILURES as error:
            if lasting(error) is not None or loop.time() + wait > deadline:
                raise mapped(error, doing) from error
        await asyncio.sleep(wait)
        wait = min(1.0, wait * 2)


async def persevering(call: Callable[[], Awaitable[T]], tell: Callable[[BaseException], None]) -> T:
    """Call until it succeeds, however long that takes; `tell` hears why it fails. What lasts is raised as our error."""
    failures = 0
    while True:
        try:
            return await call()
        except (*FAILURES, BrokerError) as error:
            known = lasting(error)
            if known is error:
                raise
            if known is not None:
                raise known from error
            tell(error)
        await asyncio.sleep(pause(failures))
        failures += 1


def pause(failures: int) -> float:
    """Return the seconds to wait before another attempt, after so many that failed before the last one."""
    return min(5.0, 0.2 * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)
