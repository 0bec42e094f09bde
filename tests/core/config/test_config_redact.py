"""Blanking secrets in texts."""

import json
from pathlib import Path
from urllib.parse import quote, quote_plus

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import option
from streamweaver.config import Findings, Redactor, parse, redactor, resolve


@attrs.frozen
class Login:
    user: str = "ann"
    password: str = option(default="", help="password", secret=True)


@attrs.frozen
class Client:
    login: Login = Login()
    others: dict[str, list[Login]] = attrs.field(factory=dict)
    keys: dict[str, list[str]] = option(factory=dict, help="keys", secret=True)
    spare: Login | None = option(default=None, help="a login, all of it secret", secret=True)
    pin: int | None = option(default=None, help="pin", secret=True)


@given(st.text(min_size=4))
def test_a_secret_of_four_characters_is_blanked_in_every_form(secret: str) -> None:
    """A longer secret is blanked as it is, and as repr, JSON and a URL would write it."""
    forms = [
        secret,
        repr(secret)[1:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
    ]
    assert [Redactor([secret])(form) for form in forms] == ["***"] * len(forms)


@pytest.mark.parametrize(
    ("values", "text", "expected"),
    [
        (["abc"], "abc abcd xabc (abc)", "*** abcd xabc (***)"),
        (["hunter2"], "xhunter2y", "x***y"),
        (["secret", "secret-longer"], "secret-longer secret", "*** ***"),
        ([""], "nothing", "nothing"),
        ([], "nothing", "nothing"),
        (["  padded  "], "<padded>", "<***>"),
        (["first-line-x\nsecond-line-y\nno"], "log: second-line-y; no", "log: ***; no"),
        (["p@ss/w?rd"], "https://u:p%40ss%2Fw%3Frd@host", "https://u:***@host"),
        (["a.c*"], "abc* a.c*", "abc* ***"),
    ],
)
def test_what_is_blanked(values: list[str], text: str, expected: str) -> None:
    """Short secrets go as whole words, longer ones anywhere, the longest first, line by line, and escaped."""
    assert Redactor(values)(text) == expected


def test_secret_options_are_found_in_built_instances() -> None:
    """Secrets are taken from nested options, lists and mappings; other options stay readable."""
    client = Client(
        login=Login("ann", password="canary-one"),
        others={"b": [Login("bob", password="canary-two")]},
        keys={"k": ["canary-three"]},
        spare=Login("canary-user"),
        pin=123456,
    )
    text = "ann canary-one bob canary-two k canary-three canary-user 123456"
    assert redactor(client)(text) == "ann *** bob *** k *** *** ***"
    assert "canary" not in repr(redactor(client))


def test_values_from_files_are_secrets_and_those_of_the_environment_are_not(tmp_path: Path) -> None:
    """What `${file:...}` brought in is blanked, also where it is a part of a value."""
    (tmp_path / "token").write_text("canary-token\n")
    tree = parse("a: Bearer ${file:token}\nb: ${env:HOST}", "f")
    tree = resolve(tree, {"HOST": "example"}, tmp_path, Findings())
    assert redactor(tree=tree)("Bearer canary-token to example") == "Bearer *** to example"


def test_a_value_that_is_no_unicode_is_blanked_too() -> None:
    """Bytes of the environment that were no UTF-8 come as surrogates; they break nothing."""
    assert Redactor(["caf\udce9-canary", "\ud800-canary"])("<caf\udce9-canary> \ud800-canary") == "<***> ***"
