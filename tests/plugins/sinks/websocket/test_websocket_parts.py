"""The pure parts of the websocket sink: messages, queues, channels, handshake checks."""

import contextlib
import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Record
from streamweaver_sinks.websocket import admission, protocol
from streamweaver_sinks.websocket.channel import Channel, Subscription
from streamweaver_sinks.websocket.outbox import Frame, Outbox

scalars = st.none() | st.booleans() | st.integers(-100, 100) | st.floats(allow_nan=False) | st.text(max_size=3)


# -- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "truncated"),
        ("[]", "Expected `object`"),
        ('{"type":"shout"}', "Invalid value 'shout'"),
        ('{"type":"subscribe"}', "missing required field `channel`"),
        ('{"type":"subscribe","channel":"a","history":-1}', "history"),
        ('{"type":"subscribe","channel":"a","wher":{}}', "unknown field `wher`"),
        ('{"type":"subscribe","channel":"a","where":{"f":{"x":1}}}', "where"),
        (json.dumps({"type": "subscribe", "channel": "a", "where": dict.fromkeys("abcdefghi", 1)}), "at most 8"),
        (json.dumps({"type": "subscribe", "channel": "a", "where": {"f": [1] * 101}}), "at most 100"),
    ],
)
def test_a_wrong_message_is_a_value_error_that_says_why(text: str, why: str) -> None:
    """What is wrong with a message can be told to its sender."""
    with pytest.raises(ValueError, match=why):
        protocol.parse(text)


@given(st.text() | st.recursive(scalars, lambda v: st.lists(v) | st.dictionaries(st.text(), v)).map(json.dumps))
def test_no_text_breaks_the_parser(text: str) -> None:
    """Anything a client sends is a message or a ValueError."""
    with contextlib.suppress(ValueError):
        protocol.parse(text)


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        ({"symbol": "AAPL"}, {"symbol": "AAPL", "n": 1}, True),
        ({"symbol": "AAPL"}, {"symbol": "MSFT"}, False),
        ({"symbol": ["AAPL", "MSFT"]}, {"symbol": "MSFT"}, True),
        ({"user.name": "bo"}, {"user": {"name": "bo"}}, True),
        ({"user.name": "bo"}, {"user.name": "bo"}, True),
        ({"user.name": "bo"}, {"user": "bo"}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {}, False),
        ({"a": 1}, {"a": [1]}, False),
        ({"a": 1}, "text", False),
    ],
)
def test_where_compares_fields(where: dict[str, Any], value: Any, expected: bool) -> None:
    """Every field equals its value or one of its list; a missing field, a list or an object equals nothing."""
    matches = protocol.matcher(where)
    assert matches is not None
    assert matches(value) is expected


def test_no_where_is_no_filter() -> None:
    """Without conditions a client shares the common frames."""
    assert protocol.matcher({}) is None


@given(st.lists(st.recursive(scalars | st.binary(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)), max_size=8))
def test_every_record_is_one_line_of_json(values: list[Any]) -> None:
    """Whatever the values are, each record is one line, and the frame made of them is JSON."""
    encoded = protocol.encode_records([Record(value, key=b"k") for value in values])
    lines = encoded.splitlines()
    assert len(lines) == len(values)
    frame = json.loads(protocol.records_frame("c", encoded[:-1].replace(b"\n", b",")))
    assert [record["key"] for record in frame["records"]] == ["k"] * len(values)


@pytest.mark.parametrize("bad", ["\ud800", {"a": "\ud800"}])
def test_what_cannot_be_encoded_is_shown_and_harms_no_neighbour(bad: Any) -> None:
    """A live view refuses no record."""
    lines = protocol.encode_records(
        [Record(1), Record(bad), Record(b"\x00"), Record({1, 2}, key="\ud800")]
    ).splitlines()
    assert [json.loads(line)["value"] for line in lines] == [1, ascii(bad), "AA==", "{1, 2}"]


@given(st.lists(st.integers(1, 120_000), max_size=12))
def test_frames_are_cut_without_loss(sizes: list[int]) -> None:
    """Cutting keeps every record, in order, and no frame of several records is over the size."""
    lines = [b"1" * size for size in sizes]
    bodies = list(protocol.cut(lines))
    assert [line for body, _ in bodies for line in body.split(b",")] == lines
    assert sum(count for _, count in bodies) == len(lines)
    assert all(count == 1 or len(body) <= protocol.FRAME_BYTES + count for body, count in bodies)


# -- the queue of a client ------------------------------------------------------------------------


def frame(channel: str, records: int, size: int = 0) -> Frame:
    return Frame(channel, protocol.records_frame(channel, b",".join([b"1" + b"0" * size] * records)), records)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 5), st.integers(0, 400)) | st.none()))
