"""Pages of public names: each with its signature and docstring, read from the source, where both stand as written."""

import ast
import importlib.util
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
from tools.reference.markdown import fence, prose

_LONGEST = 100

_MEMBERS = ast.FunctionDef | ast.AsyncFunctionDef | ast.AnnAssign


@attrs.frozen
class Name:
    """A public name: where it is defined, and what stands there."""

    name: str
    module: str
    node: ast.stmt
    text: str
    """Its docstring."""


def source(module: str) -> ast.Module:
    """Return the tree of a module."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"{module} has no source"
    assert spec.origin is not None, f"{module} has no source"
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def find(name: str, module: str) -> Name:
    """Return a name that a module has, wherever it is defined; LookupError when it has neither name nor docstring."""
    body = source(module).body
    for node in body:
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return find(name, node.module)
    # From the end: of the overloads of a function the last one is the function.
    for node, text in reversed(list(_with_text(body))):
        if _name_of(node) == name:
            if not text:
                raise LookupError(f"{module}.{name} has no docstring")
            return Name(name, module, node, text)
    raise LookupError(f"{module} has no {name}")


def _with_text(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Go through definitions with their docstrings; that of a value is the text below it."""
    for node, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            value = after.value if isinstance(after, ast.Expr) else None
            found = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
            yield node, inspect.cleandoc(found)


def _name_of(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign):
        return node.targets[0].id if isinstance(node.targets[0], ast.Name) else ""
    if isinstance(node, ast.AnnAssign):
        return node.target.id if isinstance(node.target, ast.Name) else ""
    return getattr(node, "name", "")


def section(found: Name, level: int = 3, title: str = "") -> str:
    """Return the section of a name: its signature, its docstring, and what it has that needs words."""
    heading = f"{'#' * level} {title or f'`{found.name}`'}"
    text = f"\n{heading}\n\n{fence(_signature(found.node), 'python')}\n{prose(found.text)}\n"
    if isinstance(found.node, ast.ClassDef):
        for node, doc in _with_text(found.node.body):
            if doc and isinstance(node, _MEMBERS) and _is_public(_name_of(node)):
                text += f"\n- `{_name_of(node)}`\n\n{textwrap.indent(prose(doc), '    ')}\n"
    return text


def sections(names: Iterable[str], module: str, level: int = 3) -> str:
    """Return the sections of some names of a module."""
    return "".join(section(find(name, module), level) for name in names)


def _is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name != "__attrs_post_init__")


def _signature(node: ast.stmt) -> str:
    """Return the code of a definition without its body; of a class with its members."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return f"{_kind(node)}{_line(node)}"
    if not isinstance(node, ast.ClassDef):
        return ast.unparse(node)
    bases = ", ".join(map(ast.unparse, node.bases))
    members = [
        textwrap.indent(f"{_kind(member)}{_line(member)}", "    ")
        for member in node.body
        if isinstance(member, _MEMBERS) and _is_public(_name_of(member)) and not _is_hidden(member)
    ]
    return "\n".join([f"class {node.name}{f'({bases})' if bases else ''}:", *(members or ["    ..."])])


def _kind(node: ast.stmt) -> str:
    if isinstance(node, ast.AnnAssign):
        return ""
    decorated = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])]
    return (
        "@property\ndef "
        if "property" in decorated
        else "async def "
        if isinstance(node, ast.AsyncFunctionDef)
        else "def "
    )


def _is_hidden(node: ast.stmt) -> bool:
    """Whether it is a field that its class does not show: the engine's own."""
    value = node.value if isinstance(node, ast.AnnAssign) else None
    return isinstance(value, ast.Call) and any(word.arg == "repr" for word in value.keywords)


def _line(node: ast.stmt) -> str:
    """Return a member as code; the parameters of a function stand below each other where one line cannot hold them."""
    if isinstance(node, ast.AnnAssign):
        # What stands behind `attrs.field(` says how it is stored, and nothing to a reader.
        value = "" if node.value is None or isinstance(node.value, ast.Call) else f" = {ast.unparse(node.value)}"
        return f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}{value}"
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef), ast.dump(node)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    parameters = list(_parameters(node.args))
    line = f"{node.name}({', '.join(parameters)}){returns}"
    if len(line) <= _LONGEST:
        return line
    return f"{node.name}(\n" + "".join(f"    {part},\n" for part in parameters) + f"){returns}"


def _parameters(arguments: ast.arguments) -> Iterator[str]:
    """Go through the parameters as they are written, `self` left out."""
    first = [*arguments.posonlyargs, *arguments.args]
    values: list[ast.expr | None] = [*[None] * (len(first) - len(arguments.defaults)), *arguments.defaults]
    for place, (argument, value) in enumerate(zip(first, values, strict=True), 1):
        if argument.arg != "self":
            yield _parameter(argument, value)
        if place == len(arguments.posonlyargs) and len(first[:place]) > (first[0].arg == "self"):
            yield "/"
    if arguments.vararg is not None:
        yield f"*{_parameter(arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _parameter(argument, value)
    if arguments.kwarg is not None:
        yield f"**{_parameter(arguments.kwarg, None)}"


def _parameter(argument: ast.arg, value: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation is not None else ""
    return f"{argument.arg}{kind}" + (f" = {ast.unparse(value)}" if value is not None else "")
