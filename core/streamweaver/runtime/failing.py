"""What becomes of a record that a stage cannot process: the stage's `on_error`, in one place."""

import attrs

from streamweaver.errors import BadRecord, RunError
from streamweaver.metrics import Tally
from streamweaver.record import Headers
from streamweaver.runtime.dead_letter import DeadLetter
from streamweaver.runtime.scope import Scope


@attrs.frozen(kw_only=True)
class Original:
    """A record as it came, and where from. `offset` is -1 for one that a producer made."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}] offset {self.offset}" if self.offset >= 0 else "a record produced"


def fail(
    scope: Scope, tally: Tally, step: str, error: BaseException, tries: int, original: Original
) -> list[DeadLetter]:
    """Count a failure, and return its dead letter, or nothing when it is skipped; raises RunError when it stops."""
    if isinstance(error, BadRecord) and isinstance(error.why, BaseException):
        error = error.why
    reason = scope.redact(str(error.why if isinstance(error, BadRecord) else error) or type(error).__name__)
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
