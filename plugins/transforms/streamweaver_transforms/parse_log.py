"""Lines of logs taken apart into fields."""

import re
from collections.abc import Callable
from datetime import tzinfo
from typing import Any

import attrs

from streamweaver import Record, TransformContext, option, transform
from streamweaver_transforms._field import PATH, Field, show
from streamweaver_transforms._log_format import FORMATS, Clock, Fields, Format, Parsed, level_of
from streamweaver_transforms._time import check_format, iso, reader, zone_of
from streamweaver_transforms._type import CONVERTERS, TypeName

_NAMES = (*FORMATS, "regex", "auto")


def _formats(_instance: Any, _attribute: Any, value: str | list[str]) -> None:
    names = [value] if isinstance(value, str) else value
    if not names:
        raise ValueError("got no formats, expected at least one")
    for name in names:
        if name not in _NAMES:
            raise ValueError(f"got format {name!r}, expected one of {', '.join(_NAMES)}")


def _compile(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"pattern {show(text)}: {error}") from None
    if not pattern.groupindex:
        raise ValueError(f"pattern {show(text)}: expected named groups such as (?P<level>\\w+)")
    return pattern


def _pattern(_instance: Any, _attribute: Any, value: str | None) -> None:
    if value is not None:
        _compile(value)


def _patterns(_instance: Any, _attribute: Any, value: list[str]) -> None:
    for text in value:
        _compile(text)


def _known_zone(_instance: Any, _attribute: Any, value: str) -> None:
    zone_of(value)


def _time_format(_instance: Any, _attribute: Any, value: str) -> None:
    check_format(value)


def _types(_instance: Any, _attribute: Any, value: dict[str, str]) -> None:
    for name, kind in value.items():
        if kind not in CONVERTERS:
            raise ValueError(f"{name}: got type {kind!r}, expected one of {', '.join(CONVERTERS)}")


