"""What a rate holds back of lists: cut where it does no harm, nothing lost and nothing moved."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streamweaver import Record, Rejected
from streamweaver.runtime.held_back import HeldBack

items = st.lists(
    st.builds(Record, st.integers(), position=st.none() | st.integers())
    | st.builds(Rejected, st.just(b"?"), st.just("no"), position=st.none() | st.integers()),
    max_size=30,
)


def pieces(given: list[Any], most: int, *, resumes: bool) -> list[list[Any]]:
    """Return what is taken of a list, piece by piece, once nothing of it is lost or has moved."""
    held = HeldBack(resumes)
    held.add(given)
    found = []
    while held:
        found.append(held.take(most))
    assert [item for piece in found for item in piece] == given
    return found


@given(items, st.integers(1, 10))
def test_of_who_does_not_resume_no_piece_is_too_long(given: list[Any], most: int) -> None:
    """Every piece ends behind the last position that it may hold; where there is none it is as long as allowed."""
    found = pieces(given, most, resumes=False)
    assert all(len(piece) <= most for piece in found)
    place = 0
    for piece in found[:-1]:
        place += len(piece)
        ends_at_position = piece[-1].position is not None
        assert ends_at_position or len(piece) == most
        passed_over = given[place : place + most - len(piece)]
        assert all(item.position is None for item in passed_over)
        assert ends_at_position or all(item.position is None for item in piece)


@given(items, st.integers(1, 10))
def test_of_who_resumes_each_piece_ends_behind_a_position(given: list[Any], most: int) -> None:
    """Longer than allowed only where no position is nearer."""
    found = pieces(given, most, resumes=True)
    for piece in found[:-1]:
        assert piece[-1].position is not None
    for piece in found:
        if len(piece) > most:
            assert all(item.position is None for item in piece[:-1])


@given(items)
def test_without_a_rate_a_list_comes_whole(given: list[Any]) -> None:
    """As it was yielded, not even copied."""
    held = HeldBack(resumes=True)
    held.add(given)
    assert held.take(None) is given
    assert not held
    assert held._items is not given, "what has been handed out is not kept"


def test_at_the_end_only_who_does_not_resume_has_its_rest_stored() -> None:
    """With what came behind it; where nothing was held back, what came behind is stored in either case."""
    one, two, three = (Record(n, position=n) for n in range(3))
    for resumes, left in ((False, [two, three]), (True, [])):
        held = HeldBack(resumes)
        held.add([one, two])
        held.take(1)
        assert held.last([three]) == left
        assert held.last([three]) == [three]
