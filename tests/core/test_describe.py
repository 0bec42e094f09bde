"""Plugins and pipelines as plain data, and the JSON Schema of the file."""

import json
from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest

from streamweaver import option, producer
from streamweaver.config import parse, read
from streamweaver.describe import graph, pipeline, pipeline_schema, plugin, plugin_rows
from streamweaver.graph.build import build
from streamweaver.graph.plan import Plan
from streamweaver.registry import ONLY, Registry

PIPELINES = Path(__file__).parents[2] / "pipelines"

FILE = """\
name: shop
topics:
  orders: {partitions: 2, retention: 1d}
producers:
  file: {use: ndjson_file, path: orders.ndjson, to: orders, key: id}
flows:
  prices: {from: orders, steps: [{use: convert, types: {price: float}}], to: priced}
sinks:
  live: {use: websocket, from: [priced, orders], token: open-sesame, port: 0}
"""


def plan_of(text: str, *plugins: object) -> Plan:
    registry = Registry()
    registry.add(plugins)
    return build(parse(text, "shop.yaml"), registry)[0]


# -- plugins --------------------------------------------------------------------------------------


def test_rows_name_where_a_plugin_comes_from() -> None:
    """Kind, name, distribution and version, and the summary if asked for."""
    rows = plugin_rows(Registry(), ["codec"], summaries=True)
    assert {"kind": "codec", "name": "json", "distribution": "streamweaver"}.items() <= rows[1].items()
    assert rows[1]["summary"] == "JSON in UTF-8, one value a record."


def test_a_plugin_that_cannot_be_imported_is_listed_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """One broken distribution does not keep the others from being listed."""
    registry = Registry()
    origin = attrs.evolve(registry.origin("codec", "json"), name="nothing")
    monkeypatch.setattr(Registry, "origins", lambda self, kind: [origin])
    assert plugin_rows(registry, ["codec"], summaries=True)[0]["summary"].startswith("cannot be used: codec 'nothing'")


@pytest.mark.parametrize(
    ("kind", "name", "guarantee"),
    [
        ("producer", "file_tail", "exactly_once"),
        ("sink", "console", "best_effort"),
        ("transform", "convert", None),
    ],
)
def test_a_guarantee_is_told_where_the_plugin_decides(kind: Any, name: str, guarantee: str | None) -> None:
    """Producers and sinks have one; a transform has that of its stage."""
    assert plugin(Registry(), kind, name)["guarantee"] == guarantee


def test_every_installed_plugin_can_be_described() -> None:
    """Everything about it is data that JSON can hold."""
    registry = Registry()
    for row in plugin_rows(registry):
        found = plugin(registry, row["kind"], row["name"])  # type: ignore[arg-type]
        assert json.loads(json.dumps(found)) == found


# -- a pipeline -----------------------------------------------------------------------------------


def test_a_pipeline_is_stages_and_topics() -> None:
    """With what each reads, writes, takes and guarantees; data that JSON can hold."""
    found = pipeline(plan_of(FILE))
    assert json.loads(json.dumps(found)) == found
    stages = {stage["name"]: stage for stage in found["stages"]}
    assert list(stages) == ["file", "prices", "live"]
    assert stages["file"]["options"] == {"path": "orders.ndjson"}
    assert stages["prices"]["steps"][0]["options"]["types"] == {"price": "float"}
    orders = found["topics"][0]
    assert (orders["written_by"], orders["read_by"], orders["retention_ms"]) == (
        ["file"],
        ["prices", "live"],
        86_400_000,
    )


def test_secrets_do_not_show() -> None:
    """A secret option is masked, one that is not set is null."""
    text = json.dumps(pipeline(plan_of(FILE)))
    assert "open-sesame" not in text
    assert '"token": "***"' in text
    assert pipeline(plan_of(FILE.replace("token: open-sesame, ", "")))["stages"][2]["options"]["token"] is None


@attrs.frozen
class Login:
    """Options within an option."""

    user: str = option(help="who")
    password: str = option(help="proof", secret=True)


@producer("guarded")
@attrs.frozen
class Guarded:
    """A producer with secrets deep in its options."""

    logins: list[Login] = option(factory=list, help="one for each host")
    note: str = option(default="", help="any text")

    def produce(self, context: Any) -> Any:
        """Produce nothing."""
        return iter(())


