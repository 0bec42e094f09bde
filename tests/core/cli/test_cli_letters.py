"""Looking at dead letters and dealing with them, from the command line."""

import json
from pathlib import Path

import pytest

from streamweaver.runtime.dead_letter import DeadLetter


def again(run) -> dict[str, dict[str, int]]:
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--json")
    assert said.status == 0, said.err
    return said.json["stages"]


def written() -> list[object]:
    return [json.loads(line) for line in Path("out.ndjson").read_text().splitlines()]


def test_list_says_what_failed_where_and_why(run, ran: Path) -> None:
    """Id, time, stage, step, error, where the record came from, and the reason."""
    heads, first, *_ = run("dlq", "list", "shop.yaml").out.splitlines()
    assert heads.split()[:5] == ["id", "failed", "stage", "step", "error"]
    assert first.startswith("0:0 ")
    assert " file " in first
    assert " produce " in first


def test_show_has_the_record_as_it_came(run, ran: Path) -> None:
    """Everything that is known, with key, headers and the decoded value."""
    found = run("dlq", "show", "shop.yaml", "0:1", "--json").json
    assert {field.name for field in DeadLetter.__attrs_attrs__} <= found.keys()
    assert found["value"] == {"id": found["key"], "price": "cheap"}
    assert found["state"] == "open"
    assert "convert" in run("dlq", "show", "shop.yaml", "0:1").out


def test_show_of_what_cannot_be_decoded(run, ran: Path) -> None:
    """The value comes as text, with the reason why it is not decoded."""
    found = run("dlq", "show", "shop.yaml", "0:0", "--json").json
    assert found["value"] == "no json\n"
    assert "codec json cannot decode" in found["unreadable"]


def test_a_letter_that_is_not_there(run, ran: Path) -> None:
    """One line, exit status 1."""
    said = run("dlq", "show", "shop.yaml", "0:99")
    assert (said.status, said.out) == (1, "")
    assert "no dead letter 0:99" in said.err


@pytest.mark.parametrize("deed", ["replay", "discard"])
def test_dealing_with_letters_that_are_not_there(run, ran: Path, deed: str) -> None:
    """One line names them, exit status 1; the letters that are there are dealt with."""
    said = run("dlq", deed, "shop.yaml", "0:99", "0:77", "5:5")
    hint = "see `streamweaver dlq list shop.yaml`"
    assert (said.status, said.out, said.err) == (1, "", f"error: no dead letter 0:77, 0:99, 5:5; {hint}\n")
    mixed = run("dlq", deed, "shop.yaml", "0:1", "0:99", "--json")
    assert (mixed.status, mixed.json[f"{deed}ed"], mixed.json["absent"]) == (1, ["0:1"], ["0:99"])
    assert mixed.err == f"error: no dead letter 0:99; {hint}\n"


@pytest.mark.parametrize("more", [["--limit", "1"], ["--reason", "expected a number"]])
def test_a_letter_that_is_left_out_is_there(run, ran: Path, more: list[str]) -> None:
    """An id that the limit or a filter leaves out is not called absent."""
    said = run("dlq", "discard", "shop.yaml", "0:0", "0:1", *more, "--json")
    assert (said.status, len(said.json["discarded"]), said.json["absent"]) == (0, 1, [])


def test_replay_with_a_fix_writes_each_record_once(run, ran: Path) -> None:
    """Fixed records go through their stage again; a second replay skips them, and counts them."""
    first = run("dlq", "replay", "shop.yaml", "--stage", "prices", "--set", "price=9", "--json")
    assert first.status == 0
    assert (len(first.json["replayed"]), first.json["done_before"]) == (4, [])
    second = run("dlq", "replay", "shop.yaml", "--stage", "prices", "--set", "price=9", "--json")
    assert (second.json["replayed"], len(second.json["done_before"])) == ([], 4)
    assert again(run)["prices"]["in"] == 4
    assert sum(record["price"] == 9 for record in written()) == 4
    assert len(written()) == 12


def test_replay_without_a_fix_makes_a_new_letter(run, ran: Path) -> None:
    """What fails again is a dead letter again, of the topic and offset that it first came from."""
    before = run("dlq", "show", "shop.yaml", "0:2", "--json").json
    run("dlq", "replay", "shop.yaml", "0:2")
    assert again(run)["prices"]["dead_lettered"] == 1
    after = run("dlq", "show", "shop.yaml", "0:5", "--json").json
    same = ("topic", "partition", "offset", "key", "value", "headers", "reason")
    assert [after[name] for name in same] == [before[name] for name in same]


def test_a_dry_run_changes_nothing(run, ran: Path) -> None:
    """It says what would be done, and the letters stay open."""
    assert run("dlq", "replay", "shop.yaml", "--stage", "prices", "--dry-run").out == (
        "4 would be replayed, 0 done before, 0 refused\n"
    )
    assert len(run("dlq", "list", "shop.yaml", "--json").lines) == 5
    assert again(run)["prices"]["in"] == 0


@pytest.mark.parametrize(("more", "says"), [(["--dry-run"], "would add"), ([], "added")])
def test_a_field_that_an_edit_adds_is_told(run, ran: Path, more: list[str], says: str) -> None:
    """It may be misspelt; a dry run also shows each value as it would be."""
    said = run("dlq", "replay", "shop.yaml", "0:1", "0:2", "--set", "prise=3", *more)
    assert said.err == f"--set prise: {says} a field that 2 of the values did not have\n"
    shown = [line for line in said.out.splitlines() if line.endswith(',"price":"cheap","prise":3}')]
    assert [line[:4] for line in shown] == (["0:1:", "0:2:"] if more else [])


def test_a_producers_letter_goes_to_its_topic(run, ran: Path) -> None:
    """What could not be read is refused as it is, and taken when its value is replaced."""
    refused = run("dlq", "replay", "shop.yaml", "0:0")
    assert refused.status == 1
    assert "0:0: refused: codec json cannot decode" in refused.err
    said = run("dlq", "replay", "shop.yaml", "0:0", "--set", '.={"id": "new", "price": "3"}')
    assert said.out == "1 replayed, 0 done before, 0 refused\n"
    again(run)
    assert {"id": "new", "price": 3.0} in written()


def test_discarded_letters_are_done_with(run, ran: Path) -> None:
    """They are hidden, still there with --all, and not replayed any more."""
    assert run("dlq", "discard", "shop.yaml", "0:1", "0:2").out == "2 discarded, 0 done before, 0 refused\n"
    assert [line["id"] for line in run("dlq", "list", "shop.yaml", "--json").lines] == ["0:0", "0:3", "0:4"]
    states = [line["state"] for line in run("dlq", "list", "shop.yaml", "--all", "--json").lines]
    assert states == ["open", "discarded", "discarded", "open", "open"]
    assert " discarded " in run("dlq", "list", "shop.yaml", "--all").out
    said = run("dlq", "replay", "shop.yaml", "0:1", "0:3", "--json")
    assert (said.json["replayed"], said.json["done_before"]) == (["0:3"], ["0:1"])
