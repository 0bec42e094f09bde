"""Between bytes and records: batches of anything, the one at fault named."""

from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Fetched, Record
from streamweaver.codecs import Bytes, Json, Text
from streamweaver.contracts import Rows
from streamweaver.errors import BadRecord, CodecError
from streamweaver.runtime.codec import Encoder, decode, decode_each, record_bytes, valid_headers

KEYS = st.one_of(st.none(), st.text(max_size=8), st.binary(max_size=8), st.integers(), st.booleans(), st.floats(-9, 9))
HEADERS = st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=2).map(tuple)
RECORDS = st.builds(
    Record,
    st.one_of(st.none(), st.integers(-9, 9), st.text(max_size=3), st.dictionaries(st.text(max_size=2), st.integers())),
    KEYS,
    st.one_of(st.none(), st.integers(0, 2**53)),
    HEADERS,
)


def as_bytes(key: Any) -> bytes | None:
    return key if key is None or isinstance(key, bytes) else str(key).encode()


@given(st.lists(RECORDS, max_size=20), st.integers(1, 7), st.integers(0, 9))
def test_what_is_encoded_is_decoded(records: list[Record], partitions: int, home: int) -> None:
    """Every record, in order within its partition, which is the one that Kafka's clients choose."""
    try:
        encoded = Encoder(Json(), partitions, None).encode(records, home, 77)
    except BadRecord as bad:
        pytest.fail(str(bad))
    every = list(range(partitions))
    expected: dict[int, list[Record]] = {}
    for record in records:
        key = as_bytes(record.key)
        place = home % partitions if key is None else DefaultPartitioner()(key, every, every)
        time = 77 if record.timestamp is None else record.timestamp
        expected.setdefault(place, []).append(Record(record.value, key, time, record.headers))
    decoded = {}
    for place, rows in encoded.items():
        if len(rows):
            fetched = Fetched(rows.keys, rows.values, rows.timestamps, rows.headers, "t", place, range(len(rows)))
            found, bad_rows = decode(fetched, Json())
            assert bad_rows == []
            assert [r.origin for r in found] == list(range(len(rows)))
            decoded[place] = found
    assert decoded == expected


@given(st.lists(st.sampled_from([b"1", b'"x"', b"{", b"\xff", None, b"[2]"]), max_size=12))
def test_undecodable_rows_are_told_apart(values: list[bytes | None]) -> None:
    """The others are decoded; each has its place."""
    rows = Fetched([None] * len(values), list(values), [1] * len(values), None, "t", 0, range(len(values)))
    records, undecoded = decode(rows, Json())
    bad = [index for index, value in enumerate(values) if value in (b"{", b"\xff")]
    assert [found.index for found in undecoded] == bad
    assert [record.origin for record in records] == [index for index in range(len(values)) if index not in bad]
    assert all(isinstance(found.error, Exception) for found in undecoded)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"k": "a"}, b"a"),
        ({"k": b"a".decode()}, b"a"),
        ({"k": 5}, b"5"),
        ({"k": True}, b"True"),
        ({"k": 1.0}, b"1.0"),
        (None, b"old"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["k", "k.deep"])
def test_a_field_becomes_the_key(value: Any, key: bytes, path: str) -> None:
    """Text, bytes, a number or a truth value; a dotted path leads inside; a tombstone keeps its key."""
    if path == "k.deep" and value is not None:
        value = {"k": {"deep": value["k"]}}
    encoded = Encoder(Json(), 1, path).encode([Record(value, "old")], 0, 1)
    assert encoded[0].keys == [key]


def test_equal_numbers_of_different_types_are_different_keys() -> None:
    """1, 1.0 and True are one key of a dict, not of a topic."""
    keys = [1, True, 1.0, 1, "1", b"1"]
    encoded = Encoder(Json(), 1, None).encode([Record(0, key) for key in keys], 0, 1)  # type: ignore[arg-type]
    assert encoded[0].keys == [b"1", b"True", b"1.0", b"1", b"1", b"1"]


