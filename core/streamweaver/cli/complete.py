"""Completion of names in the shell, from the pipeline file as it stands, also when it is not valid (yet)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from streamweaver.config import Node

STAGES = ("producers", "flows", "sinks")


def stage_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the last of some stage names that are separated by commas."""
    before, comma, start = incomplete.rpartition(",")
    given = set(before.split(","))
    tree = _tree(ctx)
    names = [name for section in STAGES for name in _keys(tree, section)]
    return _items([before + comma + name for name in names if name.startswith(start) and name not in given])


def topic_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete the name of a topic: declared, named by a stage, or the pipeline's own."""
    tree = _tree(ctx)
    names = set(_keys(tree, "topics"))
    for section in STAGES:
        for name in _keys(tree, section):
            stage = tree.data()[section][name] if tree is not None else None
            for value in [stage.get("to"), stage.get("from")] if isinstance(stage, dict) else []:
                names.update(_texts(value))
    pipeline = tree.get("name") if tree is not None else None
    if pipeline is not None:
        names |= {f"{pipeline.value}.{own}" for own in ("dead_letters", "settled_letters", "metrics")}
    return _items(sorted(name for name in names if name.startswith(incomplete)))


def plugin_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Complete KIND or NAME of a plugin; after a kind, the names of that kind."""
    from streamweaver.registry import KINDS, Registry

    registry = Registry()
    given = ctx.params.get("names") or ()
    kinds = [kind for kind in KINDS if kind in given] or KINDS
    names = {name for kind in kinds for name in registry.names(kind)} | (set() if given else set(KINDS))
    return _items(sorted(name for name in names if name.startswith(incomplete)))


def _tree(ctx: click.Context) -> "Node | None":
    from streamweaver.config import load
    from streamweaver.errors import ConfigError

    try:
        return load(Path(ctx.params["file"]))
    except (ConfigError, KeyError, TypeError):
        return None


def _keys(tree: "Node | None", section: str) -> list[str]:
    node = None if tree is None else tree.get(section)
    return [] if node is None or node.kind != "mapping" else list(node.value)


def _texts(value: Any) -> list[str]:
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, str)]


def _items(names: list[str]) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in names]
