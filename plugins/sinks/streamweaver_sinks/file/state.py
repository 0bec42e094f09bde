r"""What the file sink remembers: how long its file is, and which offsets are in it. Changes whole or not at all.

The state lives in one small file of two slots. A save goes into the slot that does not hold the current state, with
a checksum, and one sync makes it count; a torn save leaves the other slot. In place, so a save allocates nothing.
"""

import os
import zlib
from pathlib import Path

import attrs
import msgspec

SLOT_BYTES = 256 * 1024
_HEAD_BYTES = 8 + 8


class State(msgspec.Struct, kw_only=True):
    """The file at its last durable batch."""

    sequence: int = 0
    target: str = ""
    """Option `path`, absolute; another one starts afresh."""
    layout: str = ""
    """What the rows look like; must not change within one file."""
    columns: list[str] = []
    part: int = 1
    date: str = ""
    opened: int = 0
    """Time of the part's first row, in ms; 0 while it has none."""
    size: int = 0
    tail: int = 0
    """Checksum of the last bytes before `size`, to notice a file that was changed by others."""
    finished: list[str] = []
    """Parts that are kept, oldest first."""
    offsets: dict[str, dict[int, int]] = {}
    """By topic and partition: the offset after the last one in the file."""


sync_data = getattr(os, "fdatasync", os.fsync)
"""Make a file's content durable; the cheaper call where the system has it."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(State).decode


@attrs.define(eq=False)
class StateFile:
    """The state on disk. Errors are OSError; after one the file must be opened anew."""

    path: Path
    sync: bool
    """Whether a save survives power loss, not only the end of the process."""
    _file: int = attrs.field(default=-1, init=False)

    def open(self) -> State | None:
        """Return the newest whole state, or None when there is none."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        states = [state for state in map(self._read, (0, 1)) if state is not None]
        length = os.fstat(self._file).st_size
        if length < 2 * SLOT_BYTES:
            # Real zeros, so that a disk that fills up later has room for the state.
            write_all(self._file, bytes(2 * SLOT_BYTES - length), length)
            if self.sync:
                os.fsync(self._file)
                sync_folder(self.path.parent)
        return max(states, key=lambda state: state.sequence, default=None)

    def save(self, state: State) -> None:
        """Make the state durable; its sequence is counted up."""
        state.sequence += 1
        body = _encode(state)
        if len(body) > SLOT_BYTES - _HEAD_BYTES:
            raise OSError(0, f"the state is {len(body)} bytes, more than {SLOT_BYTES}: too many partitions")
        head = zlib.crc32(body).to_bytes(8, "big") + len(body).to_bytes(8, "big")
        write_all(self._file, head + body, (state.sequence % 2) * SLOT_BYTES)
        if self.sync:
            sync_data(self._file)

    def close(self) -> None:
        """Close the file; may be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self, slot: int) -> State | None:
        data = os.pread(self._file, SLOT_BYTES, slot * SLOT_BYTES)
        length = int.from_bytes(data[8:_HEAD_BYTES], "big")
        body = data[_HEAD_BYTES : _HEAD_BYTES + length]
        if not length or len(body) != length or zlib.crc32(body) != int.from_bytes(data[:8], "big"):
            return None
        try:
            return _decode(body)
        except msgspec.MsgspecError:
            return None


def write_all(file: int, data: bytes, at: int) -> None:
    """Write all of it at a place; an OSError may leave a part of it written."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, at)
        view, at = view[written:], at + written


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
