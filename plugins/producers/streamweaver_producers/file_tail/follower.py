"""Which files are read, and in what order: discovery, rotation, truncation, and recognising them after a restart."""

import glob
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import attrs

from streamweaver_producers.file_tail.source import Inode, Source, inode_of, open_source
from streamweaver_producers.file_tail.tailed import MARK_BYTES, Line, LineRules, Mark, Tailed, Truncated, Unfit

POSITION_VERSION = 1
SCAN_MS = 1000
QUIET_MS = 5_000
"""How long nothing must have happened to a file before its last words, or its being no copy, are believed."""
FORGET_MS = 10_000
"""How long a file that has left its name, and is read to its end, is watched for late writes."""
GONE_MS = 24 * 3600 * 1000
MOST_GONE = 200
MOST_OPEN = 256

ROTATED = re.compile(r"[.\-_]\d[\dTZ.:_\-]*(\.gz)?")
"""What rotation puts behind a name: a number or a date."""


_Found: TypeAlias = tuple[str, Source, Inode, bytes, bytes]
"""A marked file: where it is, opened, its inode, its head and the bytes before the offset."""


@attrs.frozen(kw_only=True)
class Scope:
    """Which files, and how far."""

    paths: Sequence[str]
    start: Literal["beginning", "end"]
    follow: bool
    include_gzip: bool
    rules: LineRules
    event_timeout_ms: int
    log: Callable[..., None]


