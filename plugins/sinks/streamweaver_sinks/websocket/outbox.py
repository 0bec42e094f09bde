"""What waits to be sent to one client: bounded, and honest about what it had to drop."""

import asyncio
from collections import deque

import attrs

from streamweaver_sinks.websocket import protocol


@attrs.frozen(slots=True, eq=False)
class Frame:
    """A records frame, shared by every client that gets the same bytes."""

    channel: str
    data: bytes
    records: int


@attrs.define(eq=False)
class Outbox:
    """A queue of frames, bounded in frames and bytes; when it is full the oldest go.

    Frames are shared between clients, so a thousand clients that wait for the same frames hold them once.
    """

    max_frames: int
    max_bytes: int
    frames: deque[Frame] = attrs.field(factory=deque, init=False)
    size: int = attrs.field(default=0, init=False)
    lost: dict[str, int] = attrs.field(factory=dict, init=False)
    """Dropped records by channel of which the client was not yet told."""
    overflowed: bool = attrs.field(default=False, init=False)
    """Whether the client was ever too slow."""
    heartbeat_due: bool = attrs.field(default=False, init=False)
    views: bytes | None = attrs.field(default=None, init=False)
    """The one message of views that may wait; while it does, the views have no other."""
    waiting: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    """Set while there is something to take."""

    def put(self, frame: Frame) -> int:
        """Add a frame; returns how many records had to go, among them perhaps its own. Never blocks."""
        if len(frame.data) > self.max_bytes:
            return self.lose(frame.channel, frame.records)
        dropped = 0
        while self.frames and (len(self.frames) >= self.max_frames or self.size + len(frame.data) > self.max_bytes):
            self.overflowed = True
            oldest = self.frames.popleft()
            self.size -= len(oldest.data)
            dropped += self.lose(oldest.channel, oldest.records)
        self.frames.append(frame)
        self.size += len(frame.data)
        self.waiting.set()
        return dropped

    def lose(self, channel: str, records: int) -> int:
        """Note that records of a channel did not reach the client; returns their count."""
        self.lost[channel] = self.lost.get(channel, 0) + records
        return records

    def show(self, message: bytes) -> None:
        """Put the message of views, whose place must be free."""
        self.views = message
        self.waiting.set()

    def beat(self) -> None:
        """Ask for a heartbeat, unless there is something better to send."""
        if not self.frames and self.views is None:
            self.heartbeat_due = True
            self.waiting.set()

    def take(self) -> bytes | None:
        """Return the next message, or None (and `waiting` is cleared) when there is none."""
        if self.views is not None:
            # At most one a tick, so it may go before all records.
            self.heartbeat_due = False
            message, self.views = self.views, None
            return message
        if self.frames:
            self.heartbeat_due = False
            frame = self.frames.popleft()
            self.size -= len(frame.data)
            lost = self.lost.pop(frame.channel, 0) if self.lost else 0
            return protocol.with_dropped(frame.data, lost) if lost else frame.data
        self.waiting.clear()
        if self.heartbeat_due:
            self.heartbeat_due = False
            lost_by_channel, self.lost = self.lost, {}
            return protocol.say("heartbeat", dropped=lost_by_channel)
        return None

    def clear(self) -> None:
        """Forget everything: the client has gone."""
        self.frames.clear()
        self.views = None
        self.size = 0
        self.waiting.clear()
