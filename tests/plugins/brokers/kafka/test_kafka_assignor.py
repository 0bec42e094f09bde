"""Partitions are shared out evenly, together by number, and stay with whom they were."""

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from streamweaver_brokers.kafka.assignor import LaneAssignor, share

claims_of = st.dictionaries(st.text("abcdef", min_size=1), st.sets(st.integers(0, 40)), min_size=1, max_size=8)


@given(st.integers(0, 40), claims_of)
def test_each_number_goes_to_one_member_evenly(count: int, claims: dict[str, set[int]]) -> None:
    """Every number is given out once, and no member has two more than another."""
    shares = share(count, claims)
    assert sorted(number for numbers in shares.values() for number in numbers) == list(range(count))
    assert shares.keys() == claims.keys()
    sizes = [len(numbers) for numbers in shares.values()]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 40), st.integers(1, 8))
def test_nothing_moves_without_need(count: int, members: int) -> None:
    """When nobody comes or goes, everybody keeps what they have."""
    first = share(count, {f"m{number}": () for number in range(members)})
    assert share(count, first) == first


@given(st.integers(0, 40), st.integers(1, 8))
def test_only_what_must_move_moves(count: int, members: int) -> None:
    """A member that leaves costs the others nothing; one that joins takes its share and no more moves."""
    before = share(count, {f"m{number}": () for number in range(members)})
    joined = share(count, {**before, "new": []})
    assert all(set(joined[member]) <= set(before[member]) for member in before)
    left = {member: numbers for member, numbers in joined.items() if member != "m0"}
    after = share(count, left)
    assert all(set(after[member]) >= set(left[member]) for member in left)


@given(st.integers(0, 40), claims_of)
def test_all_members_come_to_the_same(count: int, claims: dict[str, set[int]]) -> None:
    """The order in which claims are looked at changes nothing."""
    assert share(count, claims) == share(count, dict(reversed(claims.items())))


def cluster(**partitions: int) -> SimpleNamespace:
    """Return what an assignor needs of a cluster."""
    return SimpleNamespace(
        partitions_for_topic=lambda topic: set(range(partitions[topic])) if topic in partitions else None
    )


def assigned(single: bool, topics: dict[str, list[str]], owned: dict[str, list[int]], **partitions: int) -> dict:
    """Let members with these topics and claims share partitions; returns (topic, partitions) by member."""
    members = {}
    for member, names in topics.items():
        assignor = LaneAssignor(single=single)
        assignor.owned = owned.get(member, [])
        members[member] = assignor.metadata(names)
    found = LaneAssignor(single=single).assign(cluster(**partitions), members)
    return {member: [tuple(part) for part in assignment.assignment] for member, assignment in found.items()}


def test_partitions_of_one_number_stay_together() -> None:
    """Partition i of every topic goes to one member, also where topics differ in size."""
    both = {"m1": ["wide", "narrow"], "m2": ["wide", "narrow"]}
    assert assigned(False, both, {"m2": [0, 1]}, wide=4, narrow=2) == {
        "m1": [("wide", [2, 3])],
        "m2": [("narrow", [0, 1]), ("wide", [0, 1])],
    }


def test_a_single_group_goes_to_its_holder() -> None:
    """One member gets everything: who has it already, else the first."""
    both = {"m1": ["topic"], "m2": ["topic"]}
    assert assigned(True, both, {}, topic=3) == {"m1": [("topic", [0, 1, 2])], "m2": []}
    assert assigned(True, both, {"m2": [0]}, topic=3) == {"m1": [], "m2": [("topic", [0, 1, 2])]}


def test_a_member_gets_no_topic_that_it_does_not_know() -> None:
    """While pipeline files differ, a number still has one owner, and unknown or missing topics are left alone."""
    assert assigned(False, {"m1": ["old"], "m2": ["old", "new", "gone"]}, {}, old=2, new=2) == {
        "m1": [("old", [0])],
        "m2": [("new", [1]), ("old", [1])],
    }


def test_foreign_claims_are_no_claims() -> None:
    """What another program says in the group's protocol does no harm."""
    members = {"m1": LaneAssignor(single=False).metadata(["topic"])}
    members["m1"].user_data = b"\xff\x00"
    found = LaneAssignor(single=False).assign(cluster(topic=1), members)
    assert [tuple(part) for part in found["m1"].assignment] == [("topic", [0])]
