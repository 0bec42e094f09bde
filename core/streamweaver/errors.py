"""Every error of StreamWeaver, sorted first by phase, then by what the engine does about it.

Texts are lower-case fragments: where, what was got, what was expected, what to do.
"""

import attrs


class StreamWeaverError(Exception):
    """Root of all errors that StreamWeaver raises on purpose."""


# -- before anything runs: the file, the plugins ------------------------------------------------


@attrs.frozen(order=True)
class Finding:
    """One mistake (or warning) in a pipeline file, with the place to look at.

    `line` and `column` count from 1; 0 means that the mistake has no place of its own (an override given on the
    command line, a file that cannot be read).
    """

    file: str
    line: int
    column: int
    message: str
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {'warning: ' if self.warning else ''}{self.message}"


class ConfigError(StreamWeaverError):
    """A pipeline file is wrong; carries every finding of one pass, in the order of the file."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = sorted(set(findings))
        super().__init__("\n".join(map(str, self.findings)))


class PluginError(StreamWeaverError):
    """A plugin cannot be used: not installed, broken, of the wrong kind, ambiguous, or for another version."""


class PluginNotFoundError(PluginError):
    """No installed distribution offers a plugin of that kind and name."""


class PluginLoadError(PluginError):
    """The plugin's module cannot be imported, or what it names is no plugin of that kind."""


class DuplicatePluginError(PluginError):
    """Two distributions offer the same kind and name; which one is meant cannot be guessed."""


# -- the broker ---------------------------------------------------------------------------------


class BrokerError(StreamWeaverError):
    """The broker cannot do what was asked; the text says what to do. Fatal for the stage that asked."""


class BrokerLockedError(BrokerError):
    """Another running pipeline holds the data folder; the text names its process."""


class TopicMismatchError(BrokerError):
    """A topic exists with other settings than declared, and they cannot be changed in place."""


class UnknownTopicError(BrokerError):
    """A topic is read or written that was never created."""


class StorageError(BrokerError):
    """The disk is full, read-only or failing. Nothing of the unit was stored and nothing was acknowledged."""


class CorruptLogError(BrokerError):
    """Stored bytes are damaged; the text names topic, partition and offset, and how to go on."""


class FormatVersionError(BrokerError):
    """The data was written by another format version that this release neither reads nor migrates."""


class ConflictError(BrokerError):
    """Somebody else has appended where a unit of work expected nobody to; nothing of the unit was stored."""


class LaneLostError(BrokerError):
    """The lane's partitions moved to another worker; its open unit is void and nothing more may be done on it."""


# -- while a pipeline runs ----------------------------------------------------------------------


class RunError(StreamWeaverError):
    """A pipeline stopped because a stage failed for good; the text says which, why, and what to do."""


class BalanceError(RunError):
    """A stage's counts do not balance: a defect of the engine or of a plugin that breaks its contract."""


class CodecError(StreamWeaverError):
    """Bytes cannot be decoded, or a value cannot be encoded; concerns one record."""


class BadRecord(StreamWeaverError):
    """Signal of a plugin: one record of the batch is bad, and `why`.

    `index` counts from 0 within the batch that was handed to the plugin. A sink that raises it has written nothing
    of that batch. The engine applies the stage's `on_error` to that record and goes on with the others.
    """

    def __init__(self, index: int, why: str | BaseException) -> None:
        self.index = index
        self.why = why
        super().__init__(f"record {index} of the batch: {why}")


class Retriable(StreamWeaverError):
    """Signal of a plugin: it did not work now, but may soon (`after` seconds, if known).

    The engine waits (`after`, else exponential back-off with jitter) and repeats the same call, as often as the
    stage's `retry` says; then the record is treated as bad.
    """

    def __init__(self, why: str = "", *, after: float | None = None) -> None:
        self.after = after
        super().__init__(why or "temporarily unavailable")


class Fatal(StreamWeaverError):
    """Signal of a plugin: the stage cannot go on (bad credentials, a missing table).

    As long as the stage has not been up (raised by `open`, or by a producer before its first record) nothing helps but
    a change from outside: the pipeline ends at once, with this text. What has worked before may work again: then the
    restart policy applies. `open` raises Retriable for what may pass by itself.
    """
