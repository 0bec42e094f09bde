"""References: `${env:NAME}`, `${env:NAME:-default}` and `${file:PATH}` in the values of a tree."""

import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from streamweaver.config.node import Findings, Node, Reference
from streamweaver.config.scalar import typed
from streamweaver.config.source import MAX_BYTES

# `$${` stands for a literal `${`; a `${` that is never closed is found by the last branch.
_ESCAPE_OR_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_ENV = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)(:-(.*))?", re.DOTALL)


def resolve(node: Node, environ: Mapping[str, str], folder: Path, findings: Findings) -> Node:
    """Return the tree with every reference replaced; what cannot be replaced is a finding and a mark.

    Only values hold references, never keys. What comes in is one scalar, whatever it looks like: it is never parsed
    as YAML and never searched for references again. An unquoted value that is one `${env:...}` as a whole gets its
    type by the rules for unquoted scalars; in quotes, inside a longer text, and from a file it is text. As in a
    shell, the default stands in for a variable that is unset or empty. Of a file one newline at the end is dropped;
    relative paths start at `folder`. `$${` is a literal `${`.
    """
    if node.kind == "mapping":
        value = {key: resolve(child, environ, folder, findings) for key, child in node.value.items()}
        return attrs.evolve(node, value=value)
    if node.kind == "sequence":
        return attrs.evolve(node, value=[resolve(child, environ, folder, findings) for child in node.value])
    if not isinstance(node.value, str) or "${" not in node.value:
        return node
    found: list[Reference] = []
    failed = False

    def replace(match: re.Match[str]) -> str:
        nonlocal failed
        if match[0] == "$${":
            return "${"
        try:
            reference = _look_up(match[0], match[1], environ, folder)
        except LookupError as error:
            findings.add(node, str(error.args[0]))
            failed = True
            return ""
        found.append(reference)
        return reference.value

    whole = _ESCAPE_OR_REFERENCE.fullmatch(node.value)
    text = _ESCAPE_OR_REFERENCE.sub(replace, node.value)
    if failed:
        return attrs.evolve(node, unresolved=True)
    gets_type = node.plain and whole and found and found[0].kind == "env"
    return attrs.evolve(node, value=typed(text) if gets_type else text, references=tuple(found))


def _look_up(text: str, body: str | None, environ: Mapping[str, str], folder: Path) -> Reference:
    """Return what a reference stands for; LookupError with a text for the user when there is nothing."""
    if body is None:
        raise LookupError("a reference begins with ${ and is never closed; write $${ for a literal ${")
    if match := _ENV.fullmatch(body):
        name, default = match[1], match[3]
        value = environ.get(name)
        if default is not None:
            value = value or default
        if value is None:
            raise LookupError(
                f"environment variable {name} is not set; set it, or give a default: ${{env:{name}:-...}}"
            )
        return Reference(f"${{env:{name}}}", "env", value)
    kind, _, path = body.partition(":")
    if kind == "file" and path:
        return Reference(text, "file", _read(text, folder / path))
    shown = text.partition(":-")[0].removesuffix("}")
    raise LookupError(
        f"unknown reference {shown}}}, expected ${{env:NAME}} or ${{file:PATH}}; write $${{ for a literal ${{"
    )


def _read(text: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        content = raw.decode()
    except (OSError, ValueError) as error:
        # The text of a UnicodeDecodeError shows the bytes, so it is not used.
        why = (error.strerror or "unknown error").lower() if isinstance(error, OSError) else "it is no UTF-8 text"
        raise LookupError(f"{text}: file {str(path)!r} cannot be read: {why}") from None
    if len(raw) > MAX_BYTES:
        raise LookupError(f"{text}: file {str(path)!r} is larger than {MAX_BYTES >> 10} KiB")
    return content.removesuffix("\n").removesuffix("\r")
