"""`pipeline graph`: which stage reads and writes which topic, as text, Mermaid or JSON."""

from pathlib import Path
from typing import Any

import click

from streamweaver.cli.load import load, say_warnings
from streamweaver.cli.output import print_json
from streamweaver.describe import graph

Graph = dict[str, list[dict[str, Any]]]


def print_graph(file: Path, overrides: tuple[str, ...], form: str) -> None:
    """Print the graph of a valid file."""
    loaded = load(file, overrides)
    say_warnings(loaded)
    found = graph(loaded.plan)
    if form == "json":
        print_json(found)
    else:
        click.echo(mermaid(found) if form == "mermaid" else text(found))


def text(graph: Graph) -> str:
    """Return a line for each stage, writers before readers: `topics -> stage -> topic`."""
    lines = []
    for node in graph["nodes"]:
        if node["kind"] == "topic":
            continue
        sources = [_name(edge["from"]) for edge in graph["edges"] if edge["to"] == node["id"]]
        targets = [_name(edge["to"]) for edge in graph["edges"] if edge["from"] == node["id"]]
        lines.append(" -> ".join(part for part in (", ".join(sources), _label(node), ", ".join(targets)) if part))
    return "\n".join(lines)


def mermaid(graph: Graph) -> str:
    """Return a Mermaid flow chart: producers and sinks with slanted sides, flows as boxes, topics as cylinders."""
    shapes = {"producer": ("[/", "/]"), "flow": ("[", "]"), "sink": ("[\\", "\\]"), "topic": ("[(", ")]")}
    ids = {node["id"]: f"n{number}" for number, node in enumerate(graph["nodes"])}
    lines = ["flowchart LR"]
    for node in graph["nodes"]:
        opening, closing = shapes[node["kind"]]
        lines.append(f'  {ids[node["id"]]}{opening}"{_label(node, "<br/>")}"{closing}')
    lines += [f"  {ids[edge['from']]} --> {ids[edge['to']]}" for edge in graph["edges"]]
    return "\n".join(lines)


def _label(node: dict[str, Any], between: str = " ") -> str:
    name: str = node["name"]
    if node["kind"] == "topic":
        return name
    parts = [part for part in (node["use"], *node["steps"]) if part]
    what = f"{node['kind']}: {', '.join(parts)}" if parts else node["kind"]
    return f"{name}{between}({what})"


def _name(node_id: str) -> str:
    return node_id.partition(":")[2]
