"""Conditions of alert rules: `lag of prices > 10 s for 30 s`. Pure."""

import operator
import re
from collections.abc import Callable
from typing import Any

import attrs

from streamweaver.config.node import suggest
from streamweaver.config.words import shown
from streamweaver.units import to_seconds

TIMES = ("lag", "latency p50", "latency p90", "latency p99", "processing p50", "processing p90", "processing p99")
"""Measures of a stage that are durations; `lag` is also a number of records, if compared with a plain number."""

COUNTS = ("error rate", "dead letter rate", "in rate", "out rate", "restarts")
"""Measures of a stage that are plain numbers; rates are a second's."""

HEALTH = "health"
STATES = ("ok", "stuck", "failed", "ended", "unknown")

MEASURES = (*TIMES, *COUNTS, HEALTH)

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}

FORM = "expected MEASURE [of STAGE] or FIELD of TOPIC, then > >= < <= == or !=, a value, and perhaps: for TIME"

_CONDITION = re.compile(
    r"\s*(?P<subject>[^\s<>=!]+(?: (?!of\b)\w+){0,2})(?:\s+of\s+(?P<of>\S+))?\s*(?P<operator>>=|<=|==|!=|>|<)\s*"
    r"(?P<value>[^\s]+(?:\s+(?:ms|s|m|h|d))?)(?:\s+for\s+(?P<span>[0-9.]+\s*(?:ms|s|m|h|d)))?\s*"
)


@attrs.frozen(kw_only=True)
class Condition:
    """A comparison that may have to hold for some time."""

    measure: str | None
    """One of MEASURES; None for a field of a topic's records."""
    field: str | None = None
    of: str | None = None
    """The stage (None: each), or the topic of the field."""
    operator: str
    value: float | str
    """Seconds for a duration."""
    is_time: bool = False
    """Whether the value was written as a duration."""
    for_seconds: float = 0.0

    def holds(self, value: Any) -> bool:
        """Whether a value fulfils the comparison; one that cannot be compared does not."""
        try:
            return OPERATORS[self.operator](value, self.value)
        except TypeError:
            return False


def parse_condition(text: str) -> Condition:
    """Read a condition; ValueError says what is wrong with it."""
    found = _CONDITION.fullmatch(text) if len(text) <= 300 else None
    if found is None:
        raise ValueError(f"got {shown(text)}, {FORM}; for example: lag of prices > 10 s for 30 s")
    subject, of, sign = found["subject"], found["of"], found["operator"]
    span = to_seconds(found["span"].replace(" ", "")) if found["span"] else 0.0
    if span is None:
        raise ValueError(f"got the time {shown(found['span'])}, expected one such as 30 s or 5m")
    value, is_time = _value(found["value"])
    if subject in MEASURES:
        _check_measure(subject, sign, value, is_time)
        measure, field = subject, None
    elif of is None:
        near = suggest(subject, MEASURES) or f"; measures are {', '.join(MEASURES)}"
        raise ValueError(f"unknown measure {subject!r}{near}; a field is written as FIELD of TOPIC")
    else:
        if is_time:
            raise ValueError(f"got the time {found['value']} for the field {subject!r}, expected a number or a word")
        if isinstance(value, str) and sign not in ("==", "!="):
            raise ValueError(f"got {sign} with the word {value!r}, expected == or !=, or a number")
        measure, field = None, subject
    return Condition(
        measure=measure, field=field, of=of, operator=sign, value=value, is_time=is_time, for_seconds=float(span)
    )


def _value(text: str) -> tuple[float | str, bool]:
    try:
        return float(text), False
    except ValueError:
        pass
    seconds = to_seconds(re.sub(r"\s+", "", text))
    if seconds is not None:
        return float(seconds), True
    return text.strip("\"'"), False


def _check_measure(measure: str, sign: str, value: float | str, is_time: bool) -> None:
    if measure == HEALTH:
        if value not in STATES or sign not in ("==", "!="):
            raise ValueError(f"health: expected == or != and one of {', '.join(STATES)}")
    elif isinstance(value, str):
        raise ValueError(f"{measure}: got {value!r}, expected {'a time or ' if measure in TIMES else ''}a number")
    elif is_time and measure not in TIMES:
        raise ValueError(f"{measure}: got a time, expected a number")
    elif not is_time and measure in TIMES and measure != "lag":
        raise ValueError(f"{measure}: got a plain number, expected a time such as 500 ms")
