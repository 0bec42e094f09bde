"""What does not fit into a message is left out, and counted."""

from typing import Any

import attrs
import msgspec
import pytest

from streamweaver.panel import PanelConfig, make_panel
from streamweaver.views import LiveView

TICK, START, MOST = 100, 1_750_000_000_000, 20_000


def live(kind: Any, **options: Any) -> LiveView:
    return LiveView(make_panel(PanelConfig(kind=kind, **options), "t", set()), TICK, most_bytes=MOST)


def parts(view: LiveView, seq: int | None = None) -> list[dict[str, Any]]:
    encoded = view.parts(seq, START)
    assert all(len(part) <= MOST for part in encoded)
    return [msgspec.json.decode(part) for part in encoded]


def test_a_feed_that_is_too_large_leaves_out_its_oldest(seen: Any) -> None:
    """The newest are there, headers and raw texts stand at their records, and the rest is counted."""
    view = live("feed", limit=100, top=100)
    values = [{"n": n, "text": "x" * 900} for n in range(99)] + [{"n": 99, "text": "y" * 9_000}]
    headers = [(("n", str(n).encode()),) for n in range(100)]
    view.remember(attrs.evolve(seen(values, [START] * 100), headers=headers), START)
    view.begin(START)
    view.tick(START)
    (part,) = parts(view)
    records, left_out = part["data"]["records"], part["data"]["left_out"]
    shown = len(records["offset"])
    assert shown + left_out == 100
    assert shown >= 5
    assert records["offset"] == list(range(left_out, 100))
    assert records["raw"][str(shown - 1)]["why"] == "large"
    assert [records["headers"][str(n)][0][1] for n in range(shown)] == [str(n) for n in range(left_out, 100)]


def test_a_table_whose_changes_are_too_large_is_sent_anew(seen: Any) -> None:
    """A change that does not fit becomes a snapshot of the rows that changed last."""
    view = live("table", by="k", limit=200, fields=["k", "text"])
    view.begin(START)
    view.tick(START)
    seq = view.seq

    def change(first: int, count: int) -> None:
        rows = [{"k": f"k{n:03}", "text": "x" * 190} for n in range(first, first + count)]
        view.heard(seen(rows, [START] * count), START)
        view.tick(START)

    change(0, 200)
    (part,) = parts(view, seq)
    keys = part["data"]["keys"]
    assert part["snapshot"] is True
    assert keys == [f"k{n:03}" for n in range(200 - len(keys), 200)]
    assert part["data"]["left_out"] == 200 - len(keys) > 0
    assert {len(column) for column in part["data"]["values"]} == {len(keys)}
    change(3, 1)
    (delta,) = parts(view, part["seq"])
    assert (delta["snapshot"], delta["data"]["keys"], "left_out" in delta["data"]) == (False, ["k003"], False)


@pytest.mark.parametrize("kind", ["feed", "table"])
def test_what_fits_is_whole(seen: Any, kind: Any) -> None:
    """Nothing is left out of little."""
    view = live(kind)
    view.begin(START)
    view.heard(seen([{"n": 1}], [START], keys=[b"k"]), START)
    view.tick(START)
    assert all("left_out" not in part["data"] for part in parts(view))


def test_a_line_of_many_series_fits_by_what_it_is_made_of(seen: Any) -> None:
    """A hundred series of long numbers and long names have under a megabyte, since each has fewer points."""
    panel = make_panel(PanelConfig(kind="line", y="y", by="k", top=100, show="mean", span=3600), "t", set())
    view = LiveView(panel, TICK)
    view.begin(START)
    step = 3_600_000 // 400
    for point in range(400):
        rows = [{"k": f"{n:03}" + "k" * 97, "y": (point + 1) / 3 + n * 1e5} for n in range(100)]
        view.heard(seen(rows, [START - point * step] * 100), START)
    view.tick(START)
    (part,) = view.parts(None, START)
    known = sum(value is not None for column in msgspec.json.decode(part)["data"]["mean"] for value in column)
    assert 20_000 < known <= 40_100
    assert 500_000 < len(part) < 1_000_000
