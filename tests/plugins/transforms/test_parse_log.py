"""parse_log: real lines of every format, the names they share, years and zones, lines that fit nothing."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Record
from streamweaver.testing import FakeClock, FakeContext
from streamweaver_transforms._log_format import FORMATS, Clock
from streamweaver_transforms._time import iso
from streamweaver_transforms.parse_log import ParseLog


def at(text: str) -> FakeContext:
    return FakeContext(clock=FakeClock(int(datetime.fromisoformat(text).timestamp() * 1000)))


def parse(line: Any, context: FakeContext | None = None, **options: Any) -> Any:
    return ParseLog(**options).process_record(Record(line), context or FakeContext()).value


DPKG = {
    "2026-11-22 08:07:03 startup archives unpack": {"action": "startup", "command": "archives unpack"},
    "2026-11-22 08:07:03 startup packages configure": {"action": "startup", "command": "packages configure"},
    "2026-11-22 08:07:03 install cmake:amd64 <none> 3.25.1-1": {
        "action": "install",
        "package": "cmake",
        "architecture": "amd64",
        "version": "3.25.1-1",
    },
    "2026-11-22 08:07:03 upgrade libc-bin:amd64 2.36-9+deb12u10 2.36-9+deb12u14": {
        "action": "upgrade",
        "package": "libc-bin",
        "architecture": "amd64",
        "version": "2.36-9+deb12u14",
        "old_version": "2.36-9+deb12u10",
    },
    "2026-11-22 08:07:03 status half-configured cmake-data:all 3.25.1-1": {
        "action": "status",
        "state": "half-configured",
        "package": "cmake-data",
        "architecture": "all",
        "version": "3.25.1-1",
    },
    "2026-11-22 08:07:03 configure cmake-data:all 3.25.1-1 <none>": {
        "action": "configure",
        "package": "cmake-data",
        "architecture": "all",
        "version": "3.25.1-1",
    },
    "2026-11-22 08:07:03 trigproc man-db:amd64 2.11.2-2 <none>": {
        "action": "trigproc",
        "package": "man-db",
        "architecture": "amd64",
        "version": "2.11.2-2",
    },
    "2026-11-22 08:07:03 remove nano 7.2-1 <none>": {"action": "remove", "package": "nano", "version": "7.2-1"},
    "2026-11-22 08:07:03 purge nano:amd64 7.2-1 <none>": {
        "action": "purge",
        "package": "nano",
        "architecture": "amd64",
        "version": "7.2-1",
    },
    "2026-11-22 08:07:03 status not-installed nano:amd64 <none>": {
        "action": "status",
        "state": "not-installed",
        "package": "nano",
        "architecture": "amd64",
    },
    "2026-11-22 08:07:03 conffile /etc/apt/my file.conf keep": {
        "action": "conffile",
        "path": "/etc/apt/my file.conf",
        "decision": "keep",
    },
}


@pytest.mark.parametrize("form", ["dpkg", "auto"])
@pytest.mark.parametrize("line", DPKG)
def test_dpkg(line: str, form: str) -> None:
    """Every kind of line of dpkg's log gives program, level, action and what it is about."""
    record = ParseLog(format=form).process_record(Record(line + "\n"), FakeContext())
    head = {"timestamp": "2026-11-22T08:07:03.000Z", "level": "info", "program": "dpkg", "message": line[20:]}
    assert record.value == head | DPKG[line]
    assert record.timestamp == 1_795_334_823_000


COMMON = '127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
COMBINED = (
    r'2001:db8::1 - - [22/Nov/2026:08:07:03 +0000] "POST /api?q=\"x\" HTTP/1.1" 503 - "-" '
    '"Mozilla/5.0 (X11; Linux x86_64)"'
)


@pytest.mark.parametrize("form", ["common", "auto", ["combined", "common"]])
def test_common(form: Any) -> None:
    """The common log format of web servers."""
    assert parse(COMMON, format=form) == {
        "timestamp": "2000-10-10T20:55:36.000Z",
        "level": "info",
        "ip": "127.0.0.1",
        "user": "frank",
        "status": 200,
        "size": 2326,
        "message": "GET /apache_pb.gif HTTP/1.0",
        "method": "GET",
        "path": "/apache_pb.gif",
        "protocol": "HTTP/1.0",
    }


@pytest.mark.parametrize("form", ["combined", "auto"])
def test_combined(form: str) -> None:
    """The combined format, with escaped quotes, no size, no referrer; a 5xx is an error."""
    assert parse(COMBINED, format=form) == {
        "timestamp": "2026-11-22T08:07:03.000Z",
        "level": "error",
        "ip": "2001:db8::1",
        "status": 503,
        "size": 0,
        "message": r"POST /api?q=\"x\" HTTP/1.1",
        "method": "POST",
        "path": r"/api?q=\"x\"",
        "protocol": "HTTP/1.1",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
    }