@attrs.define(eq=False)
class Follower:
    """All files of one stage. Does no waiting: the caller polls, and says what time it is."""

    scope: Scope
    files: list[Tailed] = attrs.field(factory=list)
    _gone: list[Mark] = attrs.field(factory=list)
    _scanned_ms: int = -(10**15)
    _first: bool = True
    _suspects: dict[Inode, tuple[int, int]] = attrs.field(factory=dict)
    """Files that may be copies in the making: their size, and since when it stands."""
    _complained: set[str] = attrs.field(factory=set)

    # -- what the producer calls --------------------------------------------------------------------

    def resume(self, position: Any, now: int) -> None:
        """Find the files of an earlier run again, wherever they went, and what came between."""
        if position is None:
            return
        version, stored = position
        if version != POSITION_VERSION:
            raise ValueError(f"file_tail: got a position of version {version}, expected {POSITION_VERSION}")
        self._first = False
        marks = [Mark(*fields) for fields in stored]
        # First those that are themselves: the number of one that was deleted may be that of a copy of another by now.
        themselves: dict[int, _Found] = {}
        known: set[Inode] = set()
        for number, mark in sorted(enumerate(marks), key=lambda each: -each[1].head_length):
            if (there := self._itself(mark)) is not None:
                if there[2] in known:
                    there[1].close()
                    continue
                known.add(there[2])
                themselves[number] = there
        for number, mark in enumerate(marks):
            found = themselves.get(number) or self._copy(mark, known)
            if found is None:
                self._lose(mark, now)
                continue
            place, source, inode, head, tail = found
            file = self._add(mark.path, place, source, inode, now)
            file.stand(mark.offset, head, tail)
            file.modified_ns = mark.modified_ns
            file.left_path = inode != inode_of(mark.path)
        for mark in {m.path: m for m in marks}.values():
            newest = self._newest(mark.path)
            if newest is None or newest.inode != inode_of(mark.path):
                itself = newest is not None and newest.inode == (mark.device, mark.inode)
                after_ns = _written_ns(newest) if newest is not None and itself else mark.modified_ns
                self._adopt_between(mark.path, now, after_ns=after_ns)
                self._adopt(mark.path, now)

    def scan(self, now: int) -> bool:
        """Look for new, renamed and removed files; False when it is too soon to look again."""
        if not all(f.intact() for f in self.files):
            # `step` sees to truncations, and to the copies that belong to them, before anything else is taken for new.
            return False
        moved = [f for f in self.files if not f.left_path and inode_of(f.path) != f.inode]
        # `log` before `log.1`, so that what was `log` in between is known as such.
        moved.sort(key=lambda f: len(f.path))
        for file in moved:
            file.left_path, file.seen_ms, file.grew_ms, file.at_end = True, now, now, False
        if not moved and now - self._scanned_ms < SCAN_MS:
            return False
        self._scanned_ms = now
        for file in moved:
            self._adopt_between(file.path, now, after_ns=_written_ns(file))
            self._adopt(file.path, now)
        for file in [f for f in self.files if f.left_path and f not in moved]:
            if inode_of(file.path) is None and file is self._newest(file.path):
                # Its name was free; a file that had it since may be rotated away already.
                self._adopt_between(file.path, now, after_ns=_written_ns(file))
        for file in self.files[:]:
            self._missed_generation(file, now)
        by_inode = {f.inode: f for f in self.files}
        for path in self._listed():
            inode = inode_of(path)
            if inode is None:
                continue
            known = by_inode.get(inode)
            if known is None:
                newest = self._newest(path)
                if newest is not None and newest.left_path:
                    # Its name was free when it was last looked at; files may have had it and gone since.
                    self._adopt_between(path, now, after_ns=_written_ns(newest))
                self._adopt(path, now)
            else:
                known.seen_ms, known.place = now, path
                known.left_path = known.left_path and path != known.path
        self._forget(now)
        self._first = False
        return True

    def step(self, file: Tailed, now: int) -> tuple[list[Line], bool]:
        """Return lines of one file, as many as make a list, and whether there was anything to do."""
        if file.after is not None and not file.after.drained:
            return [], False
        if lines := file.take():
            return lines, True
        if file.damaged or not self._ready(file):
            return [], False
        if self._missed_generation(file, now):
            return [], True
        try:
            if file.fill():
                file.at_end, file.grew_ms = False, now
                return file.take(), True
        except Truncated:
            return self._truncated(file, now), True
        except zlib.error as error:
            file.damaged = file.at_end = True
            return [
                *file.take(file_over=True),
                Unfit(b"", f"damaged gzip file after {file.offset} bytes: {error}"),
            ], True
        newly, file.at_end = not file.at_end, True
        if not file.pending:
            return [], newly
        quiet_ms = now - file.grew_ms
        over = not self.scope.follow or (file.left_path and quiet_ms >= QUIET_MS)
        lines = file.take(file_over=over, event_over=quiet_ms >= self.scope.event_timeout_ms)
        return lines, newly or bool(lines)

    def position(self) -> list[Any]:
        """Return where everything stands, for MessagePack. Shares the parts that have not changed."""
        return [POSITION_VERSION, [m.fields() for m in self._gone] + [f.mark() for f in self.files]]

    def bytes_behind(self) -> int:
        """Return how much of the open plain files is not handed out yet."""
        sources = ((f.source, f.offset) for f in self.files)
        return sum(max(0, s.stat().st_size - offset) for s, offset in sources if s is not None and not s.steady)

    def close(self) -> None:
        """Close every file."""
        for file in self.files:
            file.close()

    # -- finding ------------------------------------------------------------------------------------

    def _listed(self) -> list[str]:
        found = {path for pattern in self.scope.paths for path in matches(pattern)}
        # The oldest first: so the lines of files rotated long ago come before those of today.
        return sorted(found, key=lambda path: (_modified_ns(path), path))

    def _open(self, path: str) -> tuple[Source, Inode] | None:
        try:
            return open_source(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if path not in self._complained:
                self._complained.add(path)
                self.scope.log("file cannot be read", level="warning", path=path, why=str(error))
            return None

    def _add(
        self, path: str, place: str, source: Source, inode: Inode, now: int, before: Tailed | None = None
    ) -> Tailed:
        """Put a file among the others: as the newest generation of its name, or as the one before another."""
        file = Tailed(path=path, place=place, inode=inode, rules=self.scope.rules, source=source, seen_ms=now)
        file.grew_ms = now
        if not self.scope.follow and not source.steady:
            file.ends_at = source.stat().st_size
        file.note_time()
        at = len(self.files) if before is None else self.files.index(before)
        file.after = next((f for f in reversed(self.files[:at]) if f.path == path), None)
        self.files.insert(at, file)
        if before is not None:
            before.after = file
        return file

    def _adopt(self, path: str, now: int, publish: str | None = None, before: Tailed | None = None) -> Tailed | None:
        """Begin with a file that is not known yet, or known from long ago, or is a copy of a known one."""
        if path.endswith(".gz") and not self.scope.include_gzip:
            return None
        opened = self._open(path)
        if opened is None:
            return None
        source, inode = opened
        if any(f.inode == inode for f in self.files):
            source.close()
            return None
        at_end = self._first and self.scope.start == "end"
        verdict = self._known(path, source, inode, now, settled=publish is not None or at_end)
        if verdict == "wait":
            source.close()
            return None
        file = self._add(publish or path, path, source, inode, now, before)
        self._suspects.pop(inode, None)
        if verdict is not None:
            mark, head, tail = verdict
            file.stand(mark.offset, head, tail)
            self._gone = [m for m in self._gone if m != mark]
        elif at_end:
            self._stand_at_end(file)
        file.left_path = inode != inode_of(file.path)
        return file

    def _newest(self, path: str) -> Tailed | None:
        return next((f for f in reversed(self.files) if f.path == path), None)

    def _known(
        self, path: str, source: Source, inode: Inode, now: int, *, settled: bool
    ) -> tuple[Mark, bytes, bytes] | Literal["wait"] | None:
        """Tell whether a new file is one of the known ones come back, or a copy of one made by rotation."""
        for mark in self._gone:
            if (mark.device, mark.inode) == inode and (fits := mark.fits(source)):
                return mark, *fits
        kin = [m for m in self._marks() if m.head_length and _is_rotation_of(path, m.path)]
        if not kin:
            return None
        if not source.steady:
            start = source.read(0, MARK_BYTES)
            heads = [f.head for f in self.files if f.head and _is_rotation_of(path, f.path)]
            if not any(head.startswith(start) or start.startswith(head) for head in heads):
                return None
        # It looks like a copy, or a compressed file: wait until it is whole.
        size = source.stat().st_size
        stood, since = self._suspects.get(inode, (-1, now))
        if stood != size:
            self._suspects[inode] = (size, now)
            since = now
        if self.scope.follow and not settled and now - since < QUIET_MS:
            return "wait"
        return next(((m, *fits) for m in kin if (fits := m.fits(source))), None)

    def _marks(self) -> list[Mark]:
        return [*self._gone, *(Mark(*f.mark()) for f in self.files)]

    def _stand_at_end(self, file: Tailed) -> None:
        """Stand behind the last whole line."""
        assert file.source is not None
        size = file.source.end()
        base = max(0, size - self.scope.rules.max_line_bytes)
        end = file.source.read(base, size - base).rfind(b"\n") + 1
        offset = base + end if end else size
        length = min(MARK_BYTES, offset)
        file.stand(offset, file.source.read(0, length), file.source.read(offset - length, length))

    def _find(self, mark: Mark, known: set[Inode]) -> _Found | None:
        """Find a marked file, or a copy of it among the files that are not known."""
        return self._itself(mark) or self._copy(mark, known)

    def _itself(self, mark: Mark) -> _Found | None:
        """Find a marked file under its name, or by its inode beside it."""
        wanted = (mark.device, mark.inode)
        seen: list[tuple[str, Inode]] | None = None
        beside = list(_beside(mark.path))
        # What is renamed between the look and the opening is not where it was seen: look again until nothing moves.
        while beside != seen:
            for path, inode in [(mark.path, inode_of(mark.path)), *beside]:
                if inode == wanted and (found := self._fitting(path, mark)):
                    return found
            seen, beside = beside, list(_beside(mark.path))
        return None

    def _copy(self, mark: Mark, known: set[Inode]) -> _Found | None:
        """Find a copy of a marked file's content beside it."""
        for path, inode in _beside(mark.path):
            if mark.head_length and inode not in known and _is_rotation_of(path, mark.path):
                if path.endswith(".gz") and not self.scope.include_gzip:
                    continue
                if found := self._fitting(path, mark):
                    known.add(inode)
                    return found
        return None

    def _fitting(self, path: str, mark: Mark) -> _Found | None:
        opened = self._open(path)
        if opened is None:
            return None
        fits = mark.fits(opened[0])
        if fits is None:
            opened[0].close()
            return None
        return path, *opened, *fits

    def _adopt_between(self, path: str, now: int, *, after_ns: int, before: Tailed | None = None) -> bool:
        """Read files that had the name `path` for a while, between two looks at it, and were rotated away already."""
        known = {f.inode for f in self.files}
        between = [
            (_modified_ns(place), place)
            for place, inode in _beside(path)
            if inode not in known and place.startswith(path) and ROTATED.fullmatch(place[len(path) :])
            if not self._was_seen(place, inode)
        ]
        before_ns = 1 << 63 if before is None else _written_ns(before)
        between = [(modified, place) for modified, place in between if after_ns <= modified <= before_ns]
        return [self._adopt(place, now, publish=path, before=before) for _, place in sorted(between)] != []

    def _was_seen(self, place: str, inode: Inode) -> bool:
        """Tell whether a file is one that was lost sight of, and not another that has its number now."""
        marks = [mark for mark in self._gone if (mark.device, mark.inode) == inode]
        if not marks or (opened := self._open(place)) is None:
            return False
        try:
            return any(mark.fits(opened[0]) for mark in marks)
        finally:
            opened[0].close()

    # -- changes ------------------------------------------------------------------------------------

    def _ready(self, file: Tailed) -> bool:
        """Open a file again that was closed to save handles, if there is something new in it."""
        if file.source is not None:
            return True
        unread = file.pending or _modified_ns(file.place) != file.modified_ns
        if not unread and inode_of(file.place) == file.inode:
            return False
        if inode_of(file.place) == file.inode and (opened := self._open(file.place)):
            if opened[1] == file.inode:
                file.source = opened[0]
                return True
            opened[0].close()
        mark = Mark(*file.mark())
        found = self._find(mark, {f.inode for f in self.files})
        if found is None:
            file.at_end = file.left_path = True
            return False
        file.place, file.source, file.inode, head, tail = found
        file.stand(file.offset, head, tail)
        return True

    def _missed_generation(self, file: Tailed, now: int) -> bool:
        """Look whether an empty file was filled, copied and truncated meanwhile, which its bytes cannot show."""
        if file.read_at or file.source is None or file.source.stat().st_mtime_ns == file.modified_ns:
            return False
        since, file.modified_ns = file.modified_ns, _written_ns(file)
        return self._adopt_between(file.path, now, after_ns=since, before=file)

    def _truncated(self, file: Tailed, now: int) -> list[Line]:
        """Begin anew with a file that was cut; first read what is left of its old content in a copy."""
        mark = Mark(*file.mark())
        lines: list[Line] = []
        copy = self._find(mark, {f.inode for f in self.files}) if mark.head_length else None
        if copy is None:
            lines = file.take(file_over=True)
        else:
            place, source, inode, head, tail = copy
            rest = self._add(file.path, place, source, inode, now, before=file)
            rest.stand(mark.offset, head, tail)
            rest.left_path = True
        self._adopt_between(file.path, now, after_ns=mark.modified_ns, before=file)
        self.scope.log("file was truncated", path=file.path, at=mark.offset, copy=copy[0] if copy else None)
        file.stand(0)
        file.grew_ms = now
        return lines

    def _lose(self, mark: Mark, now: int) -> None:
        """Remember a file that is not to be found, for a while: it may be on a disk that is not there now."""
        if not mark.gone_ms:
            self.scope.log("file is gone or was truncated", level="warning", path=mark.path, at=mark.offset)
            # What has its number now is another file, to be read as such.
            taken = any(inode == (mark.device, mark.inode) for _, inode in _beside(mark.path))
            mark = attrs.evolve(mark, gone_ms=now, inode=0 if taken else mark.inode)
        self._gone.append(mark)

    def _forget(self, now: int) -> None:
        self._suspects = {i: (size, since) for i, (size, since) in self._suspects.items() if now - since < GONE_MS}
        for file in self.files[:]:
            idle = now - max(file.grew_ms, file.seen_ms)
            if file.left_path and file.drained and idle >= FORGET_MS:
                mark = Mark(*file.mark())
                # A deleted file's number may be given to another at any time; only a copy can be told by the rest.
                deleted = file.source is not None and file.source.stat().st_nlink == 0
                file.close()
                self.files.remove(file)
                if not deleted or self.scope.include_gzip:
                    self._gone.append(attrs.evolve(mark, gone_ms=now, inode=0 if deleted else mark.inode))
        self._gone = [m for m in self._gone if now - m.gone_ms < GONE_MS][-MOST_GONE:]
        still = [f for f in self.files if f.source is not None]
        if len(still) > MOST_OPEN:
            still.sort(key=lambda f: f.grew_ms)
            for file in still[: len(still) - MOST_OPEN]:
                if file.drained:
                    file.close()


def matches(pattern: str) -> list[str]:
    """Return what a path or glob stands for at the moment."""
    # A name with brackets in it may be meant as it stands.
    return [pattern] if os.path.lexists(pattern) else glob.glob(pattern, recursive=True)  # noqa: PTH207


def _modified_ns(path: str) -> int:
    """Return when a file was last written to; 0 if it is not there."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - called for every file at every scan
    except OSError:
        return 0


def _written_ns(file: Tailed) -> int:
    """Return when a file, wherever it is, was last written to."""
    return file.source.stat().st_mtime_ns if file.source is not None else file.modified_ns


def _is_rotation_of(path: str, name: str) -> bool:
    """Tell whether rotation may have made `path` out of `name`: it stands beside it, its name with something added."""
    return path.startswith(name) and path != name and os.path.dirname(path) == os.path.dirname(name)  # noqa: PTH120


def _beside(path: str) -> Iterator[tuple[str, Inode]]:
    """Return the files in the folder of `path`, and in the folder of what it links to, with their identities."""
    folders = dict.fromkeys((os.path.dirname(path), os.path.dirname(os.path.realpath(path))))  # noqa: PTH120
    for folder in folders:
        try:
            names = sorted(os.listdir(folder or "."))  # noqa: PTH208
        except OSError:
            continue
        for name in names:
            place = os.path.join(folder, name)  # noqa: PTH118
            if inode := inode_of(place):
                yield place, inode
