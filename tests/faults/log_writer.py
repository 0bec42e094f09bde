"""Writes log files as real programs do, and rotates them as real systems do, until its standard input is closed.

    python log_writer.py FOLDER --seed N --lines N --rate N     (at least so many lines, at most so many a second)

The text is real: the log of this machine's package manager, the output of programs (find, git, pip, Python's import
times) framed as syslog frames it, and the access log of a real web server that is really asked. Each line carries a
number that is unique in its file (`+n0000001`), so loss, doubling and disorder can be told. Some lines fit no format,
some are no UTF-8, some are too long: these have to become dead letters.

- dpkg.log is rotated by renaming, numbers shifted (`.1` becomes `.2`), and made anew at once.
- system.log is renamed to a name with a number, written to for some more lines through the old handle (as a daemon
  does until it is told), and only then made anew.
- access.log is copied and truncated, at any moment, read or not. Nothing is written between the copy and the cut: what
  is (with a real logrotate) no reader of the file can ever see.

Nothing is rotated before there is a file `rotate` in the folder: what was rotated away before the reader's first look
was never there for it. At its end it writes `ledger.json`: for each file how many lines it wrote and the numbers of
those that are to fail.
"""

import argparse
import http.client
import http.server
import json
import os
import random
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import attrs

LONGEST = 4096
"""`max_line_bytes` of the reader."""

ROTATION = {"dpkg.log": 0.04, "system.log": 0.04, "access.log": 0.25}
"""How likely each file is rotated after it was written to."""

FRAME = b"%s host %s[%d]: %s +n%07d"


@attrs.define
class LogFile:
    """One log file being written."""

    path: Path
    chance: random.Random
    handle: int = -1
    lines: int = 0
    rotations: int = 0
    failing: list[int] = attrs.field(factory=list)

    def open(self) -> None:
        """Open it as loggers do."""
        self.handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, lines: list[bytes]) -> None:
        """Append lines; now and then the last one arrives in two pieces."""
        data = b"".join(line + b"\n" for line in lines)
        cut = len(data) - self.chance.randrange(1, len(lines[-1]) + 1) if self.chance.random() < 0.3 else len(data)
        for piece in (data[:cut], data[cut:]):
            if piece:
                os.write(self.handle, piece)

    def next(self) -> int:
        """Count one line more and return its number."""
        self.lines += 1
        return self.lines

    def free_name(self) -> Path:
        """Return a name with the next number."""
        self.rotations += 1
        return self.path.with_name(f"{self.path.name}-{self.rotations:05d}")

    def rename_and_make(self) -> None:
        """Rotate as `logrotate` does with `create`: shift the numbers, rename, make an empty file."""
        for number in range(self.rotations, 0, -1):
            self.path.with_name(f"{self.path.name}.{number}").rename(
                self.path.with_name(f"{self.path.name}.{number + 1}")
            )
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self.rotations += 1
        os.close(self.handle)
        self.open()

    def rename_and_linger(self, more: Callable[[], list[bytes]]) -> None:
        """Rename; go on in the old file for a while; then make the new one."""
        self.path.rename(self.free_name())
        for _ in range(self.chance.randrange(0, 4)):
            self.write(more())
            time.sleep(self.chance.random() * 0.05)
        os.close(self.handle)
        self.open()

    def copy_and_truncate(self) -> None:
        """Rotate as `logrotate` does with `copytruncate`."""
        shutil.copyfile(self.path, self.free_name())
        os.ftruncate(self.handle, 0)


# -- text -----------------------------------------------------------------------------------------


def package_lines() -> Iterator[bytes]:
    """Return the package manager's log, again and again; made from Python's packages where there is none."""
    real = Path("/var/log/dpkg.log")
    lines = real.read_bytes().splitlines() if real.exists() else []
    if not lines:
        listed = subprocess.run([sys.executable, "-m", "pip", "list"], capture_output=True, check=True).stdout
        words = [line.split() for line in listed.splitlines()[2:]]
        lines = [b"2026-01-02 03:04:05 status installed %s:all %s" % (name, version) for name, version, *_ in words]
    while True:
        yield from lines


def program_lines(root: Path) -> Iterator[tuple[bytes, bytes]]:
    """Return (program, line) of what programs print, again and again."""
    python = sys.executable
    commands = [
        (b"imports", [python, "-X", "importtime", "-c", "import asyncio, email, http.server, sqlite3, unittest"]),
        (b"find", ["find", sys.prefix, "-ls"]),
        (b"git", ["git", "-C", str(root), "log", "--stat", "-n", "200"]),
        (b"pip", [python, "-m", "pip", "list", "-v"]),
    ]
    while True:
        for program, command in commands:
            if shutil.which(command[0]) is None:
                continue
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
                assert running.stdout is not None
                for line in running.stdout:
                    yield program, line.rstrip(b"\n")