def test_the_queue_is_bounded_and_every_loss_is_told(steps: list[tuple[str, int, int] | None]) -> None:
    """Records put equal records taken, dropped and told, or waiting; never more waits than is allowed."""
    outbox = Outbox(4, 1000)
    put = told = taken = dropped = 0
    for step in [*steps, *[None] * 6]:
        if step is None:
            message = outbox.take()
            if message is not None:
                content = json.loads(message)
                taken += len(content["records"])
                told += content["dropped"]
        else:
            put += step[1]
            dropped += outbox.put(frame(*step))
        assert len(outbox.frames) <= 4
        assert outbox.size == sum(len(f.data) for f in outbox.frames) <= 1000
    assert outbox.take() is None
    outbox.beat()
    beat = outbox.take()
    assert beat is not None
    told += sum(json.loads(beat)["dropped"].values())
    assert told == dropped
    assert put == taken + dropped


def test_a_heartbeat_comes_only_when_there_is_nothing_better() -> None:
    """Records are a sign of life by themselves."""
    outbox = Outbox(4, 1000)
    outbox.put(frame("a", 1))
    outbox.beat()
    assert json.loads(outbox.take() or b"")["type"] == "records"
    assert outbox.take() is None
    outbox.beat()
    outbox.put(frame("a", 1))
    assert json.loads(outbox.take() or b"")["type"] == "records"
    assert outbox.take() is None
    assert not outbox.waiting.is_set()


# -- channels -------------------------------------------------------------------------------------


def channel_with(*subscriptions: Subscription) -> tuple[Channel, list[int]]:
    dropped: list[int] = []
    channel = Channel("c", dropped.append, lambda: 0)
    for subscription in subscriptions:
        channel.subscriptions[object()] = subscription
    return channel, dropped


def taken(outbox: Outbox) -> list[Any]:
    values = []
    while message := outbox.take():
        values += [record["value"] for record in json.loads(message)["records"]]
    return values


def test_clients_without_a_filter_share_the_same_bytes() -> None:
    """One frame is built for all of them."""
    one, two = Subscription(Outbox(9, 9999)), Subscription(Outbox(9, 9999))
    channel, _ = channel_with(one, two)
    channel.add([Record(1), Record(2)])
    channel.add([Record(3)])
    channel.flush()
    assert len(one.outbox.frames) == 1
    assert one.outbox.frames[0] is two.outbox.frames[0]
    assert taken(two.outbox) == [1, 2, 3]


def test_a_filter_gets_its_records_alone() -> None:
    """A filtered client gets what matches, and no empty frames."""
    narrow = Subscription(Outbox(9, 9999), protocol.matcher({"s": "A"}))
    channel, _ = channel_with(narrow)
    channel.add([Record({"s": "A", "n": 1}), Record({"s": "B"})])
    channel.flush()
    channel.add([Record({"s": "B"})])
    channel.flush()
    assert len(narrow.outbox.frames) == 1
    assert taken(narrow.outbox) == [{"s": "A", "n": 1}]


def test_nothing_is_encoded_for_nobody() -> None:
    """A channel without clients keeps nothing."""
    channel, _ = channel_with()
    channel.add([Record(1)])
    assert (channel.records, channel.chunks, channel.size) == ([], [], 0)


def test_a_record_that_clients_would_choke_on_is_counted_as_dropped() -> None:
    """Records over 1,000,000 bytes are left out, and the client is told."""
    everything = Subscription(Outbox(9, 9_999_999))
    channel, dropped = channel_with(everything)
    channel.add([Record("x" * 1_000_001), Record(2)])
    assert dropped == [1]
    message = everything.outbox.take()
    assert message is not None
    content = json.loads(message)
    assert (content["dropped"], [r["value"] for r in content["records"]]) == (1, [2])


@given(
    before=st.integers(0, 5),
    during=st.integers(0, 5),
    after=st.integers(0, 5),
    lag=st.integers(0, 5),
    limit=st.integers(1, 20),
    flushes=st.booleans(),
)
def test_history_and_live_meet_without_gap_or_repeat(
    before: int, during: int, after: int, lag: int, limit: int, *, flushes: bool
) -> None:
    """Whatever comes while the history is read, and however far the sink lags, each record comes once, in order.

    The topic holds records 0 to end; the sink has handed out `before` of them at the join and `during` more while the
    history is read, which holds the newest `limit` of everything up to `lag` records ahead of the sink.
    """
    end = before + during + after + lag
    records = [Record({"n": n}, key=b"k", timestamp=n) for n in range(end)]
    subscription = Subscription(Outbox(999, 999_999))
    channel, _ = channel_with(subscription)
    subscription.start_joining()
    for record in records[before : before + during]:
        channel.add([record])
        if flushes:
            channel.flush()
    history = records[: before + during + lag][-limit:]
    channel.send_history(subscription, history, 1)
    channel.add(records[before + during :])
    channel.flush()
    got = [value["n"] for value in taken(subscription.outbox)]
    first = max(0, before + during + lag - limit)
    assert sorted(got) == sorted({*range(first, end), *range(before, end)})
    assert len(set(got)) == len(got)


