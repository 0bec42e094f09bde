"""`plugin test`."""

from pathlib import Path
from typing import Any

import pytest


def test_a_plugin_that_keeps_its_promises(run: Any) -> None:
    """A table of behaviours, then the guarantee; exit status 0. What the plugin prints is not mixed in."""
    said = run("plugin", "test", "console")
    assert said.status == 0, said.out
    lines = said.out.splitlines()
    assert lines[0].split() == ["behaviour", "outcome"]
    assert lines[-1] == "guarantee: best_effort (as declared)"
    assert all(line.split()[1] in ("passed", "not") for line in lines[1:-2])


def test_a_plugin_that_does_not(run: Any) -> None:
    """A behaviour that fails is told with the reason, lowers the guarantee, and makes the exit status 1."""
    said = run("plugin", "test", "producer", "stock_trades", "--options", "{}")
    assert said.status == 1
    assert "it does not bring the same again: give it options that make it repeatable" in said.out
    assert "guarantee: at_least_once (it fails resumes_at_every_position)" in said.out


def test_options_make_the_difference(run: Any) -> None:
    """The same plugin with options that fit keeps every promise."""
    found = run("plugin", "test", "stock_trades", "--options", "{seed: 1}", "--json").json
    assert (found["kind"], found["name"], found["guarantee"]) == ("producer", "stock_trades", "exactly_once")
    assert {row["outcome"] for row in found["behaviours"]} == {"passed", "not applicable"}
    assert all(row["promise"].endswith(".") for row in found["behaviours"])


def test_files_and_reading_back(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--file gives a producer its input, --read lets what a sink promises be seen."""
    monkeypatch.chdir(tmp_path)
    Path("in.ndjson").write_text('{"n": 1}\n{"n": 2}\n')
    assert run("plugin", "test", "ndjson_file", "--options", "{path: in.ndjson}", "--file", "in.ndjson").status == 0
    Path("reading_back.py").write_text(
        "import json\n"
        "def rows(sink):\n"
        "    return [value['n'] for value in map(json.loads, sink.path.read_text().splitlines()) if value]\n"
    )
    args = ("--options", "{path: out.ndjson}", "--read", "reading_back:rows", "--json")
    rows = {row["name"]: row["outcome"] for row in run("plugin", "test", "file", *args).json["behaviours"]}
    assert rows["offsets_are_stored_with_the_records"] == "passed"


def test_records_for_a_transform(run: Any) -> None:
    """--records are values that it takes; those that it does not take fail."""
    args = ("plugin", "test", "moving_average", "--options", "{field: price, by: symbol}", "--records")
    assert run(*args, "[{symbol: A, price: 1}, {symbol: A, price: 2}]").status == 0
    said = run(*args, "[{symbol: A}, {symbol: B, price: 1}]", "--json")
    assert said.status == 1
    rows = {row["name"]: row["outcome"] for row in said.json["behaviours"]}
    assert rows["takes_the_given_records"] == "failed"


def test_what_is_missing_is_hinted_at(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer whose file is not there: the one reason of all failures, and what to say on the command line."""
    monkeypatch.chdir(tmp_path)
    said = run("plugin", "test", "ndjson_file", "--json")
    assert said.status == 1
    hints = said.json["hints"]
    assert "behaviours fail with one and the same reason, so mend that first: " in hints[0]
    assert hints[1].startswith("if it reads a file: --file PATH puts a copy of that name")
    assert hints[2] == 'it ran with the options of its example, {"path":"orders.ndjson"}'
    assert hints[3].startswith("say its options with --options '{path: ")
    assert hints[3].endswith("`streamweaver plugin show ndjson_file` lists them")


def test_a_plugin_of_which_all_is_known_has_no_hint(run: Any) -> None:
    """Nor has the table one."""
    said = run("plugin", "test", "codec", "json")
    assert (said.status, "hint" in said.out) == (0, False)


@pytest.mark.parametrize("name", ["json", "bytes", "text"])
def test_a_codec_gets_values_that_it_takes(run: Any, name: str) -> None:
    """Without --records a codec is tested with those of the usual values that it encodes."""
    assert run("plugin", "test", "codec", name).status == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("file", "--options", "{pth: x}"), "unknown key 'pth'; did you mean 'path'?"),
        (("file", "--options", "{pth: x}"), "say its options with --options '{path: "),
        (("file", "--options", "[path]"), "--options: got '[path]', expected a mapping"),
        (("stamp", "--records", "{}"), "--records: got '{}', expected a list"),
        (("file", "--read", "nowhere:rows"), "got 'nowhere:rows', expected MODULE:FUNCTION"),
        (("fil",), "no plugin is named 'fil'; did you mean"),
    ],
)
def test_wrong_usage(run: Any, arguments: tuple[str, ...], text: str) -> None:
    """A mistake of the user's is exit status 2, before anything is tested."""
    said = run("plugin", "test", *arguments)
    assert said.status == 2
    assert text in said.err
