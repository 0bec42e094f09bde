"""The options of the `dlq` commands."""

from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from streamweaver.cli.dlq import Id, Moment


def test_how_long_ago_and_times() -> None:
    """A duration counts back from now; a time is taken as it stands."""
    now = datetime.now(UTC).timestamp() * 1000
    assert abs(Moment().convert("1h", None, None) - (now - 3_600_000)) < 60_000
    assert Moment().convert("2025-06-15T12:00Z", None, None) == 1_749_988_800_000


def test_an_id_has_one_spelling() -> None:
    """Leading zeros do not make another letter."""
    assert Id().convert("0:007", None, None) == "0:7"


@pytest.mark.parametrize("text", ["", "7", "a:1", "0:-1", "0:1:2", "0:²"])
def test_what_is_no_id(text: str) -> None:
    """The message says what an id looks like."""
    with pytest.raises(click.BadParameter, match="such as 0:17"):
        Id().convert(text, None, None)


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--stage", "prices"], 4),
        (["--stage", "file"], 1),
        (["--step", "convert"], 4),
        (["--error", "ValueError", "--stage", "prices"], 4),
        (["--error", "KeyError"], 0),
        (["--reason", "EXPECTED A NUMBER"], 4),
        (["--since", "1h"], 5),
        (["--since", "2100-01-01"], 0),
        (["--limit", "2"], 2),
        (["--limit", "0"], 5),
    ],
)
def test_filters(run, ran: Path, filters: list[str], count: int) -> None:
    """Each filter takes what it says, and several take what all of them do."""
    assert len(run("dlq", "list", "shop.yaml", *filters, "--json").lines) == count


@pytest.mark.parametrize("command", ["list", "replay", "discard"])
def test_a_stage_that_nobody_knows_is_wrong_usage(run, ran: Path, command: str) -> None:
    """It is not an empty list: the stage that may be meant is named, with exit status 2."""
    said = run("dlq", command, "shop.yaml", "--stage", "price")
    assert (said.status, said.out) == (2, "")
    assert "no stage is named 'price'; did you mean 'prices'?" in said.err


def test_letters_outlive_their_stage(run, ran: Path) -> None:
    """A stage that the file no longer has may have left letters, which are found by its name."""
    Path("shop.yaml").write_text(Path("shop.yaml").read_text().replace("  prices:", "  costs:"))
    assert len(run("dlq", "list", "shop.yaml", "--stage", "prices", "--json").lines) == 4
    assert run("dlq", "list", "shop.yaml", "--stage", "costs").status == 0


def test_the_newest_are_listed(run, ran: Path) -> None:
    """A limit shows the newest, oldest first, and says how many there are."""
    said = run("dlq", "list", "shop.yaml", "--limit", "2")
    assert [line.split()[0] for line in said.out.splitlines()] == ["id", "0:3", "0:4"]
    assert said.err == "5 dead letters, the newest 2 shown\n"
