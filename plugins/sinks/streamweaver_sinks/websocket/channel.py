"""A channel: the records of one topic on their way to those who asked for them."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from streamweaver import Record
from streamweaver_sinks.websocket import protocol
from streamweaver_sinks.websocket.outbox import Frame, Outbox


@attrs.define(eq=False)
class Subscription:
    """One client's wish for one channel.

    Joining with history takes a moment, in which live records are held back. Then the history goes out, and live
    records that were in it are left out for a while, by their content, because history carries no offsets.
    """

    outbox: Outbox
    matches: Callable[[Any], bool] | None = None
    held: deque[bytes] | None = None
    held_bytes: int = 0
    shown: Counter[bytes] | None = None
    """What the history has shown already, and has not come live since."""
    shown_until: int = 0

    def start_joining(self) -> None:
        """Hold live records back until `joined`."""
        self.held = deque()

    @property
    def plain(self) -> bool:
        """Whether the client gets exactly what the channel carries, so that it can share the common frames."""
        return self.matches is None and self.held is None and self.shown is None

    def choose(self, records: Sequence[Record], lines: Sequence[bytes], now: int) -> list[bytes]:
        """Return the lines of the records that this client is to get, except those that it had in its history."""
        matches = self.matches
        chosen = (
            list(lines)
            if matches is None
            else [line for record, line in zip(records, lines, strict=True) if matches(record.value)]
        )
        if self.shown is not None and now >= self.shown_until:
            self.shown = None
        return self._unseen(chosen)

    def hold(self, lines: Sequence[bytes], channel: str) -> int:
        """Keep live lines until the history is out, as many as the outbox may hold; returns how many had to go."""
        assert self.held is not None
        self.held.extend(lines)
        self.held_bytes += sum(map(len, lines))
        dropped = 0
        while self.held_bytes > self.outbox.max_bytes:
            self.held_bytes -= len(self.held.popleft())
            dropped += self.outbox.lose(channel, 1)
        return dropped

    def joined(self, history: Sequence[bytes], until: int) -> list[bytes]:
        """End the joining: note what the history holds and return the held lines that it does not."""
        held, self.held, self.held_bytes = self.held or (), None, 0
        self.shown, self.shown_until = Counter(history) or None, until
        return self._unseen(list(held))

    def _unseen(self, lines: list[bytes]) -> list[bytes]:
        shown = self.shown
        if shown is None:
            return lines
        fresh = []
        for line in lines:
            if shown[line] > 0:
                shown[line] -= 1
            else:
                fresh.append(line)
        if not shown.total():
            self.shown = None
        return fresh


@attrs.define(eq=False)
class Channel:
    """The subscriptions of one channel and the records that wait for the next frame.

    Each record is encoded once, and each frame built once for all clients without a filter. `drop` is told how
    many records did not reach some client, `now` is a clock in milliseconds.
    """

    name: str
    drop: Callable[[int], None]
    now: Callable[[], int]
    subscriptions: dict[object, Subscription] = attrs.field(factory=dict, init=False)
    records: list[Record] = attrs.field(factory=list, init=False)
    chunks: list[bytes] = attrs.field(factory=list, init=False)
    size: int = attrs.field(default=0, init=False)

    def add(self, records: Sequence[Record]) -> None:
        """Take records for the next frame; sends at once what would make a frame too large. Never blocks."""
        if not self.subscriptions:
            return
        encoded = protocol.encode_records(records)
        if self.size + len(encoded) > protocol.FRAME_BYTES:
            self.flush()
        self.records.extend(records)
        self.chunks.append(encoded)
        self.size += len(encoded)
        if self.size > protocol.FRAME_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put what waits into the outboxes."""
        if not self.records:
            return
        records, encoded = self.records, b"".join(self.chunks)[:-1]
        self.records, self.chunks, self.size = [], [], 0
        lines: list[bytes] | None = None
        dropped = 0
        common: list[Frame] | None = None
        for subscription in self.subscriptions.values():
            if not subscription.plain:
                lines = encoded.split(b"\n") if lines is None else lines
                chosen = subscription.choose(records, lines, self.now())
                if subscription.held is None:
                    dropped += self._put(subscription, self._frames(chosen, subscription.outbox))
                else:
                    dropped += subscription.hold(chosen, self.name)
                continue
            if common is None:
                common = self._common(encoded, len(records))
            dropped += self._put(subscription, common)
        if dropped:
            self.drop(dropped)

    def send_history(self, subscription: Subscription, history: Sequence[Record], until: int) -> None:
        """Send the history of a subscription that is joining, then what was held; leave out repeats until `until`."""
        self.flush()
        chosen = [r for r in history if subscription.matches is None or subscription.matches(r.value)]
        lines = protocol.encode_records(chosen).splitlines()
        for body, count in [*protocol.cut([line for line in lines if len(line) <= protocol.RECORD_BYTES])] or [
            (b"", 0)
        ]:
            frame = Frame(self.name, protocol.records_frame(self.name, body, history=True), count)
            if dropped := subscription.outbox.put(frame):
                self.drop(dropped)
        live = subscription.joined(lines, until)
        if dropped := self._put(subscription, self._frames(live, subscription.outbox)):
            self.drop(dropped)

    def _common(self, encoded: bytes, count: int) -> list[Frame]:
        """Build the frames that all clients without a filter share."""
        if len(encoded) <= protocol.FRAME_BYTES:
            body = encoded.replace(b"\n", b",")
            return [Frame(self.name, protocol.records_frame(self.name, body), count)]
        return self._frames(encoded.split(b"\n"), None)

    def _frames(self, lines: list[bytes], outbox: Outbox | None) -> list[Frame]:
        fitting = [line for line in lines if len(line) <= protocol.RECORD_BYTES]
        frames = [
            Frame(self.name, protocol.records_frame(self.name, body), count) for body, count in protocol.cut(fitting)
        ]
        if too_large := len(lines) - len(fitting):
            self.drop(too_large)
            for lost_in in [outbox] if outbox else [s.outbox for s in self.subscriptions.values() if s.plain]:
                lost_in.lose(self.name, too_large)
        return frames

    @staticmethod
    def _put(subscription: Subscription, frames: Sequence[Frame]) -> int:
        return sum(map(subscription.outbox.put, frames))
