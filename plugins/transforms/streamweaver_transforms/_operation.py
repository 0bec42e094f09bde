"""What the operators and functions of conditions do with values.

Values may be null (a missing field is). As in SQL, null spreads: arithmetic, functions and comparisons with null give
null, `not null` is null, `null and false` is false, `null or true` is true. An order comparison between values of
different kinds (text, number, bool, list, mapping) and arithmetic on anything but numbers give null too, and so does
a division by zero. Values of different kinds are never equal. In a condition null, false, 0 and empty are not true.
"""

import ast
import operator
from collections.abc import Callable
from typing import Any

# Whole numbers beyond this take no part in arithmetic, so that products cannot grow without bound.
_BIGGEST = 10**300


def _is_number(value: Any) -> bool:
    kind = type(value)
    return kind is float or (kind is int and -_BIGGEST < value < _BIGGEST)


def _equal(left: Any, right: Any) -> bool | None:
    if left is None or right is None:
        return None
    # To Python true equals 1; here they are of different kinds.
    if (type(left) is bool) is not (type(right) is bool):
        return False
    return bool(left == right)


def _unequal(left: Any, right: Any) -> bool | None:
    same = _equal(left, right)
    return None if same is None else not same


def _ordering(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool | None]:
    numbers = (int, float)

    def apply(left: Any, right: Any) -> bool | None:
        kind, other = type(left), type(right)
        if (kind in numbers and other in numbers) or (kind is str and other is str):
            return compare(left, right)
        return None

    return apply


def _holds(part: Any, whole: Any) -> bool | None:
    """Say whether a text holds a part, a list an item, a mapping a key."""
    if part is None:
        return None
    if type(whole) is list:
        return any(_equal(part, item) for item in whole)
    if type(part) is str and type(whole) in (str, dict):
        return part in whole
    return None


def _lacks(part: Any, whole: Any) -> bool | None:
    held = _holds(part, whole)
    return None if held is None else not held


def _arithmetic(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(left: Any, right: Any) -> Any:
        if not (_is_number(left) and _is_number(right)):
            return None
        try:
            return compute(left, right)
        except (ZeroDivisionError, OverflowError):
            return None

    return apply


COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool | None]] = {
    ast.Eq: _equal,
    ast.NotEq: _unequal,
    ast.Lt: _ordering(operator.lt),
    ast.LtE: _ordering(operator.le),
    ast.Gt: _ordering(operator.gt),
    ast.GtE: _ordering(operator.ge),
    ast.In: _holds,
    ast.NotIn: _lacks,
}

COMPUTATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: _arithmetic(operator.add),
    ast.Sub: _arithmetic(operator.sub),
    ast.Mult: _arithmetic(operator.mul),
    ast.Div: _arithmetic(operator.truediv),
    ast.FloorDiv: _arithmetic(operator.floordiv),
    ast.Mod: _arithmetic(operator.mod),
}


def rounded(value: Any, digits: int) -> Any:
    """Round a number, to a whole one if `digits` is 0; null for what is no finite number."""
    if not _is_number(value):
        return None
    try:
        return round(value, digits) if digits else round(value)
    except (OverflowError, ValueError):  # infinity, NaN
        return None


FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "lower": (1, lambda value: value.lower() if type(value) is str else None),
    "upper": (1, lambda value: value.upper() if type(value) is str else None),
    "len": (1, lambda value: len(value) if type(value) in (str, list, dict) else None),
    "abs": (1, lambda value: abs(value) if _is_number(value) else None),
    "contains": (2, lambda whole, part: _holds(part, whole)),
    "startswith": (2, lambda text, part: text.startswith(part) if type(text) is type(part) is str else None),
    "endswith": (2, lambda text, part: text.endswith(part) if type(text) is type(part) is str else None),
}
