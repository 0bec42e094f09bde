"""The formats of log lines.

A format is a function from a line to what it holds, or None when the line is of another format. All of them use the
same names for the same things (level, program, message, host, pid, ip, user, method, path, status, size ...), and
leave out what a line does not have. The patterns take time linear in the line: what follows a repetition is never
part of what it repeats.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, TypeAlias

import attrs
import msgspec

from streamweaver_transforms._time import from_iso, from_number, milliseconds

_decode = msgspec.json.Decoder().decode

Fields: TypeAlias = dict[str, Any]


@attrs.define
class Clock:
    """What a line may leave out: the time zone, and (through the current time, in ms) the year."""

    zone: tzinfo
    now: int


@attrs.define
class Parsed:
    """What a line holds: its fields, and its time in ms if it has one."""

    fields: Fields
    time: int | None


Format: TypeAlias = Callable[[str, Clock], Parsed | None]

_MONTHS = {
    name: i
    for i, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), start=1
    )
}
_MONTH = "(" + "|".join(_MONTHS) + ")"

# Severities of syslog, by number.
_SEVERITIES = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")

_LEVELS = {
    **{level: level for level in (*_SEVERITIES, "trace")},
    **dict.fromkeys(("emerg", "panic"), "emergency"),
    **dict.fromkeys(("crit", "fatal", "f", "c"), "critical"),
    **dict.fromkeys(("err", "severe", "e"), "error"),
    **dict.fromkeys(("warn", "w"), "warning"),
    **dict.fromkeys(("information", "informational", "i"), "info"),
    **dict.fromkeys(("d", "fine"), "debug"),
}


def level_of(text: Any) -> Any:
    """Return a level under its usual name (`WARN` is `warning`); what is no known level stays, in lower case."""
    if not isinstance(text, str):
        return text
    plain = text.strip().lower()
    return _LEVELS.get(plain, plain)


# -- web servers ----------------------------------------------------------------------------------

_QUOTED = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_COMMON = re.compile(
    rf"(\S+) (\S+) ([^\[]+) \[(\d\d)/{_MONTH}/(\d{{4}}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\] "
    rf"{_QUOTED} (\d{{3}}) (\d+|-)"
)
_COMBINED = re.compile(rf"{_COMMON.pattern} {_QUOTED} {_QUOTED}")
_REQUEST = re.compile(r"([A-Z]+) (\S+)(?: (HTTP/\S+))?")


def common(line: str, _clock: Clock) -> Parsed | None:
    """Access lines of web servers; the level follows from the status (5xx error, 4xx warning, else info)."""
    match = _COMMON.fullmatch(line)
    return _access(match) if match else None


def combined(line: str, _clock: Clock) -> Parsed | None:
    """`common` with referrer and user agent."""
    match = _COMBINED.fullmatch(line)
    parsed = _access(match) if match else None
    if match and parsed:
        parsed.fields.update(_without_dashes({"referrer": match[16], "user_agent": match[17]}))
    return parsed


def _access(match: re.Match[str]) -> Parsed | None:
    client, ident, user, day, month, year, hour, minute, second, sign, hours, minutes, request, status, size = (
        match.groups()[:15]
    )
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        moment = datetime(int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second), tzinfo=zone)
    except ValueError:
        return None
    code = int(status)
    fields: Fields = {
        "level": "error" if code >= 500 else "warning" if code >= 400 else "info",
        "ip" if ":" in client or client.replace(".", "").isdigit() else "host": client,
        **_without_dashes({"ident": ident, "user": user}),
        "status": code,
        "size": 0 if size == "-" else int(size),
        "message": request,
    }
    if asked := _REQUEST.fullmatch(request):
        fields |= {"method": asked[1], "path": asked[2]}
        if asked[3]:
            fields["protocol"] = asked[3]
    return Parsed(fields, milliseconds(moment))


def _without_dashes(fields: dict[str, str]) -> Fields:
    return {name: value for name, value in fields.items() if value not in ("-", "")}


# -- syslog ---------------------------------------------------------------------------------------

_TAG = r"(?:([^\s:\[\]]+)(?:\[([^\s\]]*)\])?:(?: |$))?"
_BSD = re.compile(
    rf"(?:<(\d{{1,3}})>)?(?:{_MONTH} ([ \d]\d) (\d\d):(\d\d):(\d\d)|(\d{{4}}-\d\d-\d\dT\S+)) (\S+) {_TAG}(.*)",
    re.DOTALL,
)
_NAME = r"[!#-<>-\\^-~]{1,128}"  # printable ASCII but for space, quote, equals sign and closing bracket
_VALUE = r'"([^"\\\]]*(?:\\.[^"\\\]]*)*)"'
_IETF = re.compile(
    r"<(\d{1,3})>[1-9]\d{0,2} (\S+) (\S+) (\S+) (\S+) (\S+) "
    rf"(-|(?:\[{_NAME}(?: {_NAME}={_VALUE.replace('(', '(?:', 1)})*\])+)(?: (.*))?",
    re.DOTALL,
)
_ELEMENT = re.compile(rf"\[({_NAME})((?: {_NAME}={_VALUE.replace('(', '(?:', 1)})*)\]")
_PARAMETER = re.compile(rf" ({_NAME})={_VALUE}")
_ESCAPED = re.compile(r'\\(["\\\]])')


def syslog(line: str, clock: Clock) -> Parsed | None:
    """RFC 5424, and RFC 3164 with or without its priority, also with an ISO timestamp.

    A line without a year has the newest year that does not put it more than a day ahead of the clock.
    """
    return _rfc5424(line, clock) or _rfc3164(line, clock)


def _rfc3164(line: str, clock: Clock) -> Parsed | None:
    match = _BSD.fullmatch(line)
    if not match:
        return None
    priority, month, day, hour, minute, second, stamp, host, program, pid, message = match.groups()
    try:
        if stamp:
            time = from_iso(stamp, clock.zone)
        else:
            time = _recent(clock, _MONTHS[month], int(day), int(hour), int(minute), int(second))
    except ValueError:
        return None
    severity = _severity(priority)
    if severity is None:
        return None
    fields: Fields = {**severity, "host": host}
    if program:
        fields["program"] = program
    if pid:
        fields["pid"] = int(pid) if pid.isdecimal() else pid
    return Parsed(fields | {"message": message}, time)


def _severity(priority: str | None) -> Fields | None:
    """Return level and facility of a priority; None when there is no such priority."""
    if priority is None:
        return {"level": "info"}
    number = int(priority)
    return {"level": _SEVERITIES[number % 8], "facility": number // 8} if number < 192 else None


def _recent(clock: Clock, month: int, day: int, hour: int, minute: int, second: int) -> int:
    """Return the newest such time that is no more than a day ahead; ValueError when there is none."""
    latest = clock.now + 86_400_000
    year = datetime.fromtimestamp(latest / 1000, clock.zone).year
    for candidate in range(year, year - 10, -1):  # leap days may be eight years apart
        try:
            time = milliseconds(datetime(candidate, month, day, hour, minute, second), clock.zone)
        except ValueError:
            continue
        if time <= latest:
            return time
    raise ValueError(f"got month {month}, day {day}, expected a date")


def _rfc5424(line: str, clock: Clock) -> Parsed | None:
    match = _IETF.fullmatch(line)
    if not match:
        return None
    priority, stamp, host, program, pid, message_id, structured, message = match.groups()
    severity = _severity(priority)
    if severity is None:
        return None
    try:
        time = None if stamp == "-" else from_iso(stamp, clock.zone)
    except ValueError:
        return None
    fields: Fields = severity | _without_dashes({"host": host, "program": program, "message_id": message_id})
    if pid != "-":
        fields["pid"] = int(pid) if pid.isdecimal() else pid
    if structured != "-":
        fields["structured"] = {
            name: {key: _ESCAPED.sub(r"\1", value) for key, value in _PARAMETER.findall(rest)}
            for name, rest in _ELEMENT.findall(structured)
        }
    return Parsed(fields | {"message": (message or "").removeprefix("\ufeff")}, time)


# -- dpkg -----------------------------------------------------------------------------------------

_DPKG = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) "
    r"((status|startup|conffile|install|upgrade|configure|trigproc|remove|purge|disappear) (.+))"
)


def dpkg(line: str, clock: Clock) -> Parsed | None:
    """The log of Debian's package manager; level is info and program dpkg.

    `version` is the version that the action is about: the new one when there are two (`old_version` is the other).
    """
    match = _DPKG.fullmatch(line)
    if not match:
        return None
    stamp, message, action, rest = match.groups()
    details = _dpkg_details(action, rest)
    try:
        time = from_iso(stamp, clock.zone)
    except ValueError:
        return None
    if details is None:
        return None
    fields = {"level": "info", "program": "dpkg", "action": action, **details, "message": message}
    return Parsed(fields, time)


def _dpkg_details(action: str, rest: str) -> Fields | None:
    if action == "startup":
        return {"command": rest}
    if action == "conffile":
        path, _, decision = rest.rpartition(" ")
        return {"path": path, "decision": decision} if path else None
    words = rest.split(" ")
    if len(words) != 3 and not (action == "disappear" and len(words) == 2):
        return None
    fields: Fields = {}
    if action == "status":
        fields["state"] = words.pop(0)
    package, _, architecture = words.pop(0).partition(":")
    fields["package"] = package
    if architecture:
        fields["architecture"] = architecture
    versions = [None if word == "<none>" else word for word in words]
    # install and upgrade name old and new; the others the installed one, and then what there is to name.
    new = versions[-1] if action in ("install", "upgrade") else versions[0]
    old = versions[0] if action in ("install", "upgrade") else None
    return fields | {name: held for name, held in (("version", new), ("old_version", old)) if held}


# -- fields by name -------------------------------------------------------------------------------

_ALIASES = {
    "level": ("level", "lvl", "severity", "loglevel", "levelname"),
    "message": ("message", "msg"),
    "timestamp": ("timestamp", "@timestamp", "time", "ts"),
}

_PAIR = re.compile(r'\s*([^\s="]+)(?:=(?:"([^"\\]*(?:\\.[^"\\]*)*)"(?!\S)|([^\s"]\S*|(?!\S))))?(?!\S)')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def logfmt(line: str, clock: Clock) -> Parsed | None:
    """`key=value key="quoted value" flag`; at least one pair, and nothing else in the line."""
    fields: Fields = {}
    end, pairs = 0, 0
    while end < len(line) and (match := _PAIR.match(line, end)):
        name, quoted, plain = match.groups()
        end = match.end()
        if quoted is None and plain is None:
            fields[name] = True
            continue
        pairs += 1
        fields[name] = plain if quoted is None else _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), quoted)
    return _name_alike(fields, clock) if pairs and not line[end:].strip() else None


def json_object(line: str, clock: Clock) -> Parsed | None:
    """One JSON object a line."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        fields = _decode(line)
    except (ValueError, RecursionError):
        return None
    return _name_alike(fields, clock) if isinstance(fields, dict) else None


