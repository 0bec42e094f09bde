"""The pages of the public modules: the facade, the testing kit, the errors and the hooks."""

import ast

from tools.reference.markdown import NOTE, cell, prose, table
from tools.reference.python_page import Name, find, section, sections, source

import streamweaver
import streamweaver.views
from streamweaver import testing
from streamweaver.hooks import Hooks
from streamweaver.registry import KINDS
from streamweaver.testing import conformance, fixtures

GROUPS = {
    "streamweaver.decorators": "Declaring a plugin",
    "streamweaver.plugin": "Options and versions",
    "streamweaver.record": "Records",
    "streamweaver.contracts": "Contracts",
    "streamweaver.units": "Units",
    "streamweaver.errors": "Errors",
}
"""The modules behind the facade, in the order in which their names are told of."""


def facade() -> str:
    """Return the page of `streamweaver`."""
    found = [find(name, "streamweaver") for name in streamweaver.__all__]
    text = f"# `streamweaver`\n\n{NOTE}\n{prose(streamweaver.__doc__ or '')}"
    for module, title in GROUPS.items():
        text += f"\n## {title}\n"
        if module == "streamweaver.errors":
            names = ", ".join(
                f"[`{name.name}`](errors.md#{name.name.lower()})" for name in found if name.module == module
            )
            text += f"\nDescribed on [a page of their own](errors.md): {names}.\n"
            continue
        order = {node.name: place for place, node in enumerate(source(module).body) if hasattr(node, "name")}
        own = sorted((name for name in found if name.module == module), key=lambda name: order.get(name.name, 0))
        # The decorators' names are those of the contracts, but for a capital: their anchors would be the same.
        title = "The decorator `{}`" if module == "streamweaver.decorators" else "`{}`"
        text += "".join(section(name, title=title.format(name.name)) for name in own)
    left = [name for name in found if name.module not in GROUPS]
    if left:
        text += "\n## Further\n" + "".join(map(section, left))
    return text


def testing_page() -> str:
    """Return the page of `streamweaver.testing`."""
    text = f"# `streamweaver.testing`\n\n{NOTE}\n{prose(testing.__doc__ or '')}\n"
    text += sections(testing.__all__, "streamweaver.testing")
    text += f"\n## `streamweaver.testing.fixtures`\n\n{prose(fixtures.__doc__ or '')}\n"
    text += sections(fixtures.__all__, "streamweaver.testing.fixtures")
    text += f"\n## `streamweaver.testing.conformance`\n\n{prose(conformance.__doc__ or '')}"
    text += sections(conformance.__all__, "streamweaver.testing.conformance")
    text += (
        "\n## Behaviours\n\nWhat the kit asks, by kind. Whoever fails a behaviour that guards a guarantee may "
        "claim the next lower one only. Conditions say when a behaviour is not asked for.\n"
    )
    for kind in KINDS:
        rows = [
            [
                f"`{behaviour.name}`",
                cell(behaviour.promise),
                behaviour.guards or "",
                cell("; ".join(need.why for need in behaviour.needs)),
            ]
            for behaviour in conformance.behaviours(kind)
        ]
        text += f"\n### Of a {kind}\n\n{table(['behaviour', 'promise', 'guards', 'not asked when'], rows)}"
    return text


def views() -> str:
    """Return the page of `streamweaver.views`."""
    text = f"# `streamweaver.views`\n\n{NOTE}\n{prose(source_text('streamweaver.views'))}\n"
    return text + sections(streamweaver.views.__all__, "streamweaver.views", 2)


def errors() -> str:
    """Return the page of every error."""
    tree = source("streamweaver.errors")
    text = f"# Errors\n\n{NOTE}\n{prose(ast.get_docstring(tree) or '')}\n\n"
    text += (
        "`BadRecord`, `Retriable` and `Fatal` are what a plugin raises; the others it may catch, or only read about.\n"
    )
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            doc = ast.get_docstring(node)
            if not doc:
                raise LookupError(f"streamweaver.errors.{node.name} has no docstring")
            public = f"`from streamweaver import {node.name}`\n\n" if node.name in streamweaver.__all__ else ""
            shown = section(Name(node.name, "streamweaver.errors", node, doc), 2)
            text += shown.replace(f"\n\n{prose(doc)}", f"\n\n{public}{prose(doc)}", 1)
    return text


def hooks() -> str:
    """Return the page of the hooks."""
    text = f"# Hooks\n\n{NOTE}\n{prose(source_text('streamweaver.hooks'))}\n\n"
    text += "How to write one: [an observer](../how-to/write-an-observer.md).\n"
    text += sections(["observer", "Surroundings"], "streamweaver.hooks", 2)
    text += f"\n## Every hook\n\n{prose(Hooks.__doc__ or '')}\n"
    specified = find("Hooks", "streamweaver.hooks").node
    assert isinstance(specified, ast.ClassDef), "hooks are specified in a class"
    for node in specified.body:
        if isinstance(node, ast.FunctionDef):
            text += section(Name(node.name, "streamweaver.hooks", node, ast.get_docstring(node) or ""))
    return text


def source_text(module: str) -> str:
    """Return the docstring of a module."""
    return ast.get_docstring(source(module)) or ""
