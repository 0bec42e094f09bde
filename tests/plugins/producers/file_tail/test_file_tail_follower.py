"""Rotation, truncation, copies and restarts, one case at a time."""

import gzip
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from streamweaver_producers.file_tail import follower


def add(path: Path, *lines: str) -> None:
    """Append whole lines; files are written a second apart, as the file system's clock is coarse."""
    with path.open("a") as out:
        out.write("".join(f"{line}\n" for line in lines))
    later(path)


_clock = [1_600_000_000]


def later(path: Path) -> None:
    _clock[0] += 1
    os.utime(path, (_clock[0], _clock[0]))


def copy_truncate(path: Path, to: Path) -> None:
    shutil.copyfile(path, to)
    later(to)
    os.truncate(path, 0)
    later(path)


async def test_rename_finishes_the_old_file_first(tails: Any, tmp_path: Path) -> None:
    """What was written before a rename, and late, comes under the old name; the old file's lines come first."""
    log = tmp_path / "app.log"
    add(log, "one")
    tail = tails(paths=[str(log)])
    await tail.run()
    add(log, "two")
    old = log.rename(tmp_path / "app.log.1")
    add(log, "three")
    assert await tail.run() == ["two", "three"]
    add(old, "late")
    assert await tail.run() == ["late"]
    assert {item.value["path"] for items, _ in tail.lists for item in items} == {str(log)}


async def test_half_a_line_at_rotation(tails: Any, tmp_path: Path) -> None:
    """Half a line in a rotated file is waited for, then taken as it is, before the new file's lines."""
    log = tmp_path / "app.log"
    add(log, "one")
    with log.open("a") as out:
        out.write("half")
    tail = tails(paths=[str(log)])
    await tail.run()
    log.rename(tmp_path / "app.log.1")
    add(log, "new")
    assert await tail.run(2) == []
    assert await tail.run(10) == ["half", "new"]


async def test_copy_truncate_takes_the_rest_from_the_copy(tails: Any, tmp_path: Path) -> None:
    """Lines that were copied away before they were read are read from the copy, before the new ones."""
    log = tmp_path / "app.log"
    add(log, "one")
    tail = tails(paths=[str(log)])
    await tail.run()
    add(log, "two")
    copy_truncate(log, tmp_path / "app.log.1")
    add(log, "three is longer than all before", "four")
    assert await tail.run() == ["two", "three is longer than all before", "four"]


async def test_truncation_without_a_copy(tails: Any, tmp_path: Path) -> None:
    """Half a line that was read before a truncation is not lost, and reading begins anew."""
    log = tmp_path / "app.log"
    add(log, "one")
    with log.open("a") as out:
        out.write("half")
    tail = tails(paths=[str(log)])
    await tail.run()
    log.write_text("new\n")
    assert await tail.run() == ["half", "new"]
    assert [fields for _, event, fields in tail.context.logged if event == "file was truncated"] == [
        {"path": str(log), "at": 4, "copy": None}
    ]


@pytest.mark.parametrize("down", [False, True])
async def test_same_banner_and_longer(tails: Any, tmp_path: Path, down: bool) -> None:
    """A file written anew with the same long banner, and longer, is told by the bytes before the offset."""
    log = tmp_path / "app.log"
    banner = "=" * 300
    add(log, banner, "one")
    tail = tails(paths=[str(log)])
    await tail.run()
    if down:
        await tail.kill()
    log.write_text(f"{banner}\n2nd\nmore\nand more\n")
    assert await tail.run() == [banner, "2nd", "more", "and more"]


async def test_deleted_and_created_again(tails: Any, tmp_path: Path) -> None:
    """A new file with the very same content is a new file."""
    log = tmp_path / "app.log"
    for _ in range(3):
        add(log, "job started")
        tail = tails(paths=[str(log)])
        assert await tail.run() == ["job started"]
        for _ in range(2):
            log.unlink()
            add(log, "job started")
            assert await tail.run() == ["job started"]
            log.unlink()
            assert await tail.run(30) == []
            add(log, "job started")
            assert await tail.run() == ["job started"]
        log.unlink()


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("by_copy", [False, True])
async def test_several_rotations_unseen(tails: Any, tmp_path: Path, down: bool, by_copy: bool) -> None:
    """Generations that came and went between two looks are found under their rotated names, oldest first."""
    log = tmp_path / "app.log"
    add(tmp_path / "app.log.1", "long ago")
    add(log, "one")
    tail = tails(paths=[str(log)])
    await tail.run()
    if down:
        await tail.kill()
    for number in range(2, 6):
        for age in range(9, 0, -1):
            if (old := tmp_path / f"app.log.{age}").exists():
                old.rename(tmp_path / f"app.log.{age + 1}")
        if by_copy:
            copy_truncate(log, tmp_path / "app.log.1")
        else:
            log.rename(tmp_path / "app.log.1")
        add(log, f"generation {number}")
    assert await tail.run() == [f"generation {number}" for number in range(2, 6)]
    await tail.kill()
    assert await tail.run(30) == []