def test_secrets_within_options_do_not_show(tmp_path: Path) -> None:
    """Nested secrets are masked, and so is what a file brought in, wherever it stands."""
    (tmp_path / "key").write_text("from-a-file")
    (tmp_path / "p.yaml").write_text(
        "name: p\nproducers:\n  g:\n    use: guarded\n    to: t\n    note: see ${file:key}\n"
        "    logins:\n      - {user: me, password: deep-secret}\n"
    )
    registry = Registry()
    registry.add([Guarded])
    plan, _ = build(read(tmp_path / "p.yaml"), registry)
    assert pipeline(plan)["stages"][0]["options"] == {
        "logins": [{"user": "me", "password": "***"}],
        "note": "see ***",
    }


def test_a_graph_is_nodes_and_edges() -> None:
    """Stages and topics are nodes, each arrow an edge between two of them."""
    found = graph(plan_of(FILE))
    assert {node["id"] for node in found["nodes"]} == {
        "stage:file", "stage:prices", "stage:live", "topic:orders", "topic:priced"
    }  # fmt: skip
    assert {"from": "topic:orders", "to": "stage:live"} in found["edges"]
    assert len(found["edges"]) == 5


# -- the schema -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """The schema with the first-party plugins, as it is shipped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ONLY, "streamweaver")
        schema = pipeline_schema(Registry())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_shipped_schema_is_not_stale(validator: jsonschema.Draft202012Validator) -> None:
    """`STREAMWEAVER_PLUGINS=streamweaver streamweaver pipeline schema > pipelines/schema.json` makes it anew."""
    assert json.loads((PIPELINES / "schema.json").read_text()) == validator.schema


@pytest.mark.parametrize("path", sorted(PIPELINES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_pipelines_fit(validator: jsonschema.Draft202012Validator, path: Path) -> None:
    """Each file that comes along is accepted, references and all."""
    assert list(validator.iter_errors(parse(path.read_text(), path.name).data())) == []


def test_a_file_that_check_accepts_fits(validator: jsonschema.Draft202012Validator) -> None:
    """Steps, topics in lists, a broker in its short form, a topic with all defaults."""
    text = FILE.replace("name: shop", "name: shop\nbroker: embedded").replace("topics:\n", "topics:\n  priced:\n")
    plan_of(text)
    assert list(validator.iter_errors(parse(text, "f").data())) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: shop", "nam: shop"),
        ("name: shop", "name: Shop!"),
        ("name: shop", "name: shop\ndelivery: sometimes"),
        ("name: shop", "name: shop\nbroker: {use: nothing}"),
        ("name: shop", "name: shop\nbroker: {durability: some}"),
        ("name: shop", "name: shop\ndashboard: {panels: [{title: x}]}"),
        ("partitions: 2", "partitions: 0"),
        ("partitions: 2", "partition: 2"),
        ("retention: 1d", "retention: 1 day"),
        ("retention: 1d", "codec: xml"),
        ("use: ndjson_file", "use: ndjson_fil"),
        ("use: ndjson_file, ", ""),
        ("use: ndjson_file", "use: websocket"),
        ("path: orders.ndjson, ", ""),
        ("to: orders, key: id", "key: id"),
        ("key: id", "rate: -1"),
        ("key: id", "rate: fast"),
        ("  file:", "  File:"),
        ("from: orders, ", ""),
        ("from: orders, ", "from: [], "),
        ("types: {price: float}", "types: {price: decimal}"),
        ("use: convert, ", ""),
        ("from: [priced, orders]", "from: {priced: 1}"),
        ("port: 0", "port: 70000"),
        ("port: 0", "prot: 0"),
        ("sinks:\n", "sinks:\n  more:\n"),
    ],
)
def test_broken_files_do_not_fit(validator: jsonschema.Draft202012Validator, old: str, new: str) -> None:
    """What `check` refuses of a file's own form, an editor marks as well."""
    assert FILE.count(old) >= 1
    data = parse(FILE.replace(old, new, 1), "f").data()
    assert list(validator.iter_errors(data)), data


def test_a_finding_is_about_the_plugin_that_is_named(validator: jsonschema.Draft202012Validator) -> None:
    """A wrong option of one plugin is one error, not one for every plugin that it could have been."""
    errors = list(validator.iter_errors(parse(FILE.replace("port: 0", "port: 70000"), "f").data()))
    assert len(errors) == 1
    assert list(errors[0].absolute_path) == ["sinks", "live", "port"]