BAD: list[tuple[Record, str]] = [
    (Record({"x": 1}), "key: the record has no field 'k'"),
    (Record({"k": None}), "key: field 'k' is null"),
    (Record("text"), "key: the record has no field 'k'"),
    (Record([1]), "key: the record has no field 'k'"),
    (Record({"k": {}}), "key: got dict, expected text, bytes or a number"),
    (Record({"k": ()}), "key: got tuple, expected text, bytes or a number"),
    (Record({"k": 1}, timestamp=True), "timestamp: got bool, expected int (milliseconds since 1970)"),
    (Record({"k": 1}, timestamp=-(1 << 63)), f"timestamp: got {-(1 << 63)}, expected milliseconds since 1970"),
    (Record({"k": 1}, headers=(("a",),)), "headers: got (('a',),), expected pairs of str and bytes"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("bad", "text"), BAD, ids=[text for _, text in BAD])
def test_the_record_at_fault_is_named(bad: Record, text: str) -> None:
    """With what was got and what was expected."""
    good = Record({"k": "x"}, headers=(("a", b""),))
    with pytest.raises(BadRecord) as caught:
        Encoder(Json(), 3, "k").encode([good, good, bad, good], 0, 1)
    assert caught.value.index == 2
    assert str(caught.value.why) == text


def test_a_record_beyond_the_brokers_limit_is_bad() -> None:
    """Key, value and headers together; the whole batch may be larger."""
    encoder = Encoder(Text(), 1, None, max_bytes=10)
    small = Record("12345", "key")
    assert len(encoder.encode([small] * 5, 0, 1)[0]) == 5
    assert record_bytes(b"key", b"12345678", ()) == 11
    for large in (Record("12345678", "key"), Record("1234", "key", headers=(("a", b"bcd"),))):
        with pytest.raises(
            BadRecord, match="the record has 11 bytes, the broker takes 10; store a reference"
        ) as caught:
            encoder.encode([small, large], 0, 1)
        assert caught.value.index == 1


def test_a_batch_at_fault_as_a_whole_is_no_records_fault() -> None:
    """A codec that fails for the batch only is a defect, and raised as it is."""

    class Moody:
        calls = 0

        def encode(self, value: Any) -> bytes:
            self.calls += 1
            if self.calls == 1:
                raise CodecError("once")
            return b""

        def decode(self, data: bytes) -> Any: ...

    with pytest.raises(CodecError, match="once"):
        Encoder(Moody(), 1, None).encode([Record(1)], 0, 1)


def test_many_keys_are_not_kept_for_ever() -> None:
    """The memory of keys is bounded; records without a key go to their partition before and after it is cleared."""
    encoder = Encoder(Bytes(), 4, None)
    keys = [key for n in range(50_003) for key in (b"%d" % n, *([None] if n % 100 == 0 or n > 49_990 else []))]
    encoded = encoder.encode([Record(b"", key) for key in keys], 3, 1)
    assert len(encoder._places) < 50_000
    assert {place: rows.keys.count(None) for place, rows in encoded.items()} == {0: 0, 1: 0, 2: 0, 3: keys.count(None)}


@pytest.mark.parametrize("headers", ["ab", (("a", "b"),), ((1, b""),), (("a", b"", 1),), None], ids=repr)
def test_headers_are_pairs_of_text_and_bytes(headers: Any) -> None:
    """Nothing else can be stored."""
    assert not valid_headers(headers)
    assert valid_headers((("a", b""),))


columns_of = st.lists(
    st.tuples(
        st.none() | st.sampled_from([b"1", b"{}", b'{"a": [1, null]}', b'"x"']),
        st.none() | st.sampled_from([b"a", b"b", b"c"]),
        st.integers(0, 1 << 41),
        st.sampled_from([(), (("h", b"1"),)]),
    ),
    min_size=1,
)


@given(columns_of, st.booleans())
def test_a_batch_is_decoded_as_its_rows_are(rows: list[Any], with_headers: bool) -> None:
    """The quick form, by columns, makes the records that the slow one makes, row by row, origins included."""
    values, keys, times, headers = (list(column) for column in zip(*rows, strict=True))
    fetched = Fetched(keys, values, times, headers if with_headers else None, "t", 0, range(len(rows)), len(rows))
    quick, slow = decode(fetched, Json()), decode_each(fetched, Json().decode)
    assert quick == slow
    assert [record.origin for record in quick[0]] == [record.origin for record in slow[0]]


@given(columns_of, st.integers(1, 5), st.integers(0, 9))
def test_a_batch_is_encoded_as_its_records_are(rows: list[Any], partitions: int, home: int) -> None:
    """Over any number of partitions, a batch gives the rows that its records give one after the other."""
    values, keys, times, headers = (list(column) for column in zip(*rows, strict=True))
    records, _ = decode(Fetched(keys, values, times, headers, "t", 0, range(len(rows)), len(rows)), Json())
    encoder = Encoder(Json(), partitions, None, 1_000)
    slow: dict[int, Rows] = {}
    for record in records:
        for partition, row in encoder.encode([record], home, 5).items():
            found = slow.setdefault(partition, Rows([], [], [], []))
            found.keys += row.keys
            found.values += row.values
            found.timestamps += row.timestamps
            assert found.headers is not None
            found.headers += row.headers or [()]
    quick = encoder.encode(records, home, 5)
    for row in quick.values():
        row.headers = row.headers or [()] * len(row)
    assert quick == slow