class Site(http.server.BaseHTTPRequestHandler):
    """A web server with an access log in the common format."""

    protocol_version = "HTTP/1.1"
    logged: list[bytes]

    def do_GET(self) -> None:
        found = "missing" not in self.path
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_date_time_string(self) -> str:
        return datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")

    def log_message(self, form: str, *arguments: object) -> None:
        text = f"{self.address_string()} - - [{self.log_date_time_string()}] {form % arguments}"
        self.logged.append(text.encode())


# -- what is written ------------------------------------------------------------------------------


class Texts:
    """Makes the next lines of each file."""

    def __init__(self, chance: random.Random, files: dict[str, LogFile]) -> None:
        self._chance = chance
        self._files = files
        self._packages = package_lines()
        self._programs = program_lines(Path(__file__).parents[2])
        Site.logged = []
        self._server = http.server.HTTPServer(("127.0.0.1", 0), Site)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self._client = http.client.HTTPConnection("127.0.0.1", self._server.server_port)

    def packages(self, count: int) -> list[bytes]:
        """Return lines of the package manager."""
        file = self._files["dpkg.log"]
        return [b"%s+n%07d" % (next(self._packages), file.next()) for _ in range(count)]

    def system(self, count: int) -> list[bytes]:
        """Return lines of programs, some of them such that they must fail."""
        file = self._files["system.log"]
        now = datetime.now(UTC).isoformat(timespec="milliseconds").encode()
        lines = []
        for _ in range(count):
            program, text = next(self._programs)
            number = file.next()
            kind = self._chance.random()
            line = FRAME % (now, program, os.getpid(), text, number)
            if kind < 0.02:
                line = b"a line as no format has it +n%07d" % number
            elif kind < 0.03:
                line = FRAME % (now, program, os.getpid(), b"caf\xe9 \xff\xfe", number)
            elif kind < 0.032:
                line = FRAME % (now, program, os.getpid(), b"long", number) + b" and on" * (LONGEST // 4)
            if kind < 0.032:
                file.failing.append(number)
            lines.append(line)
        return lines

    def accesses(self, count: int) -> list[bytes]:
        """Ask the web server, and return what it logged."""
        file = self._files["access.log"]
        for _ in range(count):
            number = file.next()
            self._client.request("GET", f"/{'missing' if number % 10 == 0 else 'page'}?+n{number:07d}")
            self._client.getresponse().read()
        lines, Site.logged = Site.logged, []
        return lines


def told_to_end() -> bool:
    """Say whether standard input was closed."""
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)


def write_all(folder: Path, chance: random.Random, least: int, rate: float) -> dict[str, LogFile]:
    """Write and rotate until told to end."""
    files = {name: LogFile(folder / name, chance) for name in ("dpkg.log", "system.log", "access.log")}
    for file in files.values():
        file.open()
    texts = Texts(chance, files)
    makers = {"dpkg.log": texts.packages, "system.log": texts.system, "access.log": texts.accesses}
    started = time.monotonic()
    while True:
        total = sum(file.lines for file in files.values())
        if total >= least and told_to_end():
            return files
        [name] = chance.choices(list(files), [40, 40, 20])
        file, most = files[name], 20 if name == "access.log" else 200
        file.write(makers[name](chance.randrange(1, most)))
        if chance.random() < ROTATION[name] and (folder / "rotate").exists():
            if name == "dpkg.log":
                file.rename_and_make()
            elif name == "system.log":
                file.rename_and_linger(lambda: texts.system(chance.randrange(1, 30)))
            else:
                file.copy_and_truncate()
        # The pace of a load, not a wait for anything.
        time.sleep(max(0.0, total / rate - (time.monotonic() - started)))


def main() -> None:
    """Write, then leave the ledger."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--lines", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    given = parser.parse_args()
    files = write_all(given.folder, random.Random(given.seed), given.lines, given.rate)
    ledger = {
        str(file.path): {"lines": file.lines, "rotations": file.rotations, "failing": file.failing}
        for file in files.values()
    }
    (given.folder / "ledger.json").write_text(json.dumps(ledger))


if __name__ == "__main__":
    main()