def test_access_lines_that_are_odd() -> None:
    """A request that is none, a host in place of an address, a 4xx."""
    got = parse(r'crawler.example.org - - [01/Jan/2026:00:00:00 +0100] "\x16\x03" 400 0', format="common")
    assert got["host"] == "crawler.example.org"
    assert got["level"] == "warning"
    assert got["message"] == r"\x16\x03"
    assert "method" not in got


SYSLOG = {
    "<34>Oct 11 22:14:15 mymachine su[230]: 'su root' failed for lonvick on /dev/pts/8": {
        "timestamp": "2026-10-11T22:14:15.000Z",
        "level": "critical",
        "facility": 4,
        "host": "mymachine",
        "program": "su",
        "pid": 230,
        "message": "'su root' failed for lonvick on /dev/pts/8",
    },
    "Nov  2 08:07:03 web1 systemd[1]: Started Daily apt upgrade.": {
        "timestamp": "2026-11-02T08:07:03.000Z",
        "level": "info",
        "host": "web1",
        "program": "systemd",
        "pid": 1,
        "message": "Started Daily apt upgrade.",
    },
    "2026-11-22T08:07:03.123456+01:00 web1 kernel: [    0.000000] Linux version 6.1": {
        "timestamp": "2026-11-22T07:07:03.123Z",
        "level": "info",
        "host": "web1",
        "program": "kernel",
        "message": "[    0.000000] Linux version 6.1",
    },
    "<13>Feb 29 00:00:00 192.0.2.1 just a message without a tag": {
        "timestamp": "2024-02-29T00:00:00.000Z",
        "level": "notice",
        "facility": 1,
        "host": "192.0.2.1",
        "message": "just a message without a tag",
    },
    '<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" '
    'eventSource="Appli\\"cation\\]" eventID="1011"][x@1] \ufeffAn application event log entry...': {
        "timestamp": "2003-10-11T22:14:15.003Z",
        "level": "notice",
        "facility": 20,
        "host": "mymachine.example.com",
        "program": "evntslog",
        "message_id": "ID47",
        "structured": {
            "exampleSDID@32473": {"iut": "3", "eventSource": 'Appli"cation]', "eventID": "1011"},
            "x@1": {},
        },
        "message": "An application event log entry...",
    },
    "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - BOM'su root' failed": {
        "timestamp": "2003-10-11T22:14:15.003Z",
        "level": "critical",
        "facility": 4,
        "host": "mymachine.example.com",
        "program": "su",
        "message_id": "ID47",
        "message": "BOM'su root' failed",
    },
    "<0>1 - - - 77 - -": {"level": "emergency", "facility": 0, "pid": 77, "message": ""},
}


@pytest.mark.parametrize("form", ["syslog", "auto"])
@pytest.mark.parametrize("line", SYSLOG)
def test_syslog(line: str, form: str) -> None:
    """Both syslog formats, with and without priority, tag, process id, structured data."""
    assert parse(line, at("2026-11-22T08:00:00Z"), format=form) == SYSLOG[line]


@pytest.mark.parametrize(
    ("now", "stamp", "zone", "expected"),
    [
        ("2026-01-01T00:00:05Z", "Dec 31 23:59:58", "UTC", "2025-12-31T23:59:58.000Z"),
        ("2025-12-31T23:59:58Z", "Jan  1 00:00:05", "UTC", "2026-01-01T00:00:05.000Z"),
        ("2026-06-01T00:00:00Z", "Jun  2 00:00:00", "UTC", "2026-06-02T00:00:00.000Z"),
        ("2026-06-01T00:00:00Z", "Jun  2 00:00:01", "UTC", "2025-06-02T00:00:01.000Z"),
        ("2025-12-31T23:30:00Z", "Jan  1 00:30:00", "Europe/Berlin", "2025-12-31T23:30:00.000Z"),
        ("2103-01-01T00:00:00Z", "Feb 29 00:00:00", "UTC", "2096-02-29T00:00:00.000Z"),
    ],
)
def test_the_year_of_a_line_without_one(now: str, stamp: str, zone: str, expected: str) -> None:
    """The newest year that does not put the line more than a day ahead, in its own time zone."""
    assert parse(f"{stamp} host app: x", at(now), format="syslog", timezone=zone)["timestamp"] == expected