def test_held_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A history that takes long cannot fill the memory: the oldest held records go, counted."""
    monkeypatch.setattr(protocol, "FRAME_BYTES", 300)
    subscription = Subscription(Outbox(9, 1000))
    channel, dropped = channel_with(subscription)
    subscription.start_joining()
    channel.add([Record(n) for n in range(100)])
    channel.flush()
    assert subscription.held_bytes <= 1000
    assert sum(dropped) == 100 - len(subscription.held or ())
    channel.send_history(subscription, [], 1)
    assert taken(subscription.outbox)[-1] == 99


def test_after_a_while_a_client_with_history_shares_frames_again() -> None:
    """Comparing with the history ends, so a joined client costs no more than another."""
    now = 0
    subscription = Subscription(Outbox(9, 9999))
    channel = Channel("c", lambda _: None, lambda: now)
    channel.subscriptions[object()] = subscription
    subscription.start_joining()
    channel.send_history(subscription, [Record("old")], until=10)
    shares = [subscription.plain]
    now = 10
    channel.add([Record("old")])
    channel.flush()
    shares.append(subscription.plain)
    assert shares == [False, True]
    assert taken(subscription.outbox) == ["old", "old"]


# -- handshakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "wish"),
    [
        ("/", admission.Wish(("a", "b"), implicit=True)),
        ("/?history=5", admission.Wish(("a", "b"), 5, implicit=True)),
        ("/b", admission.Wish(("b",))),
        ("/?channels=b,a,b", admission.Wish(("b", "a"))),
        ("/?channels=", admission.Wish(())),
    ],
)
def test_the_address_says_what_is_wanted(target: str, wish: admission.Wish) -> None:
    """Path and query name channels and history."""
    assert admission.read_target(target, ("a", "b")) == wish


@pytest.mark.parametrize(
    ("target", "status"),
    [("/c", 404), ("/?channels=a,c", 404), ("/?x=1", 400), ("/a?history=-1", 400), ("/a?history=x", 400), ("/?&", 400)],
)
def test_an_address_that_names_what_there_is_not_is_refused(target: str, status: int) -> None:
    """Unknown channels and parameters are no silent surprises."""
    with pytest.raises(admission.Refused) as caught:
        admission.read_target(target, ("a", "b"))
    assert caught.value.status == status


def test_a_token_in_the_address_is_refused() -> None:
    """Addresses end up in logs, so a token there is an error that says where it belongs, and does not repeat it."""
    with pytest.raises(admission.Refused, match="Authorization: Bearer") as caught:
        admission.read_target("/?token=canary", ("a",))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "bound", "hosts", "good"),
    [
        ("127.0.0.1:8765", "127.0.0.1", [], True),
        ("localhost:1", "127.0.0.1", [], True),
        ("[::1]:8765", "::1", [], True),
        ("evil.example:8765", "127.0.0.1", [], False),
        ("127.0.0.1.evil.example", "localhost", [], False),
        ("live.example", "127.0.0.1", ["Live.example"], True),
        (None, "127.0.0.1", [], False),
        ("[bad", "127.0.0.1", [], False),
        ("any.example", "0.0.0.0", [], True),
        ("any.example", "0.0.0.0", ["live.example"], False),
    ],
)
def test_a_loopback_server_has_loopback_names(host: str | None, bound: str, hosts: list[str], good: bool) -> None:
    """A name that was rebound to this machine is refused."""
    if good:
        admission.check_host(host, bound, hosts)
    else:
        with pytest.raises(admission.Refused):
            admission.check_host(host, bound, hosts)


@pytest.mark.parametrize(
    ("origin", "good"),
    [
        (None, True),
        ("http://localhost:8000", True),
        ("https://app.example", True),
        ("https://evil.example", False),
        ("null", False),
        ("http://localhost.evil.example", False),
        ("http://[", False),
    ],
)
def test_pages_of_other_hosts_are_refused(origin: str | None, good: bool) -> None:
    """A browser's page connects only from the same host or a listed origin."""
    if good:
        admission.check_origin(origin, "localhost:8765", ["https://app.example"])
    else:
        with pytest.raises(admission.Refused) as caught:
            admission.check_origin(origin, "localhost:8765", ["https://app.example"])
        assert caught.value.status is HTTPStatus.FORBIDDEN


@pytest.mark.parametrize("shown", ["Bearer wrong", "Basic s3cret", "s3cret", "Bearer", "Bearer s3cre", "Bearer sécret"])
def test_a_wrong_token_is_refused(shown: str) -> None:
    """Only the exact token in the bearer scheme is good."""
    with pytest.raises(admission.Refused) as caught:
        admission.check_bearer({"Authorization": shown}, "s3cret")
    assert caught.value.status is HTTPStatus.UNAUTHORIZED
    assert admission.check_bearer({"Authorization": "bearer s3cret"}, "s3cret") is True
    assert admission.check_bearer({}, "s3cret") is False
