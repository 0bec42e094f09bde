"""What `file_tail` makes of lines: payloads, dead letters, events, ends."""

import os
from pathlib import Path
from typing import Any

import pytest

from streamweaver import Fatal, Record, Rejected
from streamweaver_producers.file_tail import FileTail, Multiline


async def test_payload_and_key(tails: Any, tmp_path: Path) -> None:
    """A line becomes path and line, stamped with the context's time; only the last record has the position."""
    log = tmp_path / "a.log"
    log.write_text("one\ntwo\r\n\n")
    tail = tails(paths=[str(log)])
    await tail.run()
    (items, position), *more = tail.lists
    assert not more
    assert [item.value for item in items] == [{"path": str(log), "line": line} for line in ("one", "two", "")]
    assert items[0].timestamp is not None
    assert position is not None


async def test_growth_and_partial_lines(tails: Any, tmp_path: Path) -> None:
    """A line without an end waits for its end, however long that takes."""
    log = tmp_path / "a.log"
    log.write_text("one\ntw")
    tail = tails(paths=[str(log)])
    assert await tail.run(60) == ["one"]
    with log.open("a") as out:
        out.write("o\nthree\n")
    assert await tail.run() == ["two", "three"]


async def test_waiting_costs_one_look_a_poll(tails: Any, tmp_path: Path) -> None:
    """An idle stage sleeps between its looks, also while no file is there."""
    tail = tails(paths=[str(tmp_path / "none.log")], poll_seconds=0.5)
    started = tail.context.clock.now_ms
    assert await tail.run(30) == []
    assert tail.context.clock.now_ms - started == 30_000


async def test_without_follow(tails: Any, tmp_path: Path) -> None:
    """Without `follow` the last line is taken without its end, the stage ends, and a new run brings what is new."""
    log = tmp_path / "a.log"
    log.write_text("one\ntwo")
    tail = tails(paths=[str(log)], follow=False)
    assert await tail.run() == ["one", "two"]
    assert await tail.run() == []
    with log.open("a") as out:
        out.write("\nthree\n")
    assert await tail.run() == ["", "three"]


async def test_start_at_the_end(tails: Any, tmp_path: Path) -> None:
    """`start: end` passes over whole lines that were there, and only over those."""
    log = tmp_path / "a.log"
    log.write_text("old\nhalf")
    tail = tails(paths=[str(tmp_path / "*.log")], start="end")
    assert await tail.run() == []
    with log.open("a") as out:
        out.write(" new\n")
    (tmp_path / "b.log").write_text("later file\n")
    assert sorted(await tail.run()) == ["half new", "later file"]
    await tail.kill()
    (tmp_path / "c.log").write_text("while down\n")
    assert await tail.run() == ["while down"]


async def test_too_long_lines(tails: Any, tmp_path: Path) -> None:
    """A line over the limit becomes one dead letter with its start, also over many chunks; its neighbours are fine."""
    log = tmp_path / "a.log"
    log.write_bytes(b"before\n" + b"x" * 700_000 + b"\nbetween\n" + b"y" * 11_000 + b"\nafter\n")
    tail = tails(paths=[str(log)], max_line_bytes=10_000)
    await tail.run()
    items = [item for items, _ in tail.lists for item in items]
    assert [type(item) for item in items] == [Record, Rejected, Record, Rejected, Record]
    assert items[1].value == b"x" * 4096
    assert items[1].why == f"{log}: got a line of 700000 bytes, expected at most max_line_bytes = 10000"
    assert "11000 bytes" in items[3].why
    for at in range(len(tail.lists)):
        again = tails(paths=[str(log)], max_line_bytes=10_000)
        again.lists = tail.lists[: at + 1]
        await again.run()
        assert again.lines == tail.lines


