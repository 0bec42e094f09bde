"""A page for each first-party plugin, with what `plugin show` prints, and one that lists them."""

from collections.abc import Iterator
from typing import Any

from tools.reference.markdown import NOTE, cell, fence, prose, table

from streamweaver import describe
from streamweaver.plugin import Kind
from streamweaver.registry import KINDS, Registry

DISTRIBUTION = "streamweaver"

TITLES: dict[Kind, str] = {
    "producer": "Producers",
    "transform": "Transforms",
    "sink": "Sinks",
    "broker": "Brokers",
    "codec": "Codecs",
}


def pages() -> Iterator[tuple[str, str]]:
    """Go through the pages: where each goes, and its text."""
    registry = Registry()
    found = [
        describe.plugin(registry, kind, origin.name)
        for kind in KINDS
        for origin in registry.origins(kind)
        if origin.distribution == DISTRIBUTION
    ]
    yield "plugins/index.md", _index(found)
    for plugin in found:
        yield f"plugins/{_file(plugin)}", page(plugin)


def _file(plugin: dict[str, Any]) -> str:
    return f"{plugin['kind']}-{plugin['name']}.md"


def _index(found: list[dict[str, Any]]) -> str:
    text = f"# Plugins\n\n{NOTE}\nWhat comes along. `streamweaver plugin list` also names what others have brought.\n"
    for kind, title in TITLES.items():
        rows = [
            [f"[`{plugin['name']}`]({_file(plugin)})", cell(plugin["summary"]), plugin["guarantee"] or ""]
            for plugin in found
            if plugin["kind"] == kind
        ]
        text += f"\n## {title}\n\n{table(['plugin', 'what it does', 'guarantee'], rows)}"
    return text


def page(plugin: dict[str, Any]) -> str:
    """Return the page of one plugin, from what `describe.plugin` says of it."""
    text = f"# {plugin['kind']} `{plugin['name']}`\n\n{NOTE}\n{prose(plugin['doc'])}\n"
    facts = describe.facts(plugin)
    if facts:
        text += "\n" + "".join(f"- {label}: {sentence}\n" for label, sentence in facts.items())
    if plugin["options"]:
        rows = [
            [f"`{row['name']}`", cell(describe.takes(row)), cell(row["help"]), _code(row["example"])]
            for row in plugin["options"]
        ]
        text += "\n## Options\n\n" + table(["option", "takes", "meaning", "example"], rows)
    if plugin["example"]:
        text += "\n## Example\n\n" + fence(plugin["example"], "yaml")
    return text


def _code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|") if text else ""