@pytest.mark.parametrize("form", ["logfmt", "auto"])
def test_logfmt(form: str) -> None:
    """Pairs, quoted values with escapes, flags, and the usual other names for level, message, time."""
    line = r'ts=2026-11-22T08:07:03Z lvl=WARN msg="slow \"query\"\n" took=1.5s cached empty= path=/a=b'
    assert parse(line, format=form) == {
        "timestamp": "2026-11-22T08:07:03.000Z",
        "level": "warning",
        "message": 'slow "query"\n',
        "took": "1.5s",
        "cached": True,
        "empty": "",
        "path": "/a=b",
    }


@given(
    st.dictionaries(
        st.text("abcxyz_.", min_size=1, max_size=5).filter(lambda key: key not in ("ts", "msg", "lvl")),
        st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=10),
        min_size=1,
        max_size=5,
    )
)
def test_logfmt_round_trip(fields: dict[str, str]) -> None:
    """Whatever is quoted comes back as it was."""
    quoted = {
        key: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for key, value in fields.items()
    }
    line = " ".join(f'{key}="{value}"' for key, value in quoted.items())
    parsed = FORMATS["logfmt"](line, Clock(UTC, 0))
    assert parsed is not None
    assert parsed.fields == fields


@pytest.mark.parametrize("form", ["json", "auto"])
def test_json(form: str) -> None:
    """An object a line; its time may be text or a number, and what is no time stays as it is."""
    line = '{"@timestamp": "2026-11-22T08:07:03+01:00", "severity": "Fatal", "msg": "x", "n": {"a": [1]}}'
    expected = {"timestamp": "2026-11-22T07:07:03.000Z", "level": "critical", "message": "x", "n": {"a": [1]}}
    assert parse(line, format=form) == expected
    assert parse('{"ts": 1795334823.5}', format=form)["timestamp"] == "2026-11-22T08:07:03.500Z"
    assert parse('{"time": 1795334823500}', format=form)["timestamp"] == "2026-11-22T08:07:03.500Z"
    record = ParseLog(format=form).process_record(Record('{"time": 12, "timestamp": "soon"}'), FakeContext())
    assert record.value == {"time": 12, "timestamp": "soon", "level": "info"}
    assert record.timestamp is None


def test_own_patterns() -> None:
    """Patterns with named groups, tried in order, with types and a time format of their own."""
    options: dict[str, Any] = {
        "patterns": [
            r"(?P<timestamp>\S+ \S+) (?P<level>\w+) (?P<took>\d+)ms(?: (?P<note>.*))?",
            r"--- (?P<message>.*)",
        ],
        "timestamp_format": "%d.%m.%Y %H:%M:%S",
        "timezone": "Europe/Berlin",
        "types": {"took": "int"},
    }
    line = "22.11.2026 09:07:03 ERR 15ms"
    expected = {"timestamp": "2026-11-22T08:07:03.000Z", "level": "error", "took": 15}
    assert parse(line, **options) == parse(line, format="regex", **options) == expected
    assert parse("--- start", **options) == {"level": "info", "message": "start"}
    assert parse("a: 1", pattern=r"(?P<k>\w): (?P<v>\d)", types={"v": "int"}) == {"level": "info", "k": "a", "v": 1}
    with pytest.raises(ValueError, match=r'timestamp: got "22.11.2026 at", expected a time like 31.12.2024'):
        parse("22.11.2026 at ERR 15ms", **options)
    with pytest.raises(ValueError, match='v: got "x", expected a whole number'):
        parse("a: x", pattern=r"(?P<k>\w): (?P<v>\w)", types={"v": "int"})


def test_where_the_line_is() -> None:
    """The line is the value or a field of it, and stays only if asked to."""
    line = "2026-11-22 08:07:03 startup archives unpack"
    parsed = parse(line)
    assert parse({"line": line, "file": "dpkg.log", "level": "x"}) == {"file": "dpkg.log"} | parsed
    assert parse({"raw": {"text": line}}, field="raw.text", keep_line=True) == {"raw": {"text": line}} | parsed
    assert parse(line, keep_line=True) == {"line": line} | parsed
    assert parse({"line": '{"line": 5}'}, format="json") == {"line": 5, "level": "info"}


