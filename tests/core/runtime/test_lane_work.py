"""Splitting replayed rows by where they came from."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Fetched
from streamweaver.record import Headers
from streamweaver.runtime.lane_work import _by_original_topic

ROWS = st.lists(
    st.tuples(st.sampled_from([None, "a", "b"]), st.none() | st.integers(0, 99), st.integers(1, 3)),
    min_size=1,
    max_size=12,
)


def headers_of(topic: str | None, offset: int | None) -> Headers:
    place: Headers = ()
    if topic is not None:
        place = (("streamweaver.topic", topic.encode()),)
        if offset is not None:
            place += (("streamweaver.offset", str(offset).encode()),)
    return (*place, ("h", b"x"))


@given(ROWS)
def test_parts_cover_the_rows_in_order(rows: list[tuple[str | None, int | None, int]]) -> None:
    """Each row once, with its own headers, topic and place; the offsets of parts follow one another."""
    offsets = [sum(gap for _, _, gap in rows[: n + 1]) for n in range(len(rows))]
    count = len(rows)
    fetched = Fetched(
        [b"%d" % n for n in range(count)],
        [b"v"] * count,
        list(range(count)),
        [headers_of(topic, offset) for topic, offset, _ in rows],
        "t.f.replay",
        3,
        offsets,
        offsets[-1] + 5,
    )
    parts = _by_original_topic(fetched)
    found = [
        (
            part.topic,
            shown,
            part.rows.offsets[n],
            part.rows.keys[n],
            part.rows.timestamps[n],
            (part.rows.headers or [])[n],
        )
        for part in parts
        for n, shown in enumerate(part.offsets)
    ]
    assert found == [
        (
            topic or "t.f.replay",
            offsets[n] if topic is None or offset is None else offset,
            offsets[n],
            b"%d" % n,
            n,
            (("h", b"x"),),
        )
        for n, (topic, offset, _) in enumerate(rows)
    ]
    assert all(one.topic != following.topic for one, following in pairwise(parts))
    ends = [part.rows.next_offset for part in parts]
    assert ends == [*(part.rows.offsets[0] for part in parts[1:]), offsets[-1] + 5]
    assert {part.rows.partition for part in parts} == {3}