async def test_too_long_line_without_an_end(tails: Any, tmp_path: Path) -> None:
    """A line that is too long and never ends is reported when its file is over."""
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * 300_000)
    tail = tails(paths=[str(log)], max_line_bytes=10_000, follow=False)
    assert await tail.run() == [f"!{log}: got a line of 300000 bytes, expected at most max_line_bytes = 10000"]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ("replace", ["good", "b\ufffdd", "fine"]),
        ("ignore", ["good", "bd", "fine"]),
        ("reject", ["good", "!{}: byte 1 of the line is no utf-8; set `encoding`, or `encoding_errors`", "fine"]),
    ],
)
async def test_encoding_errors(tails: Any, tmp_path: Path, errors: str, expected: list[str]) -> None:
    """Bytes that are no text are replaced, left out, or make the line alone a dead letter."""
    log = tmp_path / "a.log"
    log.write_bytes(b"good\nb\xffd\nfine\n")
    tail = tails(paths=[str(log)], encoding_errors=errors)
    assert await tail.run() == [line.format(log) for line in expected]


async def test_other_encodings(tails: Any, tmp_path: Path) -> None:
    """Text is decoded as told; a byte order mark at the start is no part of the first line."""
    (tmp_path / "a.log").write_bytes("größe\n".encode("latin-1"))
    assert await tails(paths=[str(tmp_path / "a.log")], encoding="latin-1").run() == ["größe"]
    (tmp_path / "b.log").write_bytes("größe\n".encode("utf-8-sig"))
    assert await tails(paths=[str(tmp_path / "b.log")]).run() == ["größe"]


async def test_multiline(tails: Any, tmp_path: Path) -> None:
    """Lines that do not match join the one before; the last event is complete when it rests for the timeout."""
    log = tmp_path / "a.log"
    log.write_text("2025 boom\n  at a\r\n  at b\n2025 fine\n2025 again\n  at")
    tail = tails(paths=[str(log)], multiline=Multiline(pattern=r"\d{4} ", timeout_seconds=2))
    assert await tail.run(1) == ["2025 boom\n  at a\n  at b", "2025 fine"]
    await tail.kill()
    with log.open("a") as out:
        out.write(" c\n")
    assert await tail.run(1) == []
    assert await tail.run(3) == ["2025 again\n  at c"]


async def test_multiline_larger_than_a_list(tails: Any, tmp_path: Path) -> None:
    """An event that is too large is cut, never held for ever, and loses no line."""
    log = tmp_path / "a.log"
    lines = ["2025 start", *(f"  at {n}" for n in range(5000)), "2025 end"]
    log.write_text("\n".join(lines) + "\n")
    tail = tails(paths=[str(log)], multiline=Multiline(pattern=r"\d{4} "), max_line_bytes=3000)
    events = await tail.run()
    assert "\n".join(events).split("\n") == lines
    assert max(map(len, events)) <= 3000
    assert events[-1] == "2025 end"


async def test_large_file_in_small_pieces(tails: Any, tmp_path: Path) -> None:
    """A large file comes whole, in lists of bounded size, and any list's position resumes exactly there."""
    log = tmp_path / "a.log"
    lines = [f"{n} {'x' * (n * 7 % 300)}" for n in range(20_000)]
    log.write_text("\n".join(lines) + "\n")
    tail = tails(paths=[str(log)])
    assert await tail.run() == lines
    assert max(len(items) for items, _ in tail.lists) <= 1000
    again = tails(paths=[str(log)])
    again.lists = tail.lists[:9]
    await again.run()
    assert again.lines == lines


async def test_what_is_no_file(tails: Any, tmp_path: Path) -> None:
    """Folders and pipes that match are passed over; the pipe neither blocks nor stops the stage."""
    (tmp_path / "folder.log").mkdir()
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "[a].log").write_text("literal name\n")
    tail = tails(paths=[str(tmp_path / "[a].log"), str(tmp_path / "*.log")])
    assert await tail.run() == ["literal name"]


