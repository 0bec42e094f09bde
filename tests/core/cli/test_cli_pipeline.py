"""What the `pipeline` commands take."""

import json
from pathlib import Path

import jsonschema


def test_schema_is_a_json_schema_of_the_file(run, shop: Path) -> None:
    """What is printed is a valid schema."""
    said = run("pipeline", "schema")
    assert said.status == 0
    jsonschema.Draft202012Validator.check_schema(json.loads(said.out))


def test_up_documents_every_option_of_the_surface(run) -> None:
    """The help of `up` names what people script against."""
    text = run("pipeline", "up", "--help").out
    for flag in ("--set", "--only", "--except", "--workers", "--data", "--duration", "--until-idle", "--json"):
        assert flag in text
