"""`pipeline move`: a pipeline that is stopped goes on at another broker."""

import asyncio
from pathlib import Path
from typing import Any

import attrs
import click

from streamweaver.cli.load import data_folder, load
from streamweaver.cli.output import print_json
from streamweaver.graph.plan import Plan
from streamweaver.runtime.move import move


def move_pipeline(
    file: Path, overrides: tuple[str, ...], to: tuple[str, ...], data: Path | None, as_json: bool
) -> None:
    """Move what a pipeline keeps to the place that the overrides `to` describe; says what is next."""
    old, new = load(file, overrides).plan, load(file, overrides + to).plan
    if old.name != new.name or {s: old.stages[s].kind for s in old.stages} != {
        s: new.stages[s].kind for s in new.stages
    }:
        raise click.BadParameter("it changes the pipeline itself: expected another broker", param_hint="--to")
    if _place(old) == _place(new):
        raise click.BadParameter("it names the broker that the pipeline has already", param_hint="--to")
    folder = data_folder(old, data)
    moved = asyncio.run(move(old, new, old_data=folder, new_data=folder, tell=lambda text: click.echo(text, err=True)))
    if as_json:
        print_json({"topics": moved.topics, "stages": moved.stages})
    click.echo(f"moved {sum(moved.topics.values())} records of {len(moved.topics)} topics", err=True)
    click.echo("Next: name the new broker in the file, and start it; the old place is as it was", err=True)


def _place(plan: Plan) -> tuple[str, dict[str, Any]]:
    return plan.broker.plugin.name, attrs.asdict(plan.broker.options, recurse=False)