@transform("parse_log", example="{use: parse_log, format: [dpkg, syslog], timezone: Europe/Berlin}")
@attrs.define
class ParseLog:
    """Take log lines apart: web servers, syslog, dpkg, logfmt, JSON, or by patterns of your own.

    The line is the record's value, if that is text, or else its field `field`. A text becomes a mapping of what was
    found; to a mapping the fields are added, over others of the same name, and the line is removed (`keep_line` keeps
    it, in both cases in `field`).

    Several formats are tried in order, `auto` tries all (own patterns first, then json, syslog, dpkg, combined,
    common, logfmt). A line that fits none is a bad record. What the formats have in common has the same names:
    `timestamp` (ISO 8601, UTC, which also becomes the record's own timestamp), `level` (emergency, alert, critical,
    error, warning, notice, info, debug, trace; `WARN` becomes warning; info where the line has none), `program`,
    `message`, `host`, `pid`, `ip`, `user`, `method`, `path`, `protocol`, `status`, `size`, `referrer`, `user_agent`;
    dpkg adds `action`, `state`, `package`, `architecture`, `version`, `old_version`, `command`, `decision`. What a
    line does not have is left out.

    A time without an offset is in `timezone`. A syslog line has no year: it gets the newest one that does not put it
    more than a day ahead of the clock. The time of own patterns (group `timestamp`) is read by `timestamp_format`.

    Own patterns must match the whole line. The built-in ones take time linear in the length of the line; for your
    own, `max_line_bytes` bounds what they can cost.
    """

    format: str | list[str] = option(
        default="auto",
        help="auto, or formats to try in order: json, syslog, dpkg, combined, common, logfmt, regex",
        example=["dpkg", "syslog"],
        validator=_formats,
    )
    pattern: str | None = option(
        default=None,
        help="regular expression with named groups, for the format regex",
        example=r"(?P<level>\w+): (?P<message>.*)",
        validator=_pattern,
    )
    patterns: list[str] = option(
        factory=list,
        help="several regular expressions, tried in order",
        example=[r"(?P<level>\w+): (?P<message>.*)"],
        validator=_patterns,
    )
    field: str = option(
        default="line", help="field with the line, unless the value itself is text", example="line", pattern=PATH
    )
    keep_line: bool = option(default=False, help="keep the line itself, in `field`", example=True)
    types: dict[str, TypeName] = option(
        factory=dict,
        help="type for a parsed field: int, float, bool, text or timestamp",
        example={"duration": "float"},
        validator=_types,
    )
    timestamp_format: str = option(
        default="iso",
        help="how the group `timestamp` of own patterns is written: iso, s, ms, us or a strptime pattern",
        example="%d.%m.%Y %H:%M:%S",
        validator=_time_format,
    )
    timezone: str = option(
        default="UTC", help="time zone of times without an offset", example="Europe/Berlin", validator=_known_zone
    )
    max_line_bytes: int = option(default=65_536, help="longer lines (in UTF-8) are bad records", example=65_536, ge=1)

    _field: Field = attrs.field(init=False, repr=False, eq=False)
    _zone: tzinfo = attrs.field(init=False, repr=False, eq=False)
    _parsers: list[Format] = attrs.field(init=False, repr=False, eq=False)
    _own: list[re.Pattern[str]] = attrs.field(init=False, repr=False, eq=False)
    _read_time: Callable[[Any], int] = attrs.field(init=False, repr=False, eq=False)
    _names: str = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._field = Field(self.field)
        self._own = [_compile(text) for text in ([self.pattern] if self.pattern else []) + self.patterns]
        self._zone = zone_of(self.timezone)
        self._read_time = reader(self.timestamp_format, self._zone)
        names = [self.format] if isinstance(self.format, str) else list(self.format)
        if "auto" in names:
            names = (["regex"] if self._own else []) + list(FORMATS)
        if ("regex" in names) is not bool(self._own):
            got = "no pattern" if not self._own else f"a pattern for {', '.join(names)}"
            raise ValueError(f"got {got}, expected format regex together with pattern or patterns")
        self._names = ", ".join(names)
        self._parsers = [self._by_pattern if name == "regex" else FORMATS[name] for name in names]

    def process_record(self, record: Record, context: TransformContext) -> Record:
        """Put the fields of the line in its place."""
        value = record.value
        line = self._check(value if isinstance(value, str) else self._field.get(value))
        parsed = self._parse(line, Clock(self._zone, context.now()))
        fields = self._finish(parsed)
        if parsed.time is not None:
            record.timestamp = parsed.time
        if isinstance(value, str):
            value = {}
            if self.keep_line:
                self._field.set(value, line)
        elif not self.keep_line:
            self._field.pop(value)
        value |= fields
        record.value = value
        return record

    def _check(self, line: Any) -> str:
        if isinstance(line, str):
            line = line.rstrip("\r\n")
            # A character has four bytes at most, so short lines need not be encoded to be measured.
            size = len(line) if len(line) * 4 <= self.max_line_bytes else len(line.encode(errors="surrogatepass"))
            if size > self.max_line_bytes:
                raise ValueError(f"got a line of {size} bytes, expected at most {self.max_line_bytes} (max_line_bytes)")
            return str(line)
        raise ValueError(f"{self.field}: got {show(line)}, expected a line of text")

    def _parse(self, line: str, clock: Clock) -> Parsed:
        for parse in self._parsers:
            parsed = parse(line, clock)
            if parsed is not None:
                return parsed
        raise ValueError(f"got {show(line, 120)}, expected a line of {self._names}")

    def _finish(self, parsed: Parsed) -> Fields:
        """Return the fields with what every parsed record has, and with the types that were asked for."""
        fields = parsed.fields
        if parsed.time is not None:
            fields = {"timestamp": iso(parsed.time), **fields}
        fields.setdefault("level", "info")
        for name, kind in self.types.items():
            if fields.get(name) is not None:
                try:
                    fields[name] = CONVERTERS[kind](fields[name])
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
        return fields

    def _by_pattern(self, line: str, _clock: Clock) -> Parsed | None:
        for pattern in self._own:
            match = pattern.fullmatch(line)
            if not match:
                continue
            fields: Fields = {name: held for name, held in match.groupdict().items() if held is not None}
            if "level" in fields:
                fields["level"] = level_of(fields["level"])
            if "timestamp" not in fields:
                return Parsed(fields, None)
            try:
                return Parsed(fields, self._read_time(fields.pop("timestamp")))
            except ValueError as error:
                raise ValueError(f"timestamp: {error}") from None
        return None
