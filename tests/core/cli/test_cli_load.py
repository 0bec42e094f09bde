"""A pipeline as commands get it."""

import gc
from pathlib import Path

import pytest

from streamweaver.cli.load import data_folder, load, tool
from streamweaver.errors import BrokerError, ConfigError


def test_findings_of_all_kinds_come_together(shop: Path) -> None:
    """Overrides, references, options and the graph, in one error."""
    text = Path("shop.yaml").read_text().replace("path: out.ndjson", 'path: "${env:NOT_THERE}", rotate_bytes: 0')
    Path("shop.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(Path("shop.yaml"), ("nothing", "topics.idle.partitions=0"))
    assert len(caught.value.findings) >= 4


def test_an_override_that_fails_is_enough(shop: Path) -> None:
    """Also where the file itself is valid."""
    with pytest.raises(ConfigError, match="expected PATH=VALUE"):
        load(Path("shop.yaml"), ("nothing",))


def test_overrides_of_the_environment_come_first(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of STREAMWEAVER_SET is one; those of the command line win over them, and blank lines are nothing."""
    monkeypatch.setenv("STREAMWEAVER_SET", "topics.orders.partitions=5\n\n  topics.priced.partitions=6  \n")
    topics = load(Path("shop.yaml"), ("topics.orders.partitions=7",)).plan.topics
    assert (topics["orders"].spec.partitions, topics["priced"].spec.partitions) == (7, 6)


def test_a_mistake_in_the_environment_is_found_like_any_other(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the override."""
    monkeypatch.setenv("STREAMWEAVER_SET", "topics.orders.partitions=many")
    with pytest.raises(ConfigError, match=r"--set topics\.orders\.partitions"):
        load(Path("shop.yaml"))


def test_warnings_come_along(shop: Path) -> None:
    """They do not keep a file from being used."""
    assert [finding.warning for finding in load(Path("shop.yaml"), ("topics.idle.partitions=1",)).warnings] == [True]


def test_data_has_a_folder_of_the_pipelines_name(shop: Path) -> None:
    """Unless another one is chosen."""
    plan = load(Path("shop.yaml")).plan
    assert data_folder(plan, None) == Path(".streamweaver/shop")
    assert data_folder(plan, Path("x")) == Path("x")


def test_garbage_is_looked_for_once_the_program_has_started(shop: Path) -> None:
    """The program starts without it, and whatever runs for long has loaded a file before."""
    gc.disable()
    try:
        load(Path("shop.yaml"))
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
    finally:
        gc.enable()
        gc.unfreeze()


async def test_a_tool_creates_nothing(shop: Path) -> None:
    """Opening what is not there is an error and leaves no folder behind."""
    with pytest.raises(BrokerError, match="no log here"):
        async with tool(load(Path("shop.yaml")).plan, Path("data")):
            pass
    assert not Path("data").exists()