@pytest.mark.parametrize(
    ("value", "options", "text"),
    [
        ("nothing known", {}, 'got "nothing known", expected a line of json, syslog, dpkg, combined, common, logfmt'),
        ("", {}, 'got "", expected a line'),
        ("{broken", {"format": "json"}, "expected a line of json"),
        ("[1]", {"format": "json"}, "expected a line of json"),
        ('{"a": NaN}', {"format": "json"}, "expected a line of json"),
        ("[" * 5000, {"format": "json"}, "expected a line of json"),
        ("a=1 =2", {"format": "logfmt"}, "expected a line of logfmt"),
        ('a="open', {"format": "logfmt"}, "expected a line of logfmt"),
        ("words only", {"format": "logfmt"}, "expected a line of logfmt"),
        ("2026-13-22 08:07:03 startup x", {"format": "dpkg"}, "expected a line of dpkg"),
        ("2026-11-22 08:07:03 explode x", {"format": "dpkg"}, "expected a line of dpkg"),
        ("2026-11-22 08:07:03 status a b", {"format": "dpkg"}, "expected a line of dpkg"),
        (COMMON.replace("10/Oct", "40/Oct"), {"format": "common"}, "expected a line of common"),
        (COMMON, {"format": "combined"}, "expected a line of combined"),
        ("<999>Oct 11 22:14:15 h a: x", {"format": "syslog"}, "expected a line of syslog"),
        ("Oct 41 22:14:15 h a: x", {"format": "syslog"}, "expected a line of syslog"),
        ("<1>1 then h a - - - x", {"format": "syslog"}, "expected a line of syslog"),
        ("ä" * 40_000, {}, "got a line of 80000 bytes, expected at most 65536 (max_line_bytes)"),
        ("12345", {"max_line_bytes": 4}, "got a line of 5 bytes"),
        ({"line": 5}, {}, "line: got 5, expected a line of text"),
        ({"text": "x"}, {}, "line: missing; the value has text"),
        (b"bytes", {}, "expected a mapping"),
        (None, {}, "line: the value is null, expected a mapping"),
    ],
)
def test_bad_lines(value: Any, options: dict[str, Any], text: str) -> None:
    """A line that fits none of the formats is an error that shows it."""
    with pytest.raises(ValueError) as raised:
        parse(value, **options)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"format": "apache"}, "got format 'apache', expected one of json, syslog"),
        ({"format": []}, "got no formats"),
        ({"format": "regex"}, "got no pattern, expected format regex together with pattern"),
        ({"format": "json", "pattern": "(?P<a>.)"}, "got a pattern for json"),
        ({"pattern": "("}, "missing ), unterminated subpattern"),
        ({"patterns": ["a"]}, "expected named groups"),
        ({"timezone": "Nowhere"}, "got time zone 'Nowhere'"),
        ({"timestamp_format": "%H"}, "expected year, month and day"),
        ({"types": {"a": "number"}}, "a: got type 'number'"),
    ],
)
def test_mistakes_in_the_options(options: dict[str, Any], text: str) -> None:
    """Options that cannot work are refused when the plugin is made."""
    with pytest.raises(ValueError) as raised:
        ParseLog(**options)
    assert text in str(raised.value)


@given(st.integers(0, 4_000_000_000), st.sampled_from(["GET", "POST"]), st.integers(100, 599), st.integers(0, 10**9))
def test_common_round_trip(seconds: int, method: str, status: int, size: int) -> None:
    """A line written from its parts gives the same parts."""
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    parsed = FORMATS["common"](f'::1 - - [{stamp}] "{method} / HTTP/2.0" {status} {size}', Clock(UTC, 0))
    assert parsed is not None
    assert parsed.time == seconds * 1000
    assert (parsed.fields["method"], parsed.fields["status"], parsed.fields["size"]) == (method, status, size)


@given(st.integers(0, 363 * 86_400))
def test_syslog_time_round_trip(ago: int) -> None:
    """A line of the last year gets its own time back."""
    now = 1_795_334_823
    stamp = datetime.fromtimestamp(now - ago, UTC).strftime("%b %d %H:%M:%S")
    parsed = FORMATS["syslog"](f"{stamp} h a: x", Clock(UTC, now * 1000))
    assert parsed is not None
    assert parsed.time is not None
    assert iso(parsed.time) == iso((now - ago) * 1000)


@given(st.text(max_size=200))
def test_any_text(line: str) -> None:
    """Any line is parsed or refused with ValueError, and nothing else happens."""
    try:
        value = parse(line)
    except ValueError:
        return
    assert value["level"] is not None


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "filler",
    [
        "a",
        " ",
        "=",
        '"',
        "\\",
        "a ",
        'a="',
        "[",
        "[a",
        '[a b="',
        "]",
        ":",
        "a=b ",
        '\\"',
        "<1>",
        "- ",
        '[a b="c"]',
        "Jan",
    ],
)
@pytest.mark.parametrize("head", ["", "<1>1 - - - - - ", "<1>Oct 11 22:14:15 h ", "1 - - [", COMMON[:47], 'a="'])
def test_time_is_linear(name: str, filler: str, head: str) -> None:
    """No format takes more than a moment for the longest line of a hostile kind."""
    line = (head + filler * (65_536 // len(filler)))[:65_536] + "\x00"
    start = time.perf_counter()
    FORMATS[name](line, Clock(UTC, 0))
    assert time.perf_counter() - start < 1.0
