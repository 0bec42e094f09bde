"""Pipeline files to values: parse, override, resolve, convert; and what is known about options, as schema and rows.

The usual way is `read` (a file to a resolved tree), then `structure` for each part of it with one `Findings` for all,
then `Findings.raise_errors`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamweaver.config.convert import structure
from streamweaver.config.fields import FieldRow, fields_table
from streamweaver.config.node import Findings, Mark, Node, Reference, join, suggest
from streamweaver.config.override import apply
from streamweaver.config.redact import Redactor, redactor
from streamweaver.config.reference import resolve
from streamweaver.config.schema import Definitions, json_schema, object_schema, schema_of
from streamweaver.config.source import load, parse
from streamweaver.config.words import expected, got
from streamweaver.units import Seconds, Size, to_seconds, to_size

__all__ = [
    "Definitions",
    "FieldRow",
    "Findings",
    "Mark",
    "Node",
    "Redactor",
    "Reference",
    "Seconds",
    "Size",
    "apply",
    "expected",
    "fields_table",
    "got",
    "join",
    "json_schema",
    "load",
    "object_schema",
    "parse",
    "read",
    "redactor",
    "resolve",
    "schema_of",
    "structure",
    "suggest",
    "to_seconds",
    "to_size",
]


def read(
    path: Path,
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    findings: Findings | None = None,
) -> Node:
    """Load a file, apply overrides and resolve references; ConfigError with every finding.

    `environ` is the process's environment unless given. Relative paths of `${file:...}` start at the file's folder.
    With `findings`, only a file that is no YAML raises; what is not allowed in it, and failing overrides and
    references, are noted there, and the tree goes on to `structure`, which does not judge what could not be resolved:
    so one pass tells everything.
    """
    collector = Findings() if findings is None else findings
    tree = apply(load(path, findings), *overrides, findings=collector)
    tree = resolve(tree, os.environ if environ is None else environ, path.parent, collector)
    if findings is None:
        collector.raise_errors()
    return tree