async def test_name_free_for_a_while(tails: Any, tmp_path: Path) -> None:
    """A file that took a free name and lost it again between two looks is read all the same."""
    log = tmp_path / "app.log"
    add(log, "one")
    tail = tails(paths=[str(log)])
    await tail.run()
    log.rename(tmp_path / "app.log.2025-01-01")
    assert await tail.run() == []
    add(log, "two")
    log.rename(tmp_path / "app.log.2025-01-02")
    assert await tail.run() == ["two"]


async def test_rotated_within_the_glob(tails: Any, tmp_path: Path) -> None:
    """Where the glob matches rotated files too, renaming brings nothing twice, however long it runs."""
    log = tmp_path / "app.log"
    tail = tails(paths=[str(tmp_path / "app.log*")])
    expected = []
    for number in range(8):
        add(log, f"line {number}")
        expected.append(f"line {number}")
        await tail.run(15)
        for age in range(5, 0, -1):
            if (old := tmp_path / f"app.log.{age}").exists():
                old.rename(tmp_path / f"app.log.{age + 1}")
        log.rename(tmp_path / "app.log.1")
        await tail.run(15)
        if number % 3 == 2:
            await tail.kill()
    assert tail.lines == expected


async def test_copy_within_the_glob(tails: Any, tmp_path: Path) -> None:
    """A copy that the glob matches, growing before the original is truncated, is not read as a file of its own."""
    log, copy = tmp_path / "app.log", tmp_path / "app.log.1"
    add(log, *(f"line {n}" for n in range(50)))
    tail = tails(paths=[str(tmp_path / "app.log*")])
    assert len(await tail.run()) == 50
    copy.write_bytes(log.read_bytes()[:100])
    assert await tail.run(3) == []
    add(log, "last")
    shutil.copyfile(log, copy)
    assert await tail.run(3) == ["last"]
    os.truncate(log, 0)
    add(log, "new")
    assert await tail.run(30) == ["new"]
    await tail.kill()
    assert await tail.run(30) == []


async def test_file_beside_that_only_begins_alike(tails: Any, tmp_path: Path) -> None:
    """A file of its own that begins as another does is read whole, once it is sure to be no copy."""
    log = tmp_path / "app.log"
    add(log, "same start", "one")
    tail = tails(paths=[str(tmp_path / "app.log*")])
    await tail.run()
    add(tmp_path / "app.log.err", "same start", "two")
    assert await tail.run(30) == ["same start", "two"]


async def test_moves_away_and_back(tails: Any, tmp_path: Path) -> None:
    """A file that gets its name back is followed as before."""
    log = tmp_path / "app.log"
    add(log, "one")
    tail = tails(paths=[str(log)])
    await tail.run()
    aside = log.rename(tmp_path / "aside")
    await tail.run(2)
    aside.rename(log)
    await tail.run(30)
    add(log, "two")
    assert await tail.run() == ["two"]


async def test_gone_while_down(tails: Any, tmp_path: Path) -> None:
    """A file that vanished while the pipeline was down is said to be gone, and a new one is read from its start."""
    log = tmp_path / "app.log"
    add(log, "one")
    tail = tails(paths=[str(log)])
    await tail.run()
    await tail.kill()
    log.unlink()
    add(log, "other and longer")
    assert await tail.run() == ["other and longer"]
    assert ("warning", "file is gone or was truncated", {"path": str(log), "at": 4}) in tail.context.logged


async def test_truncated_and_rotated_while_down(tails: Any, tmp_path: Path) -> None:
    """A file that was written anew and then rotated while the pipeline was down is read whole under its new name."""
    log = tmp_path / "app.log"
    add(log, "one", "two")
    tail = tails(paths=[str(log)])
    await tail.run()
    await tail.kill()
    os.truncate(log, 0)
    add(log, "three")
    log.rename(tmp_path / "app.log.1")
    add(log, "four")
    assert await tail.run() == ["three", "four"]


