"""The dead letters for clients: a page of them, one with its record, and what is to be done with some."""

import asyncio
from collections import Counter, deque
from contextlib import aclosing
from typing import Any

import attrs
import msgspec

from streamweaver import Broker, Fetched
from streamweaver.graph.plan import Plan
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.dead_letter import DeadLetter
from streamweaver.runtime.edit import Edit
from streamweaver.runtime.letter_box import Filter, Letter, LetterBox, Outcome, UnreadableError, parse_id
from streamweaver.text import clean
from streamweaver.views.column import API_BYTES, One
from streamweaver.views.field import key_text
from streamweaver.views.seen import Seen, Undecodable

MAX_DEALT = 10_000
MAX_IDS = 1_000
PAUSE_EVERY = 500
LONGEST_REASON = 2_000


class Which(msgspec.Struct, forbid_unknown_fields=True):
    """Letters by what is said of them."""

    stage: str | None = None
    step: str | None = None
    error: str | None = None
    reason: str | None = None
    topic: str | None = None
    since: int | None = None
    until: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it means every letter."""
        return all(value is None for value in msgspec.structs.asdict(self).values())

    def filter(self, ids: frozenset[str] = frozenset()) -> Filter:
        """Return what the letter box understands of it."""
        return Filter(ids=ids, stage=self.stage, step=self.step, error=self.error, reason=self.reason, since=self.since)

    def takes(self, letter: DeadLetter) -> bool:
        """Judge the rest."""
        return self.topic in (None, letter.topic) and (self.until is None or letter.failed_at < self.until)


class Change(msgspec.Struct):
    """A new value for one letter."""

    value: Any


class Deed(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done with which letters."""

    ids: list[str] = []
    where: Which | None = None
    dry_run: bool = False
    edit: dict[str, Change] = {}


@attrs.define
class _Sums:
    waiting: int = 0
    stages: Counter[str] = attrs.field(factory=Counter)
    errors: Counter[str] = attrs.field(factory=Counter)


class Letters:
    """Works on a letter box, one request at a time, since each reads all letters."""

    def __init__(self, plan: Plan, broker: Broker) -> None:
        self._plan = plan
        self._box = LetterBox(plan, broker, SystemClock())
        self._turn = asyncio.Lock()

    async def page(self, which: Which, *, everything: bool, limit: int, before: str | None) -> dict[str, Any]:
        """Return the newest letters that are meant, and sums over all that wait."""
        most = None if before is None else parse_id(before)
        newest: deque[Letter] = deque(maxlen=limit)
        matched = scanned = 0
        sums = _Sums()
        wanted = which.filter()
        async with self._turn, aclosing(self._box.letters()) as letters:
            async for letter in letters:
                scanned += 1
                if scanned % PAUSE_EVERY == 0:
                    await asyncio.sleep(0)
                if letter.settled is None:
                    sums.waiting += 1
                    sums.stages[letter.letter.stage] += 1
                    sums.errors[letter.letter.error] += 1
                elif not everything:
                    continue
                if most is not None and (letter.partition, letter.offset) >= most:
                    continue
                if wanted.takes(letter) and which.takes(letter.letter):
                    newest.append(letter)
                    matched += 1
        shown = [self._summary(letter) for letter in reversed(newest)]
        return {
            "letters": shown,
            "next": shown[-1]["id"] if shown else None,
            "more": matched > len(shown),
            "scanned": scanned,
            "counts": {"waiting": sums.waiting, "stages": dict(sums.stages), "errors": dict(sums.errors)},
        }

    def _summary(self, letter: Letter) -> dict[str, Any]:
        found = letter.letter
        return {
            "id": letter.id,
            "stage": found.stage,
            "step": found.step,
            "error": found.error,
            "reason": clean(found.reason[:LONGEST_REASON]),
            "tries": found.tries,
            "failed_at": found.failed_at,
            "topic": found.topic,
            "partition": found.partition,
            "offset": found.offset,
            "time": found.timestamp,
            "key": key_text(found.key),
            "state": "waiting" if letter.settled is None else letter.settled.deed,
        }

    async def one(self, letter_id: str) -> dict[str, Any] | None:
        """Return one letter with its record; None when there is none. ValueError when it is no id."""
        letter = await self._box.letter(letter_id)
        if letter is None:
            return None
        found = letter.letter
        editable = found.topic in self._plan.topics
        try:
            value = self._box.value(letter)
        except UnreadableError as error:
            value = Undecodable(str(error))
        rows = Fetched([found.key], [found.value], [found.timestamp], [found.headers], offsets=[found.offset])
        seen = Seen(
            found.topic, found.partition, rows.offsets, rows.timestamps, rows.keys, [value], rows.values, rows.headers
        )
        record = One(seen, 0, API_BYTES)
        made = {**self._summary(letter), "value": record.value, "headers": record.headers, "editable": editable}
        return made if record.raw is None else {**made, "raw": record.raw}

    async def deal(self, action: str, deed: Deed) -> dict[str, Any]:
        """Replay or discard; ValueError when it is not clear what is meant."""
        self._check(action, deed)
        outcome, stages = Outcome(), Counter[str]()
        async with self._turn:
            ids = await self._meant(deed, stages)
            if ids:
                outcome = await self._do(action, deed, frozenset(ids))
        refused = [{"id": name, "why": why} for name, why in outcome.refused.items()]
        refused += [{"id": name, "why": "it was dealt with before"} for name in outcome.before]
        missing = set(deed.ids) - set(ids)
        refused += [{"id": name, "why": "there is no such letter"} for name in [*sorted(missing), *outcome.absent]]
        return {
            "action": action,
            "dry_run": deed.dry_run,
            "matched": len(ids) + len(missing),
            "done": len(outcome.done),
            "refused": refused[:MAX_IDS],
            "stages": dict(stages),
        }

    @staticmethod
    def _check(action: str, deed: Deed) -> None:
        if bool(deed.ids) == (deed.where is not None):
            raise ValueError("expected either ids or where")
        if deed.where is not None and deed.where.is_empty:
            raise ValueError("where: got nothing, which would be all letters; say which are meant")
        if len(deed.ids) > MAX_IDS:
            raise ValueError(f"ids: got {len(deed.ids)}, expected at most {MAX_IDS}; use where")
        if deed.edit and (action != "replay" or deed.edit.keys() - set(deed.ids)):
            raise ValueError("edit: expected only with replay, and only for letters that stand in ids")
        for letter_id in deed.ids:
            parse_id(letter_id)

    async def _meant(self, deed: Deed, stages: Counter[str]) -> list[str]:
        which = deed.where or Which()
        ids: list[str] = []
        scanned = 0
        async with aclosing(self._box.letters(which.filter(frozenset(deed.ids)))) as letters:
            async for letter in letters:
                scanned += 1
                if scanned % PAUSE_EVERY == 0:
                    await asyncio.sleep(0)
                if not which.takes(letter.letter) or (deed.where is not None and letter.settled is not None):
                    continue
                ids.append(letter.id)
                stages[letter.letter.stage] += 1
                if len(ids) >= MAX_DEALT:
                    break
        return ids

    async def _do(self, action: str, deed: Deed, ids: frozenset[str]) -> Outcome:
        wanted = Filter(ids=ids)
        if action == "discard":
            return await self._box.discard(wanted, dry_run=deed.dry_run)
        edits = {letter_id: [Edit((), change.value)] for letter_id, change in deed.edit.items()}
        return await self._box.replay(wanted, edits, dry_run=deed.dry_run)
