# ruff: noqa: E501 - tables of whole messages
"""Parsing: what is text, what is a number, what is refused, and where."""

import json
import textwrap
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.config import Findings, Node, load, parse
from streamweaver.config import source as module
from streamweaver.config.scalar import typed
from streamweaver.errors import ConfigError

PRINTABLE = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff\u2028\u2029")
    | st.sampled_from("\n\t'\":#{}[]&*!|>%@`,-?~${}")
)


def findings(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("0o17", 15),
        ("0xFF", 255),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("010", "010"),
        ("01.5", "01.5"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2025-06-15", "2025-06-15"),
        ("1.2.3", "1.2.3"),
        ("0b1", "0b1"),
        ("5\n", "5\n"),
        ("٣", "٣"),
        ("9" * 5000, "9" * 5000),
        ("0x" + "f" * 5000, "0x" + "f" * 5000),
    ],
)
def test_unquoted_scalars_have_the_types_of_yaml_1_2(text: str, value: object) -> None:
    """An unquoted scalar has the type of the YAML 1.2 core schema, but a leading zero makes it text."""
    assert typed(text) == value
    assert type(typed(text)) is type(value)


@given(PRINTABLE)
def test_any_quoted_text_survives(text: str) -> None:
    """Text in quotes comes out as the same text, whatever it looks like."""
    written = yaml.safe_dump({"key": text}, default_style='"', allow_unicode=True)
    assert parse(written, "f").data() == {"key": text}


@given(st.text(st.sampled_from("0123456789.+-eExoaftrulsn_:~ "), max_size=8))
def test_a_plain_scalar_is_typed_by_the_same_rules_as_text(text: str) -> None:
    """Where YAML reads a line as one plain scalar, its value is that of `typed`."""
    try:
        node = parse(f"[{text}]", "f")
    except ConfigError:
        return
    if len(node.value) == 1 and node.value[0].plain:
        assert repr(node.value[0].value) == repr(typed(text.strip()))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | PRINTABLE,
        lambda inner: st.lists(inner) | st.dictionaries(PRINTABLE, inner),
        max_leaves=12,
    )
)
def test_every_json_document_means_the_same_as_yaml(value: object) -> None:
    """JSON is YAML: lists, mappings, numbers and text come out as JSON has them."""
    text = json.dumps([value], ensure_ascii=False)
    assert parse(text, "f").data() == [value]


def places(node: Node) -> list[tuple[str, int, int]]:
    return [(part.path, part.mark.line, part.mark.column) for part in node.walk()]


def test_every_node_knows_its_path_line_and_column() -> None:
    """Marks count from 1 in characters, and paths go through mappings and lists."""
    node = parse('# é\nname: "😀"\nflows:\n  p: {ü: ö, steps: [1, {size: 2}]}\n  "a.b":\n', "f")
    assert places(node) == [
        ("", 2, 1),
        ("name", 2, 7),
        ("flows", 4, 3),
        ("flows.p", 4, 6),
        ("flows.p.ü", 4, 10),
        ("flows.p.steps", 4, 20),
        ("flows.p.steps[0]", 4, 21),
        ("flows.p.steps[1]", 4, 24),
        ("flows.p.steps[1].size", 4, 31),
        ('flows."a.b"', 5, 9),
    ]
    flows = node.get("flows")
    assert flows is not None
    assert (flows.key_mark("a.b").line, flows.key_mark("a.b").column) == (5, 3)


