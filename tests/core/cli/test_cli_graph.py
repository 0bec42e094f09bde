"""`pipeline graph` in its three forms."""

import re
from pathlib import Path


def test_text_names_stages_between_their_topics(run, shop: Path) -> None:
    """A line a stage, writers before readers."""
    assert run("pipeline", "graph", "shop.yaml").out.splitlines() == [
        "file (producer: ndjson_file) -> orders",
        "orders -> prices (flow: convert) -> priced",
        "priced -> out (sink: file)",
    ]


def test_mermaid_has_every_node_and_edge(run, shop: Path) -> None:
    """Five nodes with quoted labels, four edges between declared ids."""
    lines = run("pipeline", "graph", "shop.yaml", "--format", "mermaid").out.splitlines()
    assert lines[0] == "flowchart LR"
    nodes = {line.split("[")[0].strip() for line in lines[1:] if "-->" not in line}
    edges = [re.fullmatch(r"  (n\d+) --> (n\d+)", line) for line in lines if "-->" in line]
    assert (len(nodes), len(edges)) == (5, 4)
    assert all(edge is not None and {*edge.groups()} <= nodes for edge in edges)


def test_json_is_nodes_and_edges(run, shop: Path) -> None:
    """Programs get ids that the edges use."""
    found = run("pipeline", "graph", "shop.yaml", "--format", "json").json
    ids = {node["id"] for node in found["nodes"]}
    assert {edge["from"] for edge in found["edges"]} | {edge["to"] for edge in found["edges"]} == ids
