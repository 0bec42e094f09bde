"""What becomes of a record that a stage cannot process: the stage's `on_error`, in one place."""

import contextlib
from functools import partial
from typing import Any

import attrs
import msgspec

from streamweaver.contracts import Codec
from streamweaver.errors import BadRecord, RunError
from streamweaver.graph.plan import TopicPlan
from streamweaver.metrics import Tally
from streamweaver.record import Headers, Record
from streamweaver.runtime.codec import valid_headers
from streamweaver.runtime.dead_letter import DeadLetter
from streamweaver.runtime.scope import Scope
from streamweaver.text import said


@attrs.frozen(kw_only=True)
class Original:
    """A record as it came, and where from; of one that the stage made the topic it was meant for, and `offset` -1."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def __str__(self) -> str:
        if self.offset < 0:
            return f"a record made for {self.topic}"
        return f"{self.topic}[{self.partition}] offset {self.offset}"


def made_here(record: Record, topic: TopicPlan, now: int) -> Original:
    """Return what a dead letter keeps of a record that the stage itself made for a topic.

    It may be the key, the time, the headers or the value that makes it a bad one; the dead letter must be storable.
    """
    key = record.key
    return Original(
        topic=topic.name,
        partition=0,
        offset=-1,
        timestamp=record.timestamp if type(record.timestamp) is int else now,
        key=key if key is None or isinstance(key, bytes) else str(key).encode(errors="backslashreplace"),
        value=_as_bytes(record.value, topic.codec),
        headers=record.headers if valid_headers(record.headers) else (),
    )


def _as_bytes(value: Any, codec: Codec) -> bytes | None:
    """Encode a value as well as can be."""
    if value is None:
        return None
    for encode in (codec.encode, partial(msgspec.json.encode, enc_hook=repr)):
        with contextlib.suppress(Exception):
            return encode(value)
    return repr(value).encode(errors="backslashreplace")


def fail(
    scope: Scope, tally: Tally, step: str, error: BaseException, tries: int, original: Original
) -> list[DeadLetter]:
    """Count a failure, and return its dead letter, or nothing when it is skipped; raises RunError when it stops."""
    if isinstance(error, BadRecord) and isinstance(error.why, BaseException):
        error = error.why
    reason = scope.redact((isinstance(error, BadRecord) and str(error.why)) or said(error))
    scope.metrics.errors += 1
    if scope.stage.on_error == "stop":
        raise RunError(f"{step} failed on {original}: {reason}; on_error is stop")
    if scope.stage.on_error == "skip":
        tally.skipped += 1
        scope.log("warning", "record skipped", stage=scope.stage.name, at=str(original), step=step, reason=reason)
        return []
    tally.dead_lettered += 1
    return [
        DeadLetter(
            stage=scope.stage.name,
            step=step,
            error=type(error).__name__,
            reason=reason,
            tries=tries,
            failed_at=scope.clock.now(),
            topic=original.topic,
            partition=original.partition,
            offset=original.offset,
            timestamp=original.timestamp,
            key=original.key,
            value=original.value,
            headers=original.headers,
        )
    ]
