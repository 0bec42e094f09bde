# ruff: noqa: E501 - tables of whole messages
"""References: what comes in their place, of which type, and what is told when nothing can."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamweaver.config import Findings, Node, parse, read, resolve
from streamweaver.config.scalar import typed
from streamweaver.errors import ConfigError


def resolved(text: str, environ: Mapping[str, str], folder: Path = Path("/nowhere")) -> tuple[Node, list[str]]:
    findings = Findings()
    node = resolve(parse(text, "f.yaml"), environ, folder, findings)
    return node, [str(item) for item in findings.items]


@pytest.mark.parametrize(
    ("text", "environ", "value"),
    [
        ("${env:X}", {"X": "5"}, 5),
        ("${env:X}", {"X": "true"}, True),
        ("${env:X}", {"X": "yes"}, "yes"),
        ("${env:X}", {"X": ""}, None),
        ('"${env:X}"', {"X": "5"}, "5"),
        ("'${env:X}'", {"X": ""}, ""),
        ("|-\n  ${env:X}", {"X": "5"}, "5"),
        ("a-${env:X}", {"X": "5"}, "a-5"),
        ("${env:X}${env:X}", {"X": "5"}, "55"),
        ("${env:X:-7}", {}, 7),
        ("${env:X:-7}", {"X": ""}, 7),
        ("${env:X:-7}", {"X": "8"}, 8),
        ("${env:X:-}", {}, None),
        ('"${env:X:-a: b}"', {}, "a: b"),
        ("$${env:X}", {"X": "5"}, "${env:X}"),
        ("'$${env:X} ${env:X} $${'", {"X": "5"}, "${env:X} 5 ${"),
        ("$5 and $HOME", {}, "$5 and $HOME"),
        ("${env:X}", {"X": "${env:Y}"}, "${env:Y}"),
        ("${env:X}", {"X": "[1, 2]"}, "[1, 2]"),
    ],
)
def test_what_a_reference_becomes(text: str, environ: dict[str, str], value: object) -> None:
    """One whole unquoted reference to the environment is typed; everything else is text."""
    node, findings = resolved(f"key: {text}", environ)
    assert findings == []
    assert repr(node.data()["key"]) == repr(value)


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example('a"b\n- c: d\n!!python/object:os.system x\n${env:X} ${file:/etc/passwd} *a &a {"x": [1]}')
@example("'\n---\n# ")
def test_an_environment_value_stays_one_scalar(value: str) -> None:
    """Whatever a variable holds, it is one scalar: no structure, no tag, no further reference comes of it."""
    node, findings = resolved('plain: ${env:X}\nquoted: "${env:X}"\nmixed: <${env:X}>\nlast: 1\n', {"X": value})
    assert findings == []
    expected = {"plain": typed(value), "quoted": value, "mixed": f"<{value}>", "last": 1}
    assert repr(node.data()) == repr(expected)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_file_is_text_without_its_last_newline(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    """A file's content comes in as it is, less one newline at the end, found beside the pipeline file."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "secret").write_bytes((value + "\n").encode())
    node, findings = resolved("key: ${file:secret}", {}, folder)
    assert findings == []
    assert node.data() == {"key": value.removesuffix("\r")}


def test_a_file_with_a_number_is_text_and_paths_may_be_absolute(tmp_path: Path) -> None:
    """A password of digits in a file stays text; an absolute path does not start at the folder."""
    (tmp_path / "pin").write_text("1234\n\n")
    node, _ = resolved(f"key: ${{file:{tmp_path / 'pin'}}}", {})
    assert node.data() == {"key": "1234\n"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nkey: ${env:NONE}", "f.yaml:2:6: key: environment variable NONE is not set; set it, or give a default: ${env:NONE:-...}"),
        ("key: [x, 'a ${file:no/such}']", "f.yaml:1:10: key[1]: ${file:no/such}: file '/nowhere/no/such' cannot be read: no such file or directory"),
        ("key: ${ENV:X}", "f.yaml:1:6: key: unknown reference ${ENV:X}, expected ${env:NAME} or ${file:PATH}; write $${ for a literal ${"),
        ("key: ${env:X:-canary", "f.yaml:1:6: key: a reference begins with ${ and is never closed; write $${ for a literal ${"),
        ("key: ${vault:X:-canary}", "f.yaml:1:6: key: unknown reference ${vault:X}, expected ${env:NAME} or ${file:PATH}; write $${ for a literal ${"),
        ("key: ${env:1X}", "f.yaml:1:6: key: unknown reference ${env:1X}, expected ${env:NAME} or ${file:PATH}; write $${ for a literal ${"),
    ],
)  # fmt: skip
def test_a_reference_to_nothing_is_a_finding_at_its_line(text: str, expected: str) -> None:
    """What cannot be resolved is named with its place, and never with a value or default."""
    assert resolved(text, {"OTHER": "canary"})[1] == [expected]


def test_every_failing_reference_is_told() -> None:
    """Several references that fail, also within one value, are one finding each."""
    _, findings = resolved("a: ${env:A}-${env:B}\nb:\n  - ${env:C}\n", {})
    assert [line.split(" is not set")[0][-1] for line in findings] == ["A", "B", "C"]


def test_a_file_that_is_no_text_or_too_large_is_a_finding(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and files above one MiB, do not come in, and are not shown."""
    (tmp_path / "bytes").write_bytes(b"canary\xff")
    (tmp_path / "big").write_bytes(b"x" * ((1 << 20) + 1))
    _, findings = resolved("a: ${file:bytes}\nb: ${file:big}", {}, tmp_path)
    assert findings[0].endswith("cannot be read: it is no UTF-8 text")
    assert findings[1].endswith("is larger than 1024 KiB")
    assert "canary" not in "".join(findings)


def test_keys_are_never_resolved() -> None:
    """A key that looks like a reference is that key."""
    assert resolved("'${env:X}': 1", {"X": "y"})[0].data() == {"${env:X}": 1}


def test_where_a_value_came_from_is_remembered_but_not_shown() -> None:
    """A resolved node names its references; neither it nor they show the value."""
    node, _ = resolved("key: a${env:X:-canary}", {})
    found = node.get("key")
    assert found is not None
    assert [(ref.text, ref.kind, ref.value) for ref in found.references] == [("${env:X}", "env", "canary")]
    assert "canary" not in repr(found)


def test_read_overrides_before_it_resolves_and_tells_all_mistakes(tmp_path: Path) -> None:
    """`read` goes from a file to values in one call, with the findings of overrides and references together."""
    path = tmp_path / "p.yaml"
    path.write_text("name: ${env:NAME}\nrate: 1\n")
    tree = read(path, ["rate=${env:RATE}"], {"NAME": "demo", "RATE": "20"})
    assert tree.data() == {"name": "demo", "rate": 20}
    findings = Findings()
    assert read(path, ["rate=2"], {}, findings).data()["rate"] == 2
    assert [str(item) for item in findings.items] == [
        f"{path}:1:7: name: environment variable NAME is not set; set it, or give a default: ${{env:NAME:-...}}"
    ]
    with pytest.raises(ConfigError) as caught:
        read(path, ["rate.x=1", "rate=${env:RATE}"], {})
    assert str(caught.value).split("\n") == [
        "--set rate: rate: environment variable RATE is not set; set it, or give a default: ${env:RATE:-...}",
        "--set rate.x: rate is a single value, so it has no 'x'",
        f"{path}:1:7: name: environment variable NAME is not set; set it, or give a default: ${{env:NAME:-...}}",
    ]