@pytest.mark.parametrize("function", ["open_source", "_beside"])
async def test_rotated_while_it_is_found_again(
    tails: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """A file renamed between the look at its folder and its opening, in a start, is not read a second time."""
    log = tmp_path / "app.log"
    add(log, "one", "two")
    tail = tails(paths=[str(tmp_path / "*.log")])
    assert await tail.run() == ["one", "two"]
    await tail.kill()
    add(log, "three")
    real = getattr(follower, function)
    rotated = False

    def rotating(path: str) -> Any:
        nonlocal rotated
        found = list(real(path)) if function == "_beside" else None
        if not rotated:
            rotated = True
            log.rename(tmp_path / "app.log-1")
            add(log, "four")
        return real(path) if found is None else found

    monkeypatch.setattr(follower, function, rotating)
    assert await tail.run(20) == ["three", "four"]


async def test_truncated_while_its_handle_was_closed(
    tails: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was closed to save handles is read anew when it was truncated meanwhile."""
    monkeypatch.setattr(follower, "MOST_OPEN", 0)
    log = tmp_path / "app.log"
    add(log, "one", "two")
    tail = tails(paths=[str(log)])
    await tail.run(5)
    os.truncate(log, 0)
    add(log, "three")
    assert await tail.run(5) == ["three"]
    add(log, "four")
    assert await tail.run(5) == ["four"]


async def test_start_at_the_end_with_gzip(tails: Any, tmp_path: Path) -> None:
    """`start: end` passes over compressed files too, also after a restart."""
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(b"old\n"))
    add(tmp_path / "app.log", "old too")
    tail = tails(paths=[str(tmp_path / "app.log*")], start="end", include_gzip=True)
    assert await tail.run(30) == []
    add(tmp_path / "app.log", "new")
    assert await tail.run() == ["new"]
    await tail.kill()
    assert await tail.run(30) == []


async def test_copied_before_it_was_read_within_the_glob(tails: Any, tmp_path: Path) -> None:
    """Half a line that was copied away before anybody read it is known to be over, also where the glob matches it."""
    first, log = tmp_path / "a.log", tmp_path / "b.log"
    add(first, "one")
    log.write_text("")
    later(log)
    tail = tails(paths=[str(tmp_path / "*.log*")])
    await tail.run()
    await tail.kill()
    log.write_text("half")
    later(log)
    copy_truncate(log, tmp_path / "b.log.1")
    assert await tail.run(30) == ["half"]


async def test_position_stays_small(tails: Any, tmp_path: Path) -> None:
    """Files that are gone are forgotten in time, so the position does not grow with the number of rotations."""
    tail = tails(paths=[str(tmp_path / "*.log")])
    for number in range(40):
        path = tmp_path / f"{number}.log"
        add(path, f"line {number}")
        await tail.run(3)
        path.rename(tmp_path / f"{number}.done")
        await tail.run(15)
    assert len(tail.lines) == 40
    assert 40 <= len(tail.position[1]) <= 41
    tail.context.clock.advance(25 * 3600)
    await tail.run(3)
    add(tmp_path / "last.log", "last")
    await tail.run(3)
    assert len(tail.position[1]) == 1


async def test_few_handles(tails: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many files only some are held open; those that are not are read on when they grow or are rotated."""
    monkeypatch.setattr(follower, "MOST_OPEN", 3)
    logs = [tmp_path / f"{n}.log" for n in range(12)]
    for log in logs:
        add(log, f"{log.name} first")
    tail = tails(paths=[str(tmp_path / "*.log")])
    before = len(list(Path("/proc/self/fd").iterdir()))
    await tail.run(5)
    assert len(list(Path("/proc/self/fd").iterdir())) - before <= 3
    for log in logs[::2]:
        add(log, f"{log.name} second")
    for log in logs:
        log.rename(log.with_suffix(".old"))
        add(log, f"{log.name} third")
    lines = await tail.run(30)
    assert sorted(lines) == sorted([f"{log.name} second" for log in logs[::2]] + [f"{log.name} third" for log in logs])


async def test_gzip_of_known_and_unknown_files(tails: Any, tmp_path: Path) -> None:
    """Compressed files are read once; one that holds a file that was read already is not read again."""
    log = tmp_path / "app.log"
    (tmp_path / "app.log.2.gz").write_bytes(gzip.compress(b"old one\n") + gzip.compress(b"old two\n") + b"\0" * 512)
    later(tmp_path / "app.log.2.gz")
    add(log, "one")
    tail = tails(paths=[str(tmp_path / "app.log*")], include_gzip=True)
    assert await tail.run(10) == ["old one", "old two", "one"]
    add(log, "two")
    old = log.rename(tmp_path / "app.log.1")
    add(log, "three")
    assert await tail.run(10) == ["two", "three"]
    whole = gzip.compress(old.read_bytes())
    packed = tmp_path / "app.log.1.gz"
    packed.write_bytes(whole[:15])
    assert await tail.run(2) == []
    packed.write_bytes(whole)
    old.unlink()
    assert await tail.run(60) == []
    await tail.kill()
    assert await tail.run(60) == []


async def test_compressed_while_down(tails: Any, tmp_path: Path) -> None:
    """The unread rest of a file that was rotated and compressed while the pipeline was down comes first."""
    log = tmp_path / "app.log"
    add(log, "one")
    tail = tails(paths=[str(log)], include_gzip=True)
    await tail.run()
    await tail.kill()
    add(log, "two")
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    add(log, "three")
    assert await tail.run() == ["two", "three"]


async def test_damaged_gzip(tails: Any, tmp_path: Path) -> None:
    """A damaged compressed file brings what can be read and one dead letter, and the others go on."""
    data = bytearray(gzip.compress(b"".join(b"line %d\n" % n for n in range(50))))
    data[-8] ^= 255
    (tmp_path / "a.log.gz").write_bytes(data)
    (tmp_path / "b.log.gz").write_bytes(b"this is not gzip")
    add(tmp_path / "c.log", "fine")
    lines = await tails(paths=[str(tmp_path / "*.log*")], include_gzip=True).run(30)
    assert "fine" in lines
    assert lines.count("line 49") <= 1
    assert len([line for line in lines if "damaged gzip file" in line]) == 2


async def test_gzip_is_left_alone_by_default(tails: Any, tmp_path: Path) -> None:
    """Without `include_gzip` a compressed file that matches is passed over."""
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(b"old\n"))
    add(tmp_path / "app.log", "one")
    assert await tails(paths=[str(tmp_path / "app.log*")]).run(30) == ["one"]


@pytest.mark.bench
async def test_speed(tails: Any, tmp_path: Path) -> None:
    """Lines of a large file come at most six times as slowly as from the barest loop that makes the same records."""
    from streamweaver import Record

    log = tmp_path / "a.log"
    log.write_text("".join(f"2025-06-15T12:00:00Z INFO request {n} took 12 ms\n" for n in range(300_000)))
    started = time.process_time()
    with log.open() as lines:
        made = 0
        for line in lines:
            Record({"path": "a.log", "line": line.rstrip("\n")}, None, 0)
            made += 1
    bare = time.process_time() - started
    tail = tails(paths=[str(log)])
    started = time.process_time()
    while await tail.one():
        tail.lists[:-1] = []
        made -= len(tail.lists[-1][0])
    ours = time.process_time() - started
    print(f"file_tail: {ours / 0.3:.2f} us a line, bare loop {bare / 0.3:.2f} us")
    assert made == 0
    assert ours < 6 * bare


@pytest.mark.parametrize("forgotten", [False, True])
async def test_a_copy_may_have_the_number_of_a_deleted_file(tails: Any, tmp_path: Path, forgotten: bool) -> None:
    """Rotated while nobody looked, an older file deleted: its number may be the copy's now, its content is not."""
    log, old = tmp_path / "app.log", tmp_path / "app.log.1"
    add(log, "one")
    tail = tails(paths=[str(log)])
    await tail.run()
    add(log, "two")
    copy_truncate(log, old)
    add(log, "three")
    assert await tail.run() == ["two", "three"]
    if forgotten:  # watched no more for late writes, but its name and number are still known
        assert await tail.run(20) == []
        add(log, "four")
        assert await tail.run() == ["four"]
    await tail.kill()
    number = old.stat().st_ino
    add(log, "five")
    old.unlink()
    copy_truncate(log, old)
    add(log, "six")
    # Whether a file system gives numbers again at once is its own business.
    for mark in tail.position[1]:
        mark[2] = old.stat().st_ino if mark[2] == number else mark[2]
    assert await tail.run() == ["five", "six"]


async def test_a_generation_between_may_have_the_number_of_a_deleted_file(tails: Any, tmp_path: Path) -> None:
    """A file that came and was renamed while nobody looked is read, whatever file had its number before."""
    log, old = tmp_path / "app.log", tmp_path / "app.log.1"
    add(log, "one")
    tail = tails(paths=[str(log)])
    await tail.run()
    log.rename(old)
    add(log, "two")
    assert await tail.run() == ["two"]
    assert await tail.run(20) == []
    add(log, "three")
    assert await tail.run() == ["three"]
    await tail.kill()
    number = old.stat().st_ino
    old.unlink()
    log.rename(tmp_path / "app.log.2")
    add(log, "four")
    log.rename(old)
    add(log, "five")
    for mark in tail.position[1]:
        mark[2] = old.stat().st_ino if mark[2] == number else mark[2]
    assert await tail.run() == ["four", "five"]
