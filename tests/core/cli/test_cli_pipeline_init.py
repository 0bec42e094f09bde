"""`pipeline init`: what it writes is a pipeline that runs, and it never writes over anything."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml


def test_init_makes_a_pipeline_that_runs(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder it writes a file that `check` finds no fault with and `up` runs, with records coming out."""
    folder = tmp_path / "First Steps!"
    folder.mkdir()
    monkeypatch.chdir(folder)
    said = run("pipeline", "init")
    assert (said.status, said.out.split()) == (0, ["pipeline.yaml", "schema.json"])
    assert "streamweaver pipeline up pipeline.yaml" in said.err

    checked = run("pipeline", "check", "pipeline.yaml", "--json")
    assert (checked.status, checked.err) == (0, "")
    counts = ("--set", "producers.stocks.count=400", "--set", "producers.stocks.rate=20000")
    ran = run("pipeline", "up", "pipeline.yaml", *counts, "--until-idle", "--no-dashboard", "--json")
    assert ran.status == 0, ran.err
    stages = ran.json["stages"]
    assert stages["stocks"]["out"] == stages["averages"]["in"] == 400
    rising = [json.loads(line) for line in Path("rising.ndjson").read_text().splitlines()]
    assert len(rising) == stages["averages"]["out"] > 0
    assert all(trade["price"] > trade["moving_average"] for trade in rising)
    assert Path(".streamweaver/first_steps").is_dir()


def test_the_next_step_can_be_pasted(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder's name with a space in it is quoted for the shell."""
    monkeypatch.chdir(tmp_path)
    said = run("pipeline", "init", "bad name ü")
    assert said.status == 0
    assert said.err.endswith("Next: streamweaver pipeline up 'bad name ü/pipeline.yaml'\n")


def test_its_schema_knows_its_file(run: Any, tmp_path: Path) -> None:
    """The schema beside the file is a schema, and the file is valid by it."""
    assert run("pipeline", "init", tmp_path / "new/folder", "--name", "mine").status == 0
    schema = json.loads((tmp_path / "new/folder/schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load((tmp_path / "new/folder/pipeline.yaml").read_text()), schema)


@pytest.mark.parametrize("there", ["pipeline.yaml", "schema.json"])
def test_init_overwrites_nothing(run: Any, tmp_path: Path, there: str) -> None:
    """Where one of its files is, nothing is written: exit status 2, and the file's name."""
    (tmp_path / there).write_text("mine")
    said = run("pipeline", "init", tmp_path)
    assert said.status == 2
    assert f"{tmp_path / there} is there already" in said.err
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_init_with_a_name_that_will_not_do(run: Any, tmp_path: Path) -> None:
    """A name that a pipeline cannot have is wrong usage, and nothing is written."""
    said = run("pipeline", "init", tmp_path, "--name", "No-Good")
    assert said.status == 2
    assert "'No-Good'" in said.err
    assert list(tmp_path.iterdir()) == []


def test_init_where_no_folder_can_be(run: Any, tmp_path: Path) -> None:
    """A place below a file is refused with its name, without a traceback."""
    (tmp_path / "file").write_text("")
    said = run("pipeline", "init", tmp_path / "file/below")
    assert said.status == 2
    assert "file" in said.err
