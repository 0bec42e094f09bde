"""`topic list` and the options of `topic tail`."""

from pathlib import Path


def test_list_tells_what_each_topic_holds(run, ran: Path) -> None:
    """Every topic with partitions, codec and number of records, the pipeline's own included."""
    rows = {row["name"]: row for row in run("topic", "list", "shop.yaml", "--json").json}
    assert (rows["orders"]["partitions"], rows["orders"]["records"], rows["orders"]["codec"]) == (2, 12, "json")
    assert rows["shop.dead_letters"]["records"] == 5
    assert "shop.prices.replay" in rows


def test_list_for_people(run, ran: Path) -> None:
    """A table with the offsets of each partition."""
    lines = run("topic", "list", "shop.yaml").out.splitlines()
    assert lines[0].split() == ["topic", "partitions", "codec", "records", "offsets"]
    assert any(line.startswith("orders") and ".." in line for line in lines)


def test_a_topic_that_the_file_adds_is_not_there_yet(run, ran: Path) -> None:
    """A stage that was added since the last run has a topic that is listed as such, and cannot be read."""
    more = "  more: {from: priced, to: later}\n"
    Path("shop.yaml").write_text(Path("shop.yaml").read_text().replace("sinks:\n", more + "sinks:\n"))
    assert any(line.endswith("not there yet") for line in run("topic", "list", "shop.yaml").out.splitlines())
    said = run("topic", "tail", "shop.yaml", "later")
    assert said.status == 1
    assert "the first start makes it" in said.err


def test_an_unknown_topic_is_suggested(run, ran: Path) -> None:
    """A misspelt topic is wrong usage, answered with the one that may be meant."""
    said = run("topic", "tail", "shop.yaml", "ordres")
    assert (said.status, said.out) == (2, "")
    assert "did you mean 'orders'?" in said.err


def test_a_partition_that_is_not_there_is_wrong_usage(run, ran: Path) -> None:
    """The message says how many there are, exit status 2."""
    said = run("topic", "tail", "shop.yaml", "orders", "--partition", "2")
    assert said.status == 2
    assert "has 2, counted from 0" in said.err


def test_overrides_are_taken(run, ran: Path) -> None:
    """A pipeline that was started with another name or broker is looked at with the same --set, as of `up`."""
    for command in (("list", "shop.yaml"), ("tail", "shop.yaml", "orders", "--limit", "1")):
        assert run("topic", *command).status == 0
        said = run("topic", *command, "--set", "name=elsewhere")
        assert said.status == 1
        assert ".streamweaver/elsewhere/log.sqlite: no log here" in said.err
