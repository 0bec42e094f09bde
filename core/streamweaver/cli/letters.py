"""What the `dlq` commands do and print."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from streamweaver.cli.failure import FAILED
from streamweaver.cli.load import data_folder, load, tool, unknown_stage
from streamweaver.cli.output import json_text, print_json, print_table, text_or_base64, time_text
from streamweaver.graph.plan import Plan
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.edit import Edit
from streamweaver.runtime.letter_box import Filter, Letter, LetterBox, Outcome, UnreadableError


def print_list(
    file: Path, data: Path | None, wanted: Filter, limit: int | None, *, settled: bool, as_json: bool
) -> None:
    """Print the newest letters, a line each."""
    plan = load(file).plan
    newest: deque[Letter] = deque(maxlen=limit)
    found = count = 0

    async def collect(box: LetterBox) -> None:
        nonlocal found, count
        async for letter in box.letters(wanted):
            found += 1
            if settled or letter.settled is None:
                newest.append(letter)
                count += 1
        if box.unreadable:
            click.echo(f"{box.unreadable} records of topic {plan.dead_letters} are no dead letters", err=True)

    asyncio.run(_with_box(plan, data, collect))
    if not found:
        _check_stage(plan, wanted)
    if as_json:
        for letter in newest:
            print_json(_plain(letter))
        return
    rows = [
        [
            letter.id,
            time_text(letter.letter.failed_at),
            letter.letter.stage,
            letter.letter.step,
            letter.letter.error,
            _place(letter),
            *([letter.settled.deed if letter.settled else "-"] if settled else []),
            letter.letter.reason,
        ]
        for letter in newest
    ]
    if rows:
        heads = ["id", "failed", "stage", "step", "error", "came from", *(["state"] if settled else []), "reason"]
        print_table(heads, rows, spare=["came from", "error", "failed"])
    hidden = f", the newest {len(newest)} shown" if count > len(newest) else ""
    click.echo(f"{count} dead {'letter' if count == 1 else 'letters'}{hidden}", err=True)


def print_letter(file: Path, data: Path | None, letter_id: str, as_json: bool) -> int:
    """Print one letter; returns the exit status."""
    plan = load(file).plan
    found: dict[str, Any] | None = None

    async def look(box: LetterBox) -> None:
        nonlocal found
        letter = await box.letter(letter_id)
        if letter is not None:
            found = {**_plain(letter), **_content(box, letter)}

    asyncio.run(_with_box(plan, data, look))
    if found is None:
        _say_absent(file, [letter_id])
        return FAILED
    if as_json:
        print_json(found)
    else:
        times = ("failed_at", "timestamp")
        rows = [[name, time_text(value) if name in times else _shown(value)] for name, value in found.items()]
        print_table(["field", "value"], rows)
    return 0


def replay_letters(
    file: Path,
    data: Path | None,
    wanted: Filter,
    edits: Sequence[Edit],
    limit: int | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Replay letters and say what became of them; returns the exit status, 1 when some could not be or are absent."""
    act = partial(LetterBox.replay, wanted=wanted, edits=edits, limit=limit, dry_run=dry_run)
    return _deal(file, data, wanted, "replayed", act, dry_run, as_json)


def discard_letters(
    file: Path, data: Path | None, wanted: Filter, limit: int | None, *, dry_run: bool, as_json: bool
) -> int:
    """Discard letters and say what became of them; returns the exit status."""
    act = partial(LetterBox.discard, wanted=wanted, limit=limit, dry_run=dry_run)
    return _deal(file, data, wanted, "discarded", act, dry_run, as_json)


def _deal(
    file: Path,
    data: Path | None,
    wanted: Filter,
    deed: str,
    act: Callable[[LetterBox], Awaitable[Outcome]],
    dry_run: bool,
    as_json: bool,
) -> int:
    outcome = Outcome()

    async def deal(box: LetterBox) -> None:
        nonlocal outcome
        outcome = await act(box)

    plan = load(file).plan
    asyncio.run(_with_box(plan, data, deal))
    if not (outcome.done or outcome.before or outcome.refused):
        _check_stage(plan, wanted)
    if as_json:
        lists = {deed: outcome.done, "done_before": outcome.before, "refused": outcome.refused}
        edits = {"edited": outcome.edited, "added": outcome.added} if deed == "replayed" else {}
        print_json({**lists, "absent": outcome.absent, "dry_run": dry_run, **edits})
    else:
        for letter_id, value in outcome.edited.items():
            click.echo(f"{letter_id}: {_shown(value)}")
        for path, times in outcome.added.items():
            adds = "would add" if dry_run else "added"
            click.echo(f"--set {path}: {adds} a field that {times} of the values did not have", err=True)
        for letter_id, why in outcome.refused.items():
            click.echo(f"{letter_id}: refused: {_shown(why)}", err=True)
        would = "would be " if dry_run else ""
        counts = len(outcome.done), len(outcome.before), len(outcome.refused)
        if any(counts) or not outcome.absent:
            click.echo(f"{counts[0]} {would}{deed}, {counts[1]} done before, {counts[2]} refused")
    if outcome.absent:
        _say_absent(file, outcome.absent)
    return FAILED if outcome.refused or outcome.absent else 0


def _check_stage(plan: Plan, wanted: Filter) -> None:
    """A usage error where letters of a stage were asked for that is not in the file.

    Only where there are none: a stage that the file no longer has may have left some.
    """
    if wanted.stage is not None and wanted.stage not in plan.stages:
        raise unknown_stage(wanted.stage, plan, "--stage")


def _say_absent(file: Path, ids: Sequence[str]) -> None:
    click.echo(f"error: no dead letter {', '.join(ids)}; see `streamweaver dlq list {file}`", err=True)


async def _with_box(plan: Plan, data: Path | None, use: Callable[[LetterBox], Awaitable[None]]) -> None:
    async with tool(plan, data_folder(plan, data)) as broker:
        await use(LetterBox(plan, broker, SystemClock()))


def _plain(letter: Letter) -> dict[str, Any]:
    settled = letter.settled
    return {
        "id": letter.id,
        **letter.letter.as_dict(),
        "state": "open" if settled is None else settled.deed,
        "settled_at": None if settled is None else settled.at,
    }


def _content(box: LetterBox, letter: Letter) -> dict[str, Any]:
    found = letter.letter
    content: dict[str, Any] = {
        "key": text_or_base64(found.key),
        "headers": [[name, text_or_base64(data)] for name, data in found.headers],
    }
    try:
        value = box.value(letter)
    except UnreadableError as error:
        return {**content, "value": text_or_base64(found.value), "unreadable": str(error)}
    return {**content, "value": text_or_base64(value) if isinstance(value, bytes) else value}


def _place(letter: Letter) -> str:
    found = letter.letter
    return found.topic if found.offset < 0 else f"{found.topic}[{found.partition}] {found.offset}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)
