"""A live view: numbered parts, snapshots and what follows on them, the past and what comes meanwhile."""

import json

import pytest

from streamweaver.views import LiveView, PanelConfig, fresh_parts, make_panel
from streamweaver.views.live import HELD_RECORDS, KEPT_UPDATES

START = 1_750_000_000_000
TICK = 100


def live_of(kind="feed", **options):
    return LiveView(make_panel(PanelConfig(kind=kind, **options), "t", set()), TICK)


def told(parts):
    return [json.loads(part) for part in parts]


def shown(part):
    return [value["n"] for value in part["data"]["records"]["value"]]


@pytest.fixture
def feed(seen):
    """A feed that has begun, and a way to let a number pass it."""
    live = live_of(top=100)
    live.begin(START)
    clock = [START]

    def let_pass(number):
        clock[0] += TICK
        live.heard(seen([{"n": number}], [clock[0]]), clock[0])
        live.tick(clock[0])

    return live, let_pass


def test_a_newcomer_gets_a_snapshot_and_then_what_follows(feed):
    """Without a number one gets everything; with the newest number nothing; with an older one what came since."""
    live, let_pass = feed
    let_pass(1)
    let_pass(2)
    [whole] = told(live.parts(None, START))
    assert (whole["snapshot"], shown(whole), whole["seq"]) == (True, [1, 2], live.seq)
    assert live.parts(live.seq, START) == []
    let_pass(3)
    [delta] = told(live.parts(whole["seq"], START))
    assert (delta["snapshot"], shown(delta), delta["seq"]) == (False, [3], whole["seq"] + 1)


def test_who_was_away_too_long_gets_a_snapshot(feed):
    """Updates are kept for a while; a client that has missed more of them begins anew."""
    live, let_pass = feed
    let_pass(0)
    seq = live.seq
    for number in range(KEPT_UPDATES + 1):
        let_pass(number)
    assert [part["snapshot"] for part in told(live.parts(seq + 1, START))] == [False] * KEPT_UPDATES
    assert [part["snapshot"] for part in told(live.parts(seq, START))] == [True]


def test_a_gap_brings_everyone_a_snapshot_that_tells_of_it(feed):
    """After records that were not seen no update follows on what a client has."""
    live, let_pass = feed
    let_pass(1)
    seq = live.seq
    live.missed(START, START + 50, 7)
    [part] = told(live.parts(seq, START + TICK))
    assert part["snapshot"] is True
    assert part["data"]["gaps"] == [[START, START + 50, 7]]


def test_what_comes_while_the_past_is_read_follows_it(seen):
    """Live records are held until the past is in, and shown after it, in order."""
    live = live_of(top=100)
    live.heard(seen([{"n": 3}], [START], first=2), START)
    assert live.parts(None, START) == []
    live.remember(seen([{"n": 1}, {"n": 2}], [START - 2, START - 1]), START)
    live.begin(START)
    [part] = told(live.parts(None, START))
    assert shown(part) == [1, 2, 3]


def test_too_much_while_the_past_is_read_is_a_gap(seen):
    """Only so many live records are held; those that had to go are told of."""
    live = live_of("number")
    big = seen([{}] * (HELD_RECORDS // 2), [START] * (HELD_RECORDS // 2))
    for _ in range(3):
        live.heard(big, START)
    live.begin(START)
    [part] = told(live.parts(None, START))
    assert part["data"]["gaps"] == [[START, START, HELD_RECORDS // 2]]


def test_a_past_that_cannot_be_read_is_told_once_and_put_right():
    """Everyone hears the error; once the past could be read, everyone gets a snapshot."""
    live = live_of()
    live.fail("no topic")
    assert told(live.parts(None, START)) == [{"error": "no topic"}]
    assert live.parts(live.seq, START) == []
    live.begin(START)
    [part] = told(live.parts(live.seq - 1, START))
    assert part["snapshot"] is True


def test_much_comes_in_turns(feed):
    """Beyond a size the other views wait for the next call, but one always comes."""
    live, let_pass = feed
    let_pass(1)
    watched, lives = {"a": None, "b": None}, {"a": live, "b": live}
    [first] = told(fresh_parts(watched, lives, START, 10))
    [second] = told(fresh_parts(watched, lives, START, 10))
    assert (first["id"], second["id"]) == ("a", "b")
    assert fresh_parts(watched, lives, START, 10) == []


def test_who_was_served_waits_for_the_others(feed):
    """Views that each fill a message, and change all the time, come in turns."""
    live, let_pass = feed
    watched, lives = dict.fromkeys("abc"), dict.fromkeys("abc", live)
    served = []
    for number in range(6):
        let_pass(number)
        served += dict.fromkeys(part["id"] for part in told(fresh_parts(watched, lives, START, 10)))
    assert served == [*"abcabc"]


def test_a_view_that_is_too_large_is_refused_until_it_is_smaller(seen):
    """An error comes in its place, once a change, and keeps nobody waiting; then everything comes anew."""
    live, small = live_of(top=100, limit=1), live_of()
    watched, lives = {"large": None, "small": None}, {"large": live, "small": small}
    small.begin(START)
    live.begin(START)

    def parts(text, number):
        now = START + 1_000 * number
        live.heard(seen([text], [now]), now)
        live.tick(now)
        return told(fresh_parts(watched, lives, now, 2_000, largest=2_000))

    refusal, other = parts("x" * 3_000, 1)
    assert refusal["id"] == "large"
    assert "of at most 2000" in refusal["error"]
    assert other["id"] == "small"
    assert fresh_parts(watched, lives, START, 2_000, largest=2_000) == []
    assert "error" in parts("y" * 3_000, 2)[0]
    [whole] = parts("z", 3)
    assert (whole["snapshot"], whole["seq"]) == (True, live.seq)


def test_many_updates_that_are_too_large_become_one_snapshot(seen):
    """A view is refused only when a snapshot of it is too large as well."""
    live = live_of(top=100, limit=1)
    live.begin(START)
    watched = {"a": live.seq}
    for number in range(1, 6):
        live.heard(seen([f"{number}" * 500], [START + number * 1_000]), START + number * 1_000)
        live.tick(START + number * 1_000)
    assert len(live.parts(watched["a"], START)) > 1
    [part] = told(fresh_parts(watched, {"a": live}, START, 2_000, largest=2_000))
    assert (part["snapshot"], watched["a"]) == (True, live.seq)
