"""Running the command line in this process, on a small pipeline whose input is a file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from streamweaver.cli.main import cli

SHOP = """\
name: shop
dashboard: {enabled: false}
topics:
  orders: {partitions: 2}
producers:
  file: {use: ndjson_file, path: orders.ndjson, to: orders, key: id}
flows:
  prices:
    from: orders
    steps:
      - {use: convert, types: {price: float}}
    to: priced
sinks:
  out: {use: file, from: priced, path: out.ndjson}
"""

GOOD, BAD, BROKEN = 8, 4, 1
"""What the shop's input holds: orders, orders without a price, lines that are no JSON."""


@attrs.frozen
class Said:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of standard output, decoded."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def lines(self) -> list[Any]:
        """Every line of standard output, decoded."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Said]


@pytest.fixture
def fresh_env() -> dict[str, str]:
    """The environment for a process in which coverage, which loads modules of its own, does not measure."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command; no command ever shows a traceback."""
    monkeypatch.delenv("STREAMWEAVER_TRACEBACK", raising=False)

    def run_command(*arguments: object) -> Said:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], prog_name="streamweaver")
        said = Said(result.exit_code, result.stdout, result.stderr)
        assert "Traceback" not in said.out + said.err
        return said

    return run_command


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with the pipeline `shop.yaml`, which has not run yet."""
    monkeypatch.chdir(tmp_path)
    Path("shop.yaml").write_text(SHOP)
    good = [json.dumps({"id": f"g{n}", "price": "1.5"}) for n in range(GOOD)]
    bad = [json.dumps({"id": f"b{n}", "price": "cheap"}) for n in range(BAD)]
    Path("orders.ndjson").write_text("\n".join([*good, *bad, "no json"]) + "\n")
    return tmp_path


@pytest.fixture
def ran(shop: Path, run: Run) -> Path:
    """Stand in the folder of the shop after its first run, with its dead letters."""
    said = run("pipeline", "up", "shop.yaml", "--until-idle", "--json")
    assert said.status == 0, said.err
    return shop
