"""A small, safe expression language over the fields of a record, compiled once to closures.

The text has Python's syntax and is parsed by Python, but nothing of it is ever run as Python: every node of the tree
is turned into a closure by this module, or refused with its place. So an expression can reach the record and nothing
else, and its cost is bounded by its length.
"""

import ast
import keyword
import operator
import re
import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

from streamweaver import Record
from streamweaver_transforms._field import no_mapping, show
from streamweaver_transforms._operation import COMPARISONS, COMPUTATIONS, FUNCTIONS, rounded

Evaluate: TypeAlias = Callable[[Record], Any]

MOST_CHARACTERS = 2000
DEEPEST = 40
MOST_SEARCHED = 65_536
"""Longest text, in characters, that `matches` searches."""


def compile_condition(text: str) -> Callable[[Record], bool]:
    """Compile an expression; the result says whether a record meets it.

    ValueError, with line and column within the text, for whatever the language does not have. The compiled condition
    raises ValueError for a record whose value is no mapping (if it looks at a field), and for a text that is too long
    for `matches`.
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"got an expression of {len(text)} characters, expected at most {MOST_CHARACTERS}")
    if not text.strip():
        raise ValueError("got an empty expression, expected a condition such as price > 100")
    try:
        with warnings.catch_warnings():
            # A pattern such as '\d+' is fine here; Python would rather see it raw.
            warnings.simplefilter("ignore")
            # In brackets, because line breaks and indents of a YAML block do not matter.
            tree = ast.parse(f"({text}\n)", mode="eval")
    except SyntaxError as error:
        lines = text.splitlines()
        line, column = error.lineno or 1, error.offset or 1
        if line > len(lines):  # something is missing at the end
            line, column = len(lines), len(lines[-1]) + 1
        elif line == 1:
            column = max(column - 1, 1)
        hint = _keyword_hint(lines[line - 1][column - 1 :])
        raise ValueError(f"line {line}, column {column}: {error.msg}{hint}") from None
    except (RecursionError, MemoryError, ValueError):
        raise ValueError("the expression cannot be read: it is nested too deeply or has null characters") from None
    evaluate = _Compiler(text).compile(tree.body, 0)
    return lambda record: bool(evaluate(record))


def _keyword_hint(rest: str) -> str:
    word = re.match(r"\w*", rest)
    if word and keyword.iskeyword(word[0]) and word[0] not in ("and", "or", "not", "in", "is"):
        return f"; a field of that name is written field('{word[0]}')"
    return ""


_KNOWN = ", ".join([*FUNCTIONS, "matches", "round", "field"])

_CONSTANTS = {"null": None, "true": True, "false": False}

_REFUSED: dict[type[ast.AST], str] = {
    ast.Pow: "a power",
    ast.LShift: "`<<`",
    ast.RShift: "`>>`",
    ast.BitAnd: "`&`",
    ast.BitOr: "`|`",
    ast.BitXor: "`^`",
    ast.MatMult: "`@`",
    ast.Invert: "`~`",
    ast.UAdd: "a leading `+`",
    ast.Lambda: "a lambda",
    ast.JoinedStr: "an f-string",
    ast.NamedExpr: "an assignment",
    ast.IfExp: "an if",
    ast.ListComp: "a comprehension",
    ast.SetComp: "a comprehension",
    ast.DictComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.Slice: "a slice",
    ast.List: "a list outside of `in [...]`",
    ast.Tuple: "a list outside of `in [...]`",
    ast.Set: "a set outside of `in {...}`",
    ast.Dict: "a mapping",
}


# -- closures ---------------------------------------------------------------------------------------


def _always(value: Any) -> Evaluate:
    return lambda _record: value


def _field(name: str) -> Evaluate:
    def field(record: Record) -> Any:
        value = record.value
        if type(value) is dict:
            return value.get(name)
        raise no_mapping(value)

    return field


def _record_key(record: Record) -> Any:
    return record.key.decode(errors="replace") if isinstance(record.key, bytes) else record.key


_RECORD: dict[str, Evaluate] = {
    "record_key": _record_key,
    "record_timestamp": operator.attrgetter("timestamp"),
    "record_value": operator.attrgetter("value"),
}


def _all(parts: list[Evaluate]) -> Evaluate:
    def both(record: Record) -> bool | None:
        result: bool | None = True
        for part in parts:
            value = part(record)
            if value is None:
                result = None
            elif not value:
                return False
        return result

    return both


def _any(parts: list[Evaluate]) -> Evaluate:
    def either(record: Record) -> bool | None:
        result: bool | None = False
        for part in parts:
            value = part(record)
            if value is None:
                result = None
            elif value:
                return True
        return result

    return either


def _not(part: Evaluate) -> Evaluate:
    def negated(record: Record) -> bool | None:
        value = part(record)
        return None if value is None else not value

    return negated


def _pair(apply: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate) -> Evaluate:
    return lambda record: apply(left(record), right(record))


def _item(holder: Evaluate, index: Evaluate) -> Evaluate:
    def item(record: Record) -> Any:
        held, at = holder(record), index(record)
        if type(held) is dict and type(at) is str:
            return held.get(at)
        if type(held) is list and type(at) is int and -len(held) <= at < len(held):
            return held[at]
        return None

    return item


def _one_of(value: Evaluate, choices: list[Any], wanted: bool) -> Evaluate:
    flags = frozenset(choice for choice in choices if type(choice) is bool)
    others = frozenset(choice for choice in choices if type(choice) is not bool)

    def member(record: Record) -> bool | None:
        held = value(record)
        kind = type(held)
        if kind is str or kind is int or kind is float:
            return (held in others) is wanted
        if kind is bool:
            return (held in flags) is wanted
        return None if held is None else not wanted

    return member


def _search(text: Evaluate, pattern: re.Pattern[str]) -> Evaluate:
    search = pattern.search

    def matches(record: Record) -> bool | None:
        held = text(record)
        if type(held) is not str:
            return None
        if len(held) > MOST_SEARCHED:
            raise ValueError(f"matches: got text of {len(held)} characters, expected at most {MOST_SEARCHED}")
        return search(held) is not None

    return matches


# -- the tree ---------------------------------------------------------------------------------------


class _Compiler:
    """Turns nodes into closures; what has no method here does not exist in the language."""

    def __init__(self, text: str) -> None:
        self._lines = f"({text}".splitlines() or [""]
        self._methods: dict[type[ast.AST], Callable[[Any, int], Evaluate]] = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Subscript: self._subscript,
            ast.BoolOp: self._logic,
            ast.UnaryOp: self._unary,
            ast.BinOp: self._binary,
            ast.Compare: self._comparison,
            ast.Call: self._call,
        }

    def compile(self, node: ast.expr, depth: int) -> Evaluate:
        if depth > DEEPEST:
            raise self._error(node, f"nested deeper than {DEEPEST} levels")
        method = self._methods.get(type(node))
        if method is None:
            raise self._refuse(node, node)
        return method(node, depth + 1)

    def _error(self, node: ast.expr, why: str) -> ValueError:
        line = self._lines[node.lineno - 1] if node.lineno <= len(self._lines) else ""
        # Offsets of the tree count UTF-8 bytes, and the first line has a bracket more.
        column = len(line.encode()[: node.col_offset].decode(errors="replace")) + (node.lineno > 1)
        return ValueError(f"line {node.lineno}, column {column}: {why}")

    def _refuse(self, node: ast.expr, part: ast.AST) -> ValueError:
        what = _REFUSED.get(type(part), f"{type(part).__name__.lower()}")
        return self._error(node, f"got {what}, which the language of conditions does not have")

    def _constant(self, node: ast.Constant, _depth: int) -> Evaluate:
        value = node.value
        if value is not None and type(value) not in (str, int, float, bool):
            raise self._error(node, f"got a {type(value).__name__}, expected text, a number, true, false or null")
        return _always(value)

    def _name(self, node: ast.Name, _depth: int) -> Evaluate:
        name = node.id
        if name in _CONSTANTS:
            return _always(_CONSTANTS[name])
        if name.startswith("__"):
            raise self._error(node, f"got the name {name}, expected a field; write field('{name}') if it is one")
        return _RECORD.get(name) or _field(name)

    def _attribute(self, node: ast.Attribute, depth: int) -> Evaluate:
        if node.attr.startswith("__"):
            raise self._error(node, f"got the name {node.attr}, expected a field; write ['{node.attr}'] if it is one")
        if isinstance(node.value, ast.Constant):
            raise self._error(node, f"got .{node.attr} of a constant, expected a field before the dot")
        return _item(self.compile(node.value, depth), _always(node.attr))

    def _subscript(self, node: ast.Subscript, depth: int) -> Evaluate:
        return _item(self.compile(node.value, depth), self.compile(node.slice, depth))

    def _logic(self, node: ast.BoolOp, depth: int) -> Evaluate:
        parts = [self.compile(part, depth) for part in node.values]
        return _all(parts) if isinstance(node.op, ast.And) else _any(parts)

    def _unary(self, node: ast.UnaryOp, depth: int) -> Evaluate:
        part = self.compile(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return _not(part)
        if isinstance(node.op, ast.USub):
            return _pair(COMPUTATIONS[ast.Sub], _always(0), part)
        raise self._refuse(node, node.op)

    def _binary(self, node: ast.BinOp, depth: int) -> Evaluate:
        compute = COMPUTATIONS.get(type(node.op))
        if compute is None:
            raise self._refuse(node, node.op)
        return _pair(compute, self.compile(node.left, depth), self.compile(node.right, depth))

    def _comparison(self, node: ast.Compare, depth: int) -> Evaluate:
        operands = [node.left, *node.comparators]
        links = zip(node.ops, operands[:-1], operands[1:], strict=True)
        parts = [self._link(compare, left, right, depth) for compare, left, right in links]
        return parts[0] if len(parts) == 1 else _all(parts)

    def _link(self, compare: ast.cmpop, left: ast.expr, right: ast.expr, depth: int) -> Evaluate:
        kind = type(compare)
        if _is_null(left) or _is_null(right):
            if kind not in (ast.Eq, ast.NotEq, ast.Is, ast.IsNot):
                raise self._error(right, "got a comparison with null, which is never true; write `is null`")
            value, wanted = self.compile(right if _is_null(left) else left, depth), kind in (ast.Eq, ast.Is)
            return lambda record: (value(record) is None) is wanted
        if kind in (ast.Is, ast.IsNot):
            raise self._error(right, "got `is`, expected null after it; write == to compare values")
        if kind in (ast.In, ast.NotIn) and isinstance(right, ast.List | ast.Tuple | ast.Set):
            choices = [self._choice(item) for item in right.elts]
            return _one_of(self.compile(left, depth), choices, kind is ast.In)
        return _pair(COMPARISONS[kind], self.compile(left, depth), self.compile(right, depth))

    def _choice(self, node: ast.expr) -> Any:
        try:
            value = _CONSTANTS[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node)
        except (KeyError, ValueError):
            value = None
        if type(value) not in (str, int, float, bool):
            raise self._error(node, "got no constant, expected text, numbers, true or false in the list")
        return value

    def _call(self, node: ast.Call, depth: int) -> Evaluate:
        if not isinstance(node.func, ast.Name):
            raise self._error(node, f"got a method call, expected a function: {_KNOWN}")
        name = node.func.id
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self._error(node, f"{name}: got keyword or starred arguments, expected plain ones")
        if name in ("field", "matches", "round"):
            return self._special(node, name, depth)
        if name not in FUNCTIONS:
            raise self._error(node, f"got function {name}, expected one of {_KNOWN}")
        count, function = FUNCTIONS[name]
        self._count(node, name, count)
        arguments = [self.compile(argument, depth) for argument in node.args]
        if count == 1:
            (only,) = arguments
            return lambda record: function(only(record))
        return _pair(function, *arguments)

    def _special(self, node: ast.Call, name: str, depth: int) -> Evaluate:
        """Compile the functions that want a constant."""
        if name == "field":
            self._count(node, name, 1)
            return _field(self._literal(node.args[0], str, "the field's name in quotes"))
        if name == "matches":
            self._count(node, name, 2)
            return _search(self.compile(node.args[0], depth), self._pattern(node.args[1]))
        digits = 0
        if len(node.args) != 1:
            self._count(node, name, 2)
            digits = self._literal(node.args[1], int, "a number of digits from 0 to 15")
            if not 0 <= digits <= 15:
                raise self._error(node.args[1], f"got {digits} digits, expected 0 to 15")
        value = self.compile(node.args[0], depth)
        return lambda record: rounded(value(record), digits)

    def _pattern(self, node: ast.expr) -> re.Pattern[str]:
        text = self._literal(node, str, "a pattern in quotes")
        if "\b" in text:
            raise self._error(node, "got a backspace in the pattern; write r'...' for \\b to be a word boundary")
        try:
            return re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            raise self._error(node, f"pattern {show(text)}: {error}") from None

    def _literal(self, node: ast.expr, kind: type, expected: str) -> Any:
        if not isinstance(node, ast.Constant) or type(node.value) is not kind:
            raise self._error(node, f"expected {expected}")
        return node.value

    def _count(self, node: ast.Call, name: str, count: int) -> None:
        if len(node.args) != count:
            raise self._error(node, f"{name}: got {len(node.args)} arguments, expected {count}")


def _is_null(node: ast.expr) -> bool:
    return (isinstance(node, ast.Constant) and node.value is None) or (isinstance(node, ast.Name) and node.id == "null")