def _name_alike(fields: Fields, clock: Clock) -> Parsed:
    """Bring level, message and timestamp under these names, whatever their usual other names are.

    A timestamp that cannot be read as a time stays as it is, under its own name and in its own form.
    """
    for name in ("level", "message"):
        found = next((alias for alias in _ALIASES[name] if fields.get(alias) is not None), None)
        if found is not None:
            value = fields.pop(found)
            fields[name] = level_of(value) if name == "level" else value
    for alias in _ALIASES["timestamp"]:
        time = _time_of(fields.get(alias), clock)
        if time is not None:
            del fields[alias]
            return Parsed(fields, time)
    return Parsed(fields, None)


def _time_of(value: Any, clock: Clock) -> int | None:
    """Read ISO 8601 text or a number since 1970, in seconds or (from the year 1973 on) in milliseconds."""
    try:
        return from_iso(value, clock.zone)
    except ValueError:
        pass
    try:
        if from_number(value, "ms") >= 100_000_000_000:
            return from_number(value, "ms")
        # Small numbers are durations or counters rather than times.
        return from_number(value, "s") if from_number(value, "ms") >= 100_000_000 else None
    except ValueError:
        return None


FORMATS: dict[str, Format] = {
    "json": json_object,
    "syslog": syslog,
    "dpkg": dpkg,
    "combined": combined,
    "common": common,
    "logfmt": logfmt,
}
"""The formats by name, in the order in which `auto` tries them: the strictest first."""
