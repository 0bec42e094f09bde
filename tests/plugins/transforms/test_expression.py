"""The language of conditions: what it computes, and what it does not have."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Record
from streamweaver_transforms._expression import compile_condition

VALUE = {
    "price": 175.25,
    "quantity": 100,
    "zero": 0,
    "symbol": "AAPL",
    "flag": True,
    "off": False,
    "nothing": None,
    "empty": "",
    "tags": ["ai", 3, True],
    "user": {"name": "Ada", "followers": 12, "odd-name": {"x": 1}},
    "odd name": 5,
    "huge": 10**400,
    "record": "a field",
}


def meets(text: str, value: Any = None, **record: Any) -> bool:
    return compile_condition(text)(Record(VALUE if value is None else value, **record))


@pytest.mark.parametrize(
    "text",
    [
        "price > 100",
        "100 < price <= 175.25 < 200",
        "price > 100 and symbol in ['AAPL','MSFT'] and not (level == 'DEBUG') or true",
        "quantity * 2 + 1 == 201",
        "quantity / 8 == 12.5 and quantity // 8 == 12 and quantity % 8 == 4",
        "-quantity == 0 - 100",
        "symbol == 'AAPL' and symbol != 'MSFT'",
        "symbol not in ('IBM', 'MSFT')",
        "symbol in {'AAPL'}",
        "quantity in [-1, 100.0]",
        "flag in [true]",
        "3 in tags and 'ai' in tags and 'x' not in tags",
        "'AP' in symbol and 'x' not in symbol",
        "'name' in user and 'age' not in user",
        "user.followers > 10 and user['name'] == 'Ada'",
        "user['odd-name'].x == 1",
        "tags[0] == 'ai' and tags[-1] == true",
        "field('odd name') == 5",
        "lower(symbol) == 'aapl' and upper(user.name) == 'ADA'",
        "len(symbol) == 4 and len(tags) == 3 and len(user) == 3",
        "abs(0 - price) == price and round(price) == 175 and round(price, 1) == 175.2",
        "contains(symbol, 'AP') and contains(tags, 'ai') and startswith(symbol, 'AA') and endswith(symbol, 'PL')",
        "matches(symbol, '^A+P') and not matches(symbol, '^P')",
        r"matches(symbol, '\w{4}') and matches(symbol, r'\bAAPL\b')",
        "nothing is null and missing is null and price is not null",
        "nothing == null and price != None and null == missing",
        "user.age is null and price.x is null and tags[7] is null and tags['a'] is null and missing.a.b is null",
        "flag and not off and not zero and not empty",
        "flag == true and off == False and flag != off",
        "record_key == 'k' and record_timestamp == 5 and record_value.price > 1",
        "missing or flag",
        "\n  price > 100\n  and quantity > 1  # as in a YAML block\n",
        "symbol == 'ÄÖ' or price > 1",
        "'b' > 'a'",
    ],
)
def test_true(text: str) -> None:
    """These conditions are true of the sample."""
    assert meets(text, key=b"k", timestamp=5) is True


@pytest.mark.parametrize(
    "text",
    [
        "missing > 1",
        "not (missing > 1)",
        "missing == 1",
        "missing != 1",
        "not (missing == missing)",
        "missing in ['a'] or missing not in ['a']",
        "missing and flag",
        "missing",
        "not missing",
        "symbol > 5 or not (symbol > 5)",
        "flag > 0 or flag == 1 or 1 in [true] or true in [1]",
        "tags < tags",
        "price == '175.25'",
        "5 in symbol or not (5 in symbol)",
        "symbol + 'x' == 'AAPLx'",
        "symbol * 3 == 'AAPLAAPLAAPL'",
        "symbol % 2 is not null",
        "price / zero > 0 or not (price / zero > 0) or price % zero is not null or price // zero is not null",
        "huge * huge is not null or huge + 1.5 is not null",
        "round(1e308 * 10) is not null",
        "lower(price) is not null or len(5) is not null or abs('x') is not null or round(symbol) is not null",
        "startswith(price, 'x') is not null or matches(price, 'x') is not null or -symbol is not null",
        "contains(price, 1) is not null",
        "1 < missing < 3",
        "3 < 2 < missing",
        "symbol in user.name.x",
        "tags == 'ai'",
        "record_key == 'x'",
        "zero",
        "empty",
    ],
)
def test_not_true(text: str) -> None:
    """Null spreads, kinds do not mix, and nothing of it is an error."""
    assert meets(text) is False


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("price.__class__", "got the name __class__"),
        ("().__class__.__bases__", "got the name __bases__"),
        ("__import__('os')", "got function __import__"),
        ("__builtins__", "got the name __builtins__"),
        ("'a'.upper()", "got a method call"),
        ("symbol.lower() == 'x'", "got a method call"),
        ("'a'.x", "got .x of a constant"),
        ("open('f')", "got function open"),
        ("eval('1')", "got function eval"),
        ("getattr(user, 'name')", "got function getattr"),
        ("print", ""),
        ("lambda: 1", "got a lambda"),
        ("[x for x in tags]", "got a comprehension"),
        ("any(x for x in tags)", "got function any"),
        ("{x for x in tags}", "got a comprehension"),
        ("x for x in tags", "got a comprehension"),
        ("f'{price}'", "got an f-string"),
        ("price ** 2", "got a power"),
        ("9 ** 9 ** 9 ** 9", "got a power"),
        ("(x := 1)", "got an assignment"),
        ("x := 1", "got an assignment"),
        ("1 if flag else 2", "got an if"),
        ("price << 3", "got `<<`, which"),
        ("price >> 3", "got `>>`, which"),
        ("price & 3", "got `&`, which"),
        ("price | 3", "got `|`, which"),
        ("price ^ 3", "got `^`, which"),
        ("~quantity", "got `~`, which"),
        ("+quantity", "got a leading `+`, which"),
        ("user @ 3", "got `@`, which"),
        ("tags[0:1]", "got a slice"),
        ("[1]", "got a list outside"),
        ("a, b", "got a list outside"),
        ("{'a': 1}", "got a mapping"),
        ("await x", ""),
        ("yield x", "got yield"),
        ("b'x'", "got a bytes"),
        ("1j", "got a complex"),
        ("...", "got a ellipsis"),
        ("*a", ""),
        ("import os", ""),
        ("a = 1", ""),
        ("a; b", ""),
        ("price >", ""),
        (") or (", ""),
        ("from == 'x'", "a field of that name is written field('from')"),
        ("lower(*tags)", "keyword or starred"),
        ("lower(x=1)", "keyword or starred"),
        ("lower(a, b)", "lower: got 2 arguments, expected 1"),
        ("contains(a)", "contains: got 1 arguments, expected 2"),
        ("round(price, 99)", "got 99 digits, expected 0 to 15"),
        ("round(price, n)", "expected a number of digits"),
        ("round(price, true)", "expected a number of digits"),
        ("field(name)", "expected the field's name in quotes"),
        ("matches(symbol, price)", "expected a pattern in quotes"),
        ("matches(symbol, '(')", "missing ), unterminated subpattern"),
        ("matches(symbol, '\bx')", "got a backspace"),
        ("price > null", "got a comparison with null, which is never true"),
        ("null in tags", "got a comparison with null"),
        ("price is 5", "got `is`, expected null"),
        ("symbol in [null]", "got no constant"),
        ("symbol in [price]", "got no constant"),
        ("symbol in [['a']]", "got no constant"),
        ("\0", ""),
        ("", "got an empty expression"),
        ("  # nothing", ""),
    ],
)
def test_refused(text: str, what: str) -> None:
    """Everything that the language does not have is refused when it is compiled, and never run."""
    if text == "print":  # a name is a field, never a builtin
        assert compile_condition(text)(Record({})) is False
        return
    with pytest.raises(ValueError) as raised:
        compile_condition(text)
    assert what in str(raised.value)


def test_the_place_is_in_characters_of_the_text() -> None:
    """Errors name line and column, also after wide characters and on later lines."""
    for text, place in [
        ("open(1)", "line 1, column 1:"),
        ("'äöü' == open(1)", "line 1, column 10:"),
        ("a > 1 and\n  open(1)", "line 2, column 3:"),
        ("a > > 1", "line 1, column 5:"),
    ]:
        with pytest.raises(ValueError) as raised:
            compile_condition(text)
        assert str(raised.value).startswith(place)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 2001,
        "not " * 300 + "a",
        "(" * 150 + "a" + ")" * 150,
        "-" * 1500 + "1",
        "a" + ".b" * 900,
        "+".join("a" * 60),
    ],
)
def test_size_is_bounded(text: str) -> None:
    """Too long and too deep expressions are refused, unless brackets alone make them deep."""
    if text.startswith("("):
        assert compile_condition(text)(Record({"a": 1})) is True
        return
    with pytest.raises(ValueError, match=r"at most 2000|nested"):
        compile_condition(text)


def test_matches_bounds_the_text() -> None:
    """A text beyond the bound is a bad record, not an endless search."""
    with pytest.raises(ValueError, match="got text of 65537 characters, expected at most 65536"):
        meets("matches(text, 'a')", {"text": "b" * 65_537})


# Python evaluates the same text over the same values, where the language promises Python's results.
_numbers = st.sampled_from(["a", "b", "c", "1", "2.5", "-3"])
_sums = st.recursive(
    _numbers,
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=4,
)
_tests = st.one_of(
    st.tuples(_sums, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), _sums).map(" ".join),
    st.tuples(_sums, _sums, _sums).map(" < ".join),
    st.sampled_from(["s == 'x'", "s in ['x', 'y']", "s not in ['x']", "'x' in s", "a in [1, 2, 2.5]", "s < 'y'"]),
)
_conditions = st.recursive(
    _tests,
    lambda inner: st.one_of(
        inner.map(lambda text: f"not ({text})"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + " and ".join(parts) + ")"),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: "(" + " or ".join(parts) + ")"),
    ),
    max_leaves=8,
)
_finite = st.one_of(st.integers(-5, 5), st.floats(-1e3, 1e3))


@given(_conditions, _finite, _finite, _finite, st.text("xyz", max_size=3))
def test_equals_python(text: str, a: float, b: float, c: float, s: str) -> None:
    """On numbers and texts that are there a condition is what Python says."""
    fields = {"a": a, "b": b, "c": c, "s": s}
    assert compile_condition(text)(Record(fields)) is bool(eval(text, {}, dict(fields)))


def _three(text: str, null: bool) -> bool | None:
    condition = compile_condition(text)
    record = Record({"t": True, "f": False, **({"n": None} if null else {})})
    if condition(record):
        return True
    return False if compile_condition(f"not ({text})")(record) else None


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize("left", "tfn")
@pytest.mark.parametrize("right", "tfn")
def test_three_valued_logic(left: str, right: str, null: bool) -> None:
    """And, or, not follow the truth tables of SQL, for null and for a missing field."""
    truth: dict[str, bool | None] = {"t": True, "f": False, "n": None}
    a, b = truth[left], truth[right]
    both = False if a is False or b is False else None if a is None or b is None else True
    either = True if a or b else None if a is None or b is None else False
    assert _three(f"{left} and {right}", null) is both
    assert _three(f"{left} or {right}", null) is either


def test_nan_is_like_python() -> None:
    """NaN compares as in Python, and rounding it gives null."""
    assert meets("x != x", {"x": math.nan}) is True
    assert meets("round(x) is null", {"x": math.nan}) is True
