"""What Kafka's clients raise becomes one line that says what to do."""

import asyncio
import ssl

import pytest
from aiokafka import errors

from streamweaver import BrokerError, StorageError, UnknownTopicError
from streamweaver_brokers.kafka.failure import described, lasting, mapped, pause, persevering, retrying, root, text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.TopicAuthorizationFailedError("orders"), "the topic orders; grant"),
        (errors.GroupAuthorizationFailedError("demo.flow"), "the group demo.flow; grant"),
        (errors.AuthenticationFailedError("no"), "username and password"),
        (errors.MessageSizeTooLargeError(), "max.message.bytes"),
        (errors.InvalidTransactionTimeout(), "transaction_seconds"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "check security"),
    ],
)
def test_what_lasts_says_what_to_do(error: BaseException, words: str) -> None:
    """Errors that trying again does not cure are told at once."""
    found = lasting(error)
    assert found is not None
    assert words in str(found)


PASSING = [
    errors.NotLeaderForPartitionError(),
    errors.ProducerFenced(),
    TimeoutError(),
    ConnectionRefusedError(),
    StorageError("no answer"),
]


@pytest.mark.parametrize("error", PASSING)
def test_what_passes_is_no_lasting_error(error: BaseException) -> None:
    """Errors that may pass are met by trying again; when that was in vain, it is a StorageError."""
    assert lasting(error) is None
    assert isinstance(mapped(error, "appending"), StorageError)
    assert str(mapped(error, "appending")).startswith("appending: ")


def test_errors_of_ours_stay_what_they_are() -> None:
    """An unknown topic stays one, whatever was being done."""
    error = UnknownTopicError("no topic")
    assert mapped(error, "appending") is error


def test_a_text_is_one_line() -> None:
    """Class and first line, and words for a time-out."""
    assert text(ValueError("first\nsecond")) == "ValueError: first"
    assert text(TimeoutError()) == "no answer in time"
    assert text(errors.ProducerFenced()).startswith("ProducerFenced: There is a newer producer")


async def test_time_is_bounded() -> None:
    """What takes too long is an error of ours, with what was being done."""
    with pytest.raises(StorageError, match="waiting for nothing: no answer in time"):
        async with described("waiting for nothing", 0.01):
            await asyncio.Event().wait()


async def test_trying_again_ends() -> None:
    """A call is repeated until it succeeds, and no longer than it may."""
    calls = 0

    async def third_time() -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise errors.NotLeaderForPartitionError
        return "done"

    assert await retrying(third_time, "trying", 5.0) == "done"

    async def never() -> None:
        raise errors.NotLeaderForPartitionError

    with pytest.raises(StorageError, match="trying"):
        await retrying(never, "trying", 0.1)

    async def refused() -> None:
        nonlocal calls
        calls += 1
        raise errors.TopicAuthorizationFailedError("orders")

    calls = 0
    with pytest.raises(BrokerError, match="orders"):
        await retrying(refused, "trying", 5.0)
    assert calls == 1


async def test_persevering_ends_only_with_what_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may pass is told and tried again until it has passed; what lasts is raised at once, as an error of ours."""
    monkeypatch.setattr("streamweaver_brokers.kafka.failure.pause", lambda failures: 0.0)
    left: list[BaseException] = list(PASSING)
    told: list[BaseException] = []

    async def passing() -> str:
        if left:
            raise left.pop(0)
        return "done"

    assert await persevering(passing, told.append) == "done"
    assert told == PASSING

    async def lasts(error: BaseException) -> None:
        raise error

    told.clear()
    ours = UnknownTopicError("no topic")
    with pytest.raises(UnknownTopicError) as found:
        await persevering(lambda: lasts(ours), told.append)
    assert found.value is ours
    with pytest.raises(BrokerError, match="the topic orders; grant"):
        await persevering(lambda: lasts(errors.TopicAuthorizationFailedError("orders")), told.append)
    assert not told


def test_pauses_grow_to_a_bound() -> None:
    """Another attempt comes soon after the first failure, and within 5 s after however many."""
    assert all(0.1 <= pause(0) <= 0.2 for _ in range(20))
    assert all(2.5 <= pause(failures) <= 5.0 for failures in (5, 100, 100_000))


def test_one_cause_is_one_kind() -> None:
    """However it was wrapped on its way, and whichever group met it."""
    cause = errors.KafkaConnectionError("refused")
    with pytest.raises(BrokerError) as found:
        raise mapped(cause, "starting a producer of group one") from cause
    assert root(found.value) is root(cause) is cause
