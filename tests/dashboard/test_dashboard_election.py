"""Which of several dashboards tells of alerts."""

from hypothesis import given
from hypothesis import strategies as st

from streamweaver_dashboard.election import LISTEN_MS, RENEW_MS, SILENT_MS, Election

NOW = 1_750_000_000_000


def listener(name):
    """Return one that has listened for long enough to claim, and has heard nobody."""
    made = Election(name)
    assert made.to_say(NOW - LISTEN_MS) is None
    assert made.to_say(NOW - 1) is None
    return made


def test_a_new_one_listens_first():
    """It claims nothing before the one that is there must have been heard, and nothing when it was."""
    one, new = listener("one"), Election("new")
    claim = one.to_say(NOW)
    one.heard(claim, NOW)
    assert new.to_say(NOW + 1) is None
    again = one.to_say(NOW + RENEW_MS)
    new.heard(again, NOW + RENEW_MS)
    assert new.to_say(NOW + LISTEN_MS + 1) is None
    assert (one.speaks(NOW + RENEW_MS), new.speaker) == (True, "one")


def test_the_first_claim_of_a_term_counts():
    """Two that hear of nobody claim the same term: the order in the topic decides, and both see it."""
    one, other = listener("one"), listener("other")
    claims = [one.to_say(NOW), other.to_say(NOW)]
    assert not one.speaks(NOW)
    for claim in claims:
        one.heard(claim, NOW)
        other.heard(claim, NOW)
    assert (one.speaks(NOW), other.speaks(NOW)) == (True, False)
    assert other.to_say(NOW + RENEW_MS) is None
    assert one.to_say(NOW + RENEW_MS) == {"announcer": "one", "term": NOW, "time": NOW + RENEW_MS}


def test_one_that_leaves_or_falls_silent_is_followed():
    """After its last words at once, otherwise after a while; when it comes back it hears that it is not the one."""
    one, other = listener("one"), listener("other")

    def say(word, at):
        for each in (one, other):
            each.heard(word, at)

    say(one.to_say(NOW), NOW)
    assert other.to_say(NOW + SILENT_MS - 1) is None
    later = NOW + SILENT_MS
    assert not one.speaks(later)
    claim = other.to_say(later)
    other.heard(claim, later)
    assert other.speaks(later)
    one.heard(claim, later)
    assert not one.speaks(later)
    say(other.last_words(later), later)
    say(one.to_say(later + RENEW_MS), later + RENEW_MS)
    assert one.speaks(later + RENEW_MS)
    assert other.last_words(later) is None


def test_nonsense_changes_nothing():
    """A record of another form, or of an older term, is none of the election's."""
    one = listener("one")
    one.heard(one.to_say(NOW), NOW)
    for said in ({}, {"announcer": 5, "term": NOW + 9}, {"announcer": "x", "term": "y"}, {"announcer": "x", "term": 1}):
        one.heard(said, NOW)
    assert one.speaks(NOW)


def test_a_clock_that_was_set_back_keeps_nobody_silent_for_long():
    """Who is heard later than now is there, but is followed after the same while."""
    one, other = listener("one"), listener("other")
    word = one.to_say(NOW)
    for each in (one, other):
        each.heard(word, NOW)
    earlier = NOW - 3_600_000
    assert one.speaks(earlier)
    assert other.to_say(earlier) is None
    assert other.to_say(earlier + SILENT_MS)["announcer"] == "other"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(["tick", "tick", "tick", "pause", "leave"]), st.integers(0, 4_000)
        ),
        max_size=80,
    )
)
def test_never_do_two_speak_that_have_heard_the_same(steps):
    """Whatever the dashboards do, of those that have read the whole topic at most one counts itself in."""
    members = [Election(str(number)) for number in range(4)]
    topic, read, now = [], [0] * 4, NOW
    for who, does, pause in steps:
        now += pause
        member = members[who]
        if does == "pause":
            continue
        for at, word in topic[read[who] :]:
            member.heard(word, max(at, now - 100))
        read[who] = len(topic)
        word = member.last_words(now) if does == "leave" else member.to_say(now)
        if word is not None:
            topic.append((now, word))
        speaking = [n for n, each in enumerate(members) if read[n] >= len(topic) and each.speaks(now)]
        assert len(speaking) <= 1
