"""Dead letters: stored and read back byte for byte, whatever the record and the error were."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.record import Headers
from streamweaver.runtime.codec import record_bytes
from streamweaver.runtime.dead_letter import DeadLetter, from_row, original_place, replay_headers, to_rows

TEXT = st.text(max_size=20)
NAMES = st.one_of(TEXT, st.sampled_from(["streamweaver.stage", "streamweaver.topic", "streamweaver.offset"]))
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=5)), max_size=12).map(tuple)
LETTERS = st.builds(
    DeadLetter,
    stage=TEXT,
    step=TEXT,
    error=TEXT,
    reason=TEXT,
    tries=st.integers(1, 9),
    failed_at=st.integers(0, 2**53),
    topic=TEXT,
    partition=st.integers(0, 99),
    offset=st.integers(-1, 2**62),
    timestamp=st.integers(0, 2**53),
    key=st.none() | st.binary(max_size=9),
    value=st.none() | st.binary(max_size=9),
    cut=st.integers(0, 2**40),
    cut_of_key=st.integers(0, 2**40),
    headers=HEADERS,
)

LETTER = DeadLetter(
    stage="s",
    step="t",
    error="E",
    reason="r",
    tries=1,
    failed_at=2,
    topic="a",
    partition=0,
    offset=5,
    timestamp=3,
    key=b"k",
    value=b"v",
    headers=(("h", b"x"),),
)


@given(LETTERS)
def test_what_is_stored_is_read_back(letter: DeadLetter) -> None:
    """Also when the original has headers of our names."""
    rows = to_rows([letter])
    assert rows.headers is not None
    assert from_row(rows.keys[0], rows.values[0], rows.timestamps[0], rows.headers[0]) == letter
    assert letter.as_dict().keys().isdisjoint({"key", "value", "headers"})


@given(LETTERS.filter(lambda letter: letter.offset >= 0))
def test_a_replayed_record_knows_its_place(letter: DeadLetter) -> None:
    """And has the headers that it came with."""
    assert original_place(replay_headers(letter)) == (letter.topic, letter.offset, letter.headers)


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ((), (None, None, ())),
        ((("h", b""),), (None, None, (("h", b""),))),
        ((("streamweaver.topic", b"a"),), ("a", None, ())),
        ((("streamweaver.topic", b"a"), ("streamweaver.offset", b"x")), ("a", None, (("streamweaver.offset", b"x"),))),
        ((("streamweaver.topic", b"\xff"),), ("�", None, ())),
    ],
)
def test_a_record_that_another_put_there_has_less_to_tell(headers: Headers, found: object) -> None:
    """Whatever stands in the replay topic can be read."""
    assert original_place(headers) == found


def test_texts_are_bounded_and_always_storable() -> None:
    """An error may quote the whole record, or hold what UTF-8 cannot."""
    letter = attrs.evolve(LETTER, reason="\ud800" + "x" * 10_000)
    rows = to_rows([letter])
    assert rows.headers is not None
    found = from_row(None, None, 0, rows.headers[0])
    assert found.reason.startswith("\\ud800xxx")
    assert len(found.reason) < 5_000


@pytest.mark.parametrize("missing", ["stage", "step", "error", "reason", "tries", "topic", "partition", "offset"])
def test_what_is_no_dead_letter_is_refused(missing: str) -> None:
    """The text names the header that is missing."""
    rows = to_rows([LETTER])
    assert rows.headers is not None
    headers = tuple(header for header in rows.headers[0] if header[0] != f"streamweaver.{missing}")
    with pytest.raises(ValueError, match=f"no dead letter: header streamweaver.{missing} is missing"):
        from_row(None, None, 0, headers)


@pytest.mark.parametrize("size", [1, 400, 100_000])
@pytest.mark.parametrize("extra", [0, 5_000])
@pytest.mark.parametrize("key", [1, 500, 5_000])
def test_a_letter_fits_the_broker(size: int, extra: int, key: int) -> None:
    """A value too large is cut, then the headers, then the key; the letter counts it and the reason says so."""
    letter = attrs.evolve(LETTER, key=b"k" * key, value=b"v" * size, headers=(("h", b"x" * extra),))
    rows = to_rows([letter], 1_000)
    assert rows.headers is not None
    assert record_bytes(rows.keys[0], rows.values[0], rows.headers[0]) <= 1_000
    found = from_row(rows.keys[0], rows.values[0], 0, rows.headers[0])
    whole = size + extra + key < 650
    assert (attrs.evolve(found, failed_at=letter.failed_at) == letter) == whole
    assert ("kept" in found.reason) != whole
    assert letter.key is not None
    assert letter.value is not None
    assert found.key is not None
    assert found.value is not None
    assert letter.key.startswith(found.key)
    assert letter.value.startswith(found.value)
    assert found.headers in (letter.headers, ())
    assert found.cut == sum(record_bytes(x.key, x.value, x.headers) * n for x, n in ((letter, 1), (found, -1)))
    assert found.cut_of_key == key - len(found.key)
    assert (found.cut_of_key > 0) == (key == 5_000)
    assert ("of the key" in found.reason) == (key == 5_000)
    if found.cut_of_key:
        assert (found.value, found.headers) == (b"", ())


def test_what_was_absent_stays_absent_when_cut() -> None:
    """A record without a key has none in its letter, and a tombstone stays one."""
    rows = to_rows([attrs.evolve(LETTER, key=None, value=b"v" * 5_000), attrs.evolve(LETTER, value=None)], 1_000)
    assert rows.keys == [None, b"k"]
    assert rows.values[1] is None
    rows = to_rows([attrs.evolve(LETTER, key=b"k" * 5_000, value=None)], 1_000)
    assert rows.values == [None]
