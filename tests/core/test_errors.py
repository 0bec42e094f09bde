"""The text, the family and the values of every error."""

import inspect

import pytest

from streamweaver import errors
from streamweaver.errors import (
    BadRecord,
    BalanceError,
    BrokerError,
    BrokerLockedError,
    CodecError,
    ConfigError,
    ConflictError,
    CorruptLogError,
    DuplicatePluginError,
    Fatal,
    Finding,
    FormatVersionError,
    LaneLostError,
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
    Retriable,
    RunError,
    StorageError,
    StreamWeaverError,
    TopicMismatchError,
    UnknownTopicError,
)

FINDING = Finding("demo.yaml", 3, 7, "rate: got -1, expected 0 or more")

# Each class with an instance, its text, and the class that it directly is a kind of.
TABLE = [
    (StreamWeaverError("why"), "why", Exception),
    (ConfigError([FINDING]), "demo.yaml:3:7: rate: got -1, expected 0 or more", StreamWeaverError),
    (PluginError("why"), "why", StreamWeaverError),
    (PluginNotFoundError("why"), "why", PluginError),
    (PluginLoadError("why"), "why", PluginError),
    (DuplicatePluginError("why"), "why", PluginError),
    (BrokerError("why"), "why", StreamWeaverError),
    (BrokerLockedError("why"), "why", BrokerError),
    (TopicMismatchError("why"), "why", BrokerError),
    (UnknownTopicError("why"), "why", BrokerError),
    (StorageError("why"), "why", BrokerError),
    (CorruptLogError("why"), "why", BrokerError),
    (FormatVersionError("why"), "why", BrokerError),
    (ConflictError("why"), "why", BrokerError),
    (LaneLostError("why"), "why", BrokerError),
    (RunError("why"), "why", StreamWeaverError),
    (BalanceError("why"), "why", RunError),
    (CodecError("why"), "why", StreamWeaverError),
    (BadRecord(3, "price is negative"), "record 3 of the batch: price is negative", StreamWeaverError),
    (Retriable(), "temporarily unavailable", StreamWeaverError),
    (Fatal("why"), "why", StreamWeaverError),
]


@pytest.mark.parametrize(("error", "text", "family"), TABLE, ids=lambda value: type(value).__name__)
def test_text_and_family(error: StreamWeaverError, text: str, family: type[Exception]) -> None:
    """An error says exactly this, and is caught as exactly that."""
    assert str(error) == text
    assert type(error).__bases__ == (family,)


def test_the_table_is_complete() -> None:
    """Every error class of the module stands in the table, once."""
    defined = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, StreamWeaverError)]
    assert sorted(c.__name__ for c in defined) == sorted(type(error).__name__ for error, _, _ in TABLE)


def test_every_error_says_what_it_means() -> None:
    """Each class has a docstring of its own, not one that it inherits."""
    assert [type(error).__name__ for error, _, _ in TABLE if not type(error).__dict__.get("__doc__")] == []


def test_config_error_sorts_its_findings_and_tells_each_once() -> None:
    """Findings come in the order of the file, whatever order they were found in."""
    later, earlier = Finding("a.yaml", 9, 1, "x"), Finding("a.yaml", 2, 5, "y")
    error = ConfigError([later, earlier, later])
    assert error.findings == [earlier, later]
    assert str(error) == "a.yaml:2:5: y\na.yaml:9:1: x"


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Finding("a.yaml", 2, 5, "y"), "a.yaml:2:5: y"),
        (Finding("--set", 0, 0, "y"), "--set: y"),
        (Finding("a.yaml", 2, 5, "y", warning=True), "a.yaml:2:5: warning: y"),
    ],
)
def test_finding_text(finding: Finding, text: str) -> None:
    """A finding starts with its place, when it has one, and says if it is only a warning."""
    assert str(finding) == text


def test_bad_record_keeps_its_cause() -> None:
    """`why` may be the exception that was met; it stays at hand, with the index."""
    cause = ValueError("got 'x', expected a number")
    error = BadRecord(2, cause)
    assert (error.index, error.why) == (2, cause)
    assert str(error) == "record 2 of the batch: got 'x', expected a number"


def test_retriable_carries_the_wait() -> None:
    """`after` is in seconds, and None when nobody knows."""
    assert (str(Retriable("429", after=2.5)), Retriable("429", after=2.5).after) == ("429", 2.5)
    assert Retriable().after is None