@given(
    st.recursive(
        st.booleans() | PRINTABLE,
        lambda inner: st.lists(inner, min_size=1) | st.dictionaries(PRINTABLE, inner, min_size=1),
        max_leaves=8,
    ),
    st.booleans(),
)
def test_both_parsers_give_the_same_marks(value: object, flow: bool) -> None:
    """The C parser and the one in Python agree on values and on places."""
    text = yaml.safe_dump([value], default_flow_style=flow, allow_unicode=True)
    # PyYAML leaves out quotes that YAML 1.2 wants (0E0 is a number there); such a key is a finding, and the same twice.
    usual = parse(text, "f", findings=(said := Findings()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LOADER", yaml.SafeLoader)
        other = parse(text, "f", findings=(again := Findings()))
    assert said.items == again.items
    assert other.data() == usual.data()
    assert places(other) == places(usual)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["f.yaml: is empty"]),
        ("# only a comment\n", ["f.yaml: is empty"]),
        ("---\n", ["f.yaml: is empty"]),
        ("a: 1\nb: 2\na: 3\n", ["f.yaml:3:1: key 'a' is given twice; first on line 1"]),
        ("a: !!python/object:os.system x", ["f.yaml:1:4: tag !!python/object:os.system is not allowed; values are plain YAML"]),
        ("a: !env X\nb: !!set {x}", ["f.yaml:1:4: tag !env is not allowed; values are plain YAML", "f.yaml:2:4: tag !!set is not allowed; values are plain YAML"]),
        ("a: !!int x", ["f.yaml:1:4: tag !!int does not fit the value"]),
        ("1: x\ntrue: y\n~: z\n", ["f.yaml:1:1: key is no text: got '1', expected text; put it in quotes", "f.yaml:2:1: key is no text: got 'true', expected text; put it in quotes", "f.yaml:3:1: key is no text: got '~', expected text; put it in quotes"]),
        ("? [a, b]\n: 1\n", ["f.yaml:1:3: key is no text: got a list or mapping, expected text"]),
        ("x: &x k\n*x : 1\n", ["f.yaml:2:1: key is no text: got an alias, expected text"]),
        ("x: &x {a: 1}\ny:\n  <<: *x\n", ["f.yaml:3:3: merge key << is not supported; repeat the keys, or use an alias for a whole value"]),
        ("a: *b\n", ["f.yaml:1:4: alias *b names no earlier anchor"]),
        ("a: &a [1, *a]\n", ["f.yaml:1:11: alias *a stands inside the value that it names"]),
        ("a: 1\n---\nb: 2\n", ["f.yaml:2:1: a second document begins here; a file holds one"]),
        ("a: x\x07y", ["f.yaml:1:5: character U+0007 is not allowed in YAML"]),
        ("a: 1\nb: \ud800", ["f.yaml:2:4: character U+D800 is not allowed in YAML"]),
        ("a:\n\t- b\n", ["f.yaml:2:1: not valid YAML: found character that cannot start any token (while scanning for the next token); indent with spaces, not with tabs"]),
        ("a: [${env:X}]\n", ["f.yaml:1:6: not valid YAML: did not find expected ',' or ']' (while parsing a flow sequence); a reference inside [ ] or { } must be in quotes, or the list or mapping in block style"]),
        ("a: b: c\n", ["f.yaml:1:5: not valid YAML: mapping values are not allowed in this context; text that holds ': ' must be in quotes, and a key's colon needs a space behind it, also on the line before"]),
        ("a: @b\n", ["f.yaml:1:4: not valid YAML: found character that cannot start any token (while scanning for the next token); text that begins with @ must be in quotes"]),
        ("a:\n  b: 1\n c: 2\n", ["f.yaml:3:2: not valid YAML: did not find expected key (while parsing a block mapping that begins on line 1); look at the indentation: what belongs together begins in the same column"]),
        ("a: 1\nb: 'x\nc: 2\n", ["f.yaml:4:1: not valid YAML: found unexpected end of stream (while scanning a quoted scalar that begins on line 2)"]),
    ],
)  # fmt: skip
def test_what_is_refused_is_located(text: str, expected: list[str]) -> None:
    """Everything that a pipeline file may not hold is a finding at its line and column."""
    assert findings(text) == expected


def test_mistakes_before_a_syntax_error_are_told_with_it() -> None:
    """One pass tells duplicate keys, tags and the syntax error that ends it."""
    assert [line.split(":")[1] for line in findings("a: 1\na: !x 2\nb: [\n")] == ["2", "2", "4"]


def test_an_alias_is_a_copy_with_its_own_path() -> None:
    """An aliased value stands at each place with that place's path and the anchor's mark."""
    node = parse("a: &a {x: 1}\nb: *a\n", "f")
    assert node.data() == {"a": {"x": 1}, "b": {"x": 1}}
    assert places(node)[3:] == [("b", 1, 4), ("b.x", 1, 11)]


def test_a_quoted_double_angle_is_an_ordinary_key() -> None:
    """Only the unquoted `<<` is the merge key."""
    assert parse('"<<": 1', "f").data() == {"<<": 1}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(12)),
        "[" * 500_000,
        "- " * 400_000,
        "x: [" + "1," * 60_000 + "]",
        "a0: &a0 [1]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(100)),
    ],
    ids=["billion laughs", "deep flow", "deep block", "many values", "deep by aliases"],
)
def test_bombs_are_refused_quickly(text: str) -> None:
    """Deep or wide documents are refused with little work, however they are made."""
    began = time.process_time()
    (only,) = findings(text)
    assert "too large: more than" in only
    assert time.process_time() - began < 5


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    """A file above one MiB is refused, also when read from the disk."""
    path = tmp_path / "big.yaml"
    path.write_text("a: " + "x" * (1 << 20))
    with pytest.raises(ConfigError, match=r"big\.yaml: is larger than 1024 KiB$"):
        load(path)


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    """Missing files and folders are findings without a line; bytes that are no UTF-8 have a place."""
    for name, expected in [
        ("none.yaml", "cannot be read: no such file or directory"),
        (".", "cannot be read: is a directory"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {expected}"
        assert caught.value.findings[0].line == 0
    (tmp_path / "latin.yaml").write_bytes("ü: 1\nä: ".encode() + b"caf\xe9-canary\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "latin.yaml")
    assert str(caught.value) == f"{tmp_path / 'latin.yaml'}:2:7: is no UTF-8 from here on; save the file as UTF-8"


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """A file with a byte order mark reads, and its columns are not shifted."""
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    node = load(tmp_path / "bom.yaml")
    assert node.data() == {"a": 1}
    assert places(node) == [("", 1, 1), ("a", 1, 4)]


def test_a_node_does_not_show_its_value() -> None:
    """The repr of a tree holds no value, since a value may be a secret."""
    text = textwrap.dedent("""
        password: canary-in-file
        list: [canary-in-list]
    """)
    assert "canary" not in repr(parse(text, "f"))
