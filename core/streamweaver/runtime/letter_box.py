"""The dead letters of a pipeline, seen by those who deal with them: look, replay, discard.

A letter that has been dealt with is marked in the same unit of work, so replaying can be interrupted and repeated, by
several at once, and nothing is replayed twice. All of it works beside the pipeline, running or not.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias

import attrs

from streamweaver.contracts import Broker, Fetched, Rows
from streamweaver.errors import BadRecord, BrokerError, ConflictError, UnknownTopicError
from streamweaver.graph.plan import Plan
from streamweaver.record import Record
from streamweaver.retry import Backoff
from streamweaver.runtime.clock import Clock
from streamweaver.runtime.codec import Encoder
from streamweaver.runtime.dead_letter import DeadLetter, from_row, replay_headers
from streamweaver.runtime.edit import Edit, added, apply
from streamweaver.runtime.letter_marks import Deed, Marks, Settled
from streamweaver.runtime.reading import through

UNIT_LETTERS = 200
"""How many letters are dealt with in one unit of work."""

MOST_CONFLICTS = 30
"""How often in a row others may be quicker, before we give up: each time they have dealt with letters."""


class UnreadableError(ValueError):
    """A letter's value cannot be decoded by its topic's codec, or the topic is not known any more."""


@attrs.frozen
class Letter:
    """A dead letter with its place in the topic of dead letters, which is its id."""

    partition: int
    offset: int
    letter: DeadLetter
    settled: Settled | None

    @property
    def id(self) -> str:
        """The name of the letter: `partition:offset`."""
        return f"{self.partition}:{self.offset}"


@attrs.frozen(kw_only=True)
class Filter:
    """Which letters are meant: those for which everything that is given holds."""

    ids: frozenset[str] = frozenset()
    stage: str | None = None
    step: str | None = None
    error: str | None = None
    reason: str | None = None
    """Part of the reason, in whatever case."""
    since: int | None = None
    """Failed at this time (ms) or later."""

    def takes(self, letter: Letter) -> bool:
        """Whether a letter is meant."""
        found = letter.letter
        return (
            (not self.ids or letter.id in self.ids)
            and self.stage in (None, found.stage)
            and self.step in (None, found.step)
            and self.error in (None, found.error)
            and (self.reason is None or self.reason.casefold() in found.reason.casefold())
            and (self.since is None or found.failed_at >= self.since)
        )


@attrs.define
class Outcome:
    """What became of the letters that were meant: each is in one of these."""

    done: list[str] = attrs.field(factory=list)
    """Ids that were dealt with now (or would be, in a dry run)."""
    before: list[str] = attrs.field(factory=list)
    """Ids that had been dealt with before, and were left alone."""
    refused: dict[str, str] = attrs.field(factory=dict)
    """Id to the reason why it cannot be dealt with."""
    absent: list[str] = attrs.field(factory=list)
    """Ids that were asked for and of which there is no letter, or no more."""
    edited: dict[str, Any] = attrs.field(factory=dict)
    """Id to the value that would be replayed; only of a dry run with edits."""
    added: Counter[str] = attrs.field(factory=Counter)
    """Path of an edit to the number of values that had nothing there."""


def parse_id(text: str) -> tuple[int, int]:
    """Return partition and offset of an id; ValueError when it is none."""
    partition, colon, offset = text.partition(":")
    if not (colon and partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
        raise ValueError(f"got {text!r}, expected the id of a dead letter, such as 0:17")
    return int(partition), int(offset)


Edits: TypeAlias = Sequence[Edit] | Mapping[str, Sequence[Edit]]
"""What is to be changed before letters are tried again: the same in all of them, or for some ids what in which."""

_Made: TypeAlias = list[tuple[str, int, Rows]]
"""What is to be appended to which topic and partition, to try a letter again."""


class LetterBox:
    """All dead letters of one pipeline. Needs an open broker; `role="tool"` is enough."""

    def __init__(self, plan: Plan, broker: Broker, clock: Clock) -> None:
        self._plan = plan
        self._broker = broker
        self._clock = clock
        self._marks = Marks(broker, plan.settled_letters)
        self._backoff = Backoff(0.02, 1.0)
        self.unreadable = 0
        """Records of the topic that are no dead letters, passed over so far."""

    # -- looking ----------------------------------------------------------------------------------

    async def letters(self, wanted: Filter | None = None) -> AsyncGenerator[Letter]:
        """Go through the letters that are there now, oldest first; none when the pipeline has never run.

        Whoever leaves before the end closes it (`aclosing`).
        """
        wanted = wanted or Filter()
        await self._marks.refresh()
        async with aclosing(through(self._broker, self._plan.dead_letters)) as batches:
            async for rows in batches:
                for index in range(len(rows)):
                    try:
                        letter = self._read(rows, index)
                    except ValueError:
                        self.unreadable += 1
                        continue
                    if wanted.takes(letter):
                        yield letter

    async def letter(self, letter_id: str) -> Letter | None:
        """Return one letter; None when there is none of that id, or no more. ValueError when it is no id."""
        partition, offset = parse_id(letter_id)
        try:
            ranges = await self._broker.ranges(self._plan.dead_letters)
        except UnknownTopicError:
            return None
        if partition >= len(ranges) or not ranges[partition].begin <= offset < ranges[partition].end:
            return None
        await self._marks.refresh()
        async with aclosing(through(self._broker, self._plan.dead_letters, {partition: offset})) as batches:
            async for rows in batches:
                if offset in rows.offsets:
                    try:
                        return self._read(rows, list(rows.offsets).index(offset))
                    except ValueError:
                        return None
                if rows.next_offset > offset:
                    break
        return None

    def _read(self, rows: Fetched, index: int) -> Letter:
        """Return a letter as it stands in the topic; ValueError when it is none."""
        headers = rows.headers[index] if rows.headers else ()
        found = from_row(rows.keys[index], rows.values[index], rows.timestamps[index], headers)
        offset = rows.offsets[index]
        return Letter(rows.partition, offset, found, self._marks.get(f"{rows.partition}:{offset}"))

    def value(self, letter: Letter) -> Any:
        """Return a letter's value as its topic's codec reads it, None for a tombstone; UnreadableError otherwise."""
        found = letter.letter
        topic = self._plan.topics.get(found.topic)
        if topic is None:
            raise UnreadableError(f"topic {found.topic!r} is no longer in the pipeline's file")
        if found.value is None:
            return None
        try:
            return topic.codec.decode(found.value)
        except Exception as error:
            raise UnreadableError(f"codec {topic.codec_name} cannot decode the value: {error}") from error

    # -- dealing with them ------------------------------------------------------------------------

    async def replay(
        self, wanted: Filter, edits: Edits = (), *, limit: int | None = None, dry_run: bool = False
    ) -> Outcome:
        """Give letters, edited, back to their stages; at most `limit` of those not dealt with yet, oldest first.

        The record of a flow or sink goes to the stage's replay topic, in the partition it came from, and meets the
        same steps and state as at first. One that the stage itself made (a producer, or a step as time passed) and
        could not store goes straight to the stage's topic, past its steps.
        """
        return await self._deal("replayed", wanted, edits, limit, dry_run)

    async def discard(self, wanted: Filter, *, limit: int | None = None, dry_run: bool = False) -> Outcome:
        """Mark letters as dealt with; they stay in the topic, and can still be listed."""
        return await self._deal("discarded", wanted, (), limit, dry_run)

    async def _deal(self, deed: Deed, wanted: Filter, edits: Edits, limit: int | None, dry_run: bool) -> Outcome:
        outcome = Outcome()
        pending: list[tuple[Letter, _Made]] = []
        taken = 0
        async with aclosing(self.letters(wanted)) as letters:
            async for letter in letters:
                if letter.settled is not None:
                    outcome.before.append(letter.id)
                    continue
                if limit is not None and taken >= limit:
                    break
                taken += 1
                own = edits.get(letter.id, ()) if isinstance(edits, Mapping) else edits
                try:
                    pending.append((letter, self._again(letter, own) if deed == "replayed" else []))
                    if own:
                        self._tell_edited(letter, own, outcome, dry_run)
                except (ValueError, BadRecord) as error:
                    outcome.refused[letter.id] = str(error.why if isinstance(error, BadRecord) else error)
                if len(pending) >= UNIT_LETTERS:
                    await self._store_deed(deed, pending, outcome, dry_run)
                    pending = []
        await self._store_deed(deed, pending, outcome, dry_run)
        # An id that a filter or the limit left out is there all the same.
        left_out = wanted.ids.difference(outcome.done, outcome.before, outcome.refused)
        outcome.absent = [
            letter_id for letter_id in sorted(left_out, key=parse_id) if await self.letter(letter_id) is None
        ]
        return outcome

    async def _store_deed(
        self, deed: Deed, pending: list[tuple[Letter, _Made]], outcome: Outcome, dry_run: bool
    ) -> None:
        """Deal with some letters as one unit of work; what others deal with meanwhile is left alone."""
        conflicts = 0
        while True:
            fresh = [(letter, made) for letter, made in pending if self._marks.get(letter.id) is None]
            if dry_run or not fresh:
                break
            try:
                await self._commit(deed, fresh)
                break
            except ConflictError as error:
                conflicts += 1
                if conflicts >= MOST_CONFLICTS:
                    raise BrokerError(
                        f"others deal with dead letters all the time ({error}); try again when they have ended"
                    ) from error
                await self._clock.sleep(self._backoff.wait(conflicts))
                await self._marks.refresh()
        done = [letter.id for letter, _ in fresh]
        outcome.done += done
        outcome.before += [letter.id for letter, _ in pending if letter.id not in set(done)]

    async def _commit(self, deed: Deed, letters: Sequence[tuple[Letter, _Made]]) -> None:
        unit = self._broker.begin()
        for topic, partition, rows in (place for _, made in letters for place in made):
            unit.append(topic, partition, rows)
        self._marks.put(unit, [letter.id for letter, _ in letters], deed, self._clock.now())
        await unit.commit()
        await self._marks.refresh()

    def _again(self, letter: Letter, edits: Sequence[Edit]) -> _Made:
        """Return what is to be appended where, to try a letter again; ValueError or BadRecord when it cannot be."""
        found = letter.letter
        if found.cut_of_key:
            raise ValueError(f"{found.cut_of_key} bytes of its key were too many for the broker to keep; discard it")
        if found.cut and not _whole(edits):
            raise ValueError(f"{found.cut} bytes of it were too many for the broker to keep; give the whole value anew")
        stage = self._plan.stages.get(found.stage)
        if stage is None:
            raise ValueError(f"stage {found.stage!r} is no longer in the pipeline's file")
        if found.topic not in self._plan.topics:
            raise ValueError(f"topic {found.topic!r} is no longer in the pipeline's file")
        if stage.kind == "producer" or (found.offset < 0 and found.topic == stage.output):
            # The stage made it, so it goes where the stage meant it to go.
            value = self._edited(letter, edits)
            topic = self._plan.topics[found.topic]
            record = Record(value, found.key, found.timestamp, found.headers)
            encoder = Encoder(topic.codec, topic.spec.partitions, stage.key)
            made = encoder.encode([record], found.partition, found.timestamp)
            return [(topic.name, partition, rows) for partition, rows in made.items()]
        if not stage.inputs or found.offset < 0:
            raise ValueError(f"it came from a producer, but stage {found.stage!r} is none any more")
        value_bytes = found.value
        if edits:
            value = self._edited(letter, edits)
            value_bytes = None if value is None else self._encoded(letter, value)
        rows = Rows([found.key], [value_bytes], [found.timestamp], [replay_headers(found)])
        return [(self._plan.replay(stage.name), found.partition, rows)]

    def _tell_edited(self, letter: Letter, edits: Sequence[Edit], outcome: Outcome, dry_run: bool) -> None:
        if not _whole(edits):
            outcome.added.update(added(edits, self.value(letter)))
        if dry_run:
            outcome.edited[letter.id] = self._edited(letter, edits)

    def _edited(self, letter: Letter, edits: Sequence[Edit]) -> Any:
        # What replaces the whole value asks nothing of the old one.
        return apply(edits, None if _whole(edits) else self.value(letter))

    def _encoded(self, letter: Letter, value: Any) -> bytes:
        topic = self._plan.topics[letter.letter.topic]
        try:
            return topic.codec.encode(value)
        except Exception as error:
            raise ValueError(f"codec {topic.codec_name} cannot encode the edited value: {error}") from error


def _whole(edits: Sequence[Edit]) -> bool:
    """Whether edits begin with the whole value, so that nothing of the old one stays."""
    return bool(edits) and not edits[0].path