async def test_links_to_one_file(tails: Any, tmp_path: Path) -> None:
    """A file that several names lead to is read once."""
    (tmp_path / "a.log").write_text("one\n")
    (tmp_path / "b.log").symlink_to(tmp_path / "a.log")
    (tmp_path / "c.log").hardlink_to(tmp_path / "a.log")
    assert await tails(paths=[str(tmp_path / "*.log")]).run() == ["one"]


async def test_gauges(tails: Any, tmp_path: Path) -> None:
    """The stage tells how many files it reads and how many bytes it is behind."""
    (tmp_path / "a.log").write_text("one\nhalf")
    tail = tails(paths=[str(tmp_path / "*.log")])
    await tail.run()
    assert tail.context.gauges == {"files": 1, "bytes_behind": 4}


async def test_unknown_position(tails: Any, tmp_path: Path) -> None:
    """A position of another version is refused, not misread."""
    tail = tails(paths=[str(tmp_path / "a.log")])
    tail.lists = [([], [99, []])]
    with pytest.raises(ValueError, match="got a position of version 99, expected 1"):
        await tail.run()


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("paths", [], "expected at least one file"),
        ("encoding", "utf-16", "line end is one byte"),
        ("encoding", "klingon", "encoding that Python knows"),
    ],
)
def test_bad_options(field: str, value: Any, text: str) -> None:
    """Options that cannot work are refused with what was got and what was expected."""
    with pytest.raises(ValueError, match=text):
        FileTail(**{"paths": ["x"], field: value})


def test_bad_pattern() -> None:
    """A pattern that is no regular expression is refused."""
    with pytest.raises(ValueError, match="expected a regular expression"):
        Multiline(pattern="(")


async def test_what_is_waited_for_is_said_once(tails: Any, tmp_path: Path) -> None:
    """With no file to read there is one line, and the stage says what it waits for until there is a file."""
    log = tmp_path / "late.log"
    tail = tails(paths=[str(log)])
    assert await tail.run(30) == []
    said = [event for _, event, _ in tail.context.logged]
    assert said == ["no file to read yet, waiting for one"]
    assert tail.context.waiting == f"a file at {log}"
    log.write_text("one\n")
    assert await tail.run() == ["one"]
    assert tail.context.waiting is None


async def test_a_glob_that_matches_nothing_is_said_without_follow(tails: Any, tmp_path: Path) -> None:
    """The stage ends, as it would after the last line, but not in silence."""
    tail = tails(paths=[str(tmp_path / "*.log")], follow=False)
    assert await tail.run() == []
    assert [(level, event) for level, event, _ in tail.context.logged] == [("warning", "no file to read")]


@pytest.mark.parametrize(
    ("path", "options", "why"),
    [
        ("", {}, "is a folder; to read the files in it, write "),
        ("file/x.log", {}, "/file is no folder; check `paths`"),
        ("none.log", {"follow": False}, "none.log; check `paths`, or set `follow: true` to wait for it"),
    ],
)
async def test_paths_at_which_nothing_can_come_end_the_pipeline(
    tails: Any, tmp_path: Path, path: str, options: dict[str, Any], why: str
) -> None:
    """They are told at once; a file that may still appear is waited for."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Fatal) as raised:
        await tails(paths=[str(tmp_path / path)], **options).run()
    assert why in str(raised.value)


def test_probe_and_warnings(tmp_path: Path) -> None:
    """Where no file is yet is a warning; a probe reads what is there, and fails where nothing can come."""
    tail = FileTail(paths=[str(tmp_path / "*.log"), str(tmp_path / "x")])
    assert tail.warnings() == [f"no file at {path} yet" for path in tail.paths]
    tail.probe()
    (tmp_path / "a.log").write_text("one\n")
    (tmp_path / "b.log").mkdir()
    assert tail.warnings() == [f"no file at {tmp_path / 'x'} yet"]
    tail.probe()
    with pytest.raises(Fatal, match="is a folder"):
        FileTail(paths=[str(tmp_path)]).probe()
