"""What names records by their offsets names the copies after a move."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from streamweaver.contracts import Fetched
from streamweaver.record import Headers
from streamweaver.runtime.dead_letter import ORIGINAL_OFFSET, DeadLetter, from_row, note, replay_headers, to_rows
from streamweaver.runtime.moved_offsets import (
    Copies,
    Offsets,
    moved_letters,
    moved_marks,
    moved_notes,
    moved_offset,
    moved_replays,
    translated,
)


def at(*offsets: int) -> Offsets:
    """Return the places of records with these offsets."""
    found = Offsets()
    found.add(list(offsets))
    return found


@given(st.sets(st.integers(0, 60)), st.integers(0, 70), st.integers(0, 9))
def test_an_offset_becomes_that_of_the_same_record(held: set[int], offset: int, shift: int) -> None:
    """Whatever gaps both sides have: as many records lie before the new offset as before the old one."""
    old = sorted(held)
    new = [shift + 3 * index for index in range(len(old))]
    copies: Copies = {("t", 0): (at(*old), at(*new))}
    found = translated(offset, *copies["t", 0])
    assert sum(there < found for there in new) == sum(there < offset for there in old)
    assert not old or found in (*new, new[-1] + 1)
    # Who means one record gets that one, or learns that it is gone.
    assert moved_offset(("t", 0), offset, copies) == (new[old.index(offset)] if offset in held else None)
    assert moved_offset(("t", 1), offset, copies) is None


@given(st.lists(st.integers(1, 5), max_size=20), st.integers(1, 7))
def test_runs_are_the_same_however_offsets_come(steps: list[int], size: int) -> None:
    """In lists or, without gaps, in ranges; piece by piece or all at once."""
    offsets = [sum(steps[: index + 1]) for index in range(len(steps))]
    pieces = Offsets()
    for begin in range(0, len(offsets), size):
        piece = offsets[begin : begin + size]
        is_run = piece[-1] - piece[0] + 1 == len(piece)
        pieces.add(range(piece[0], piece[-1] + 1) if is_run else piece)
    whole = at(*offsets)
    assert (pieces.runs, pieces.total) == (whole.runs, whole.total)


class Counted(int):
    """An offset that counts how often it is compared."""

    compared = 0

    def __lt__(self, other: int) -> bool:
        """Compare, and count."""
        Counted.compared += 1
        return int(self) < other


def test_a_record_is_found_by_halving() -> None:
    """Where each record is a run of its own, as after transactions, finding it takes no look at all of them."""
    count = 1 << 12
    copies: Copies = {("t", 0): (at(*range(0, 3 * count, 3)), at(*range(count)))}
    Counted.compared = 0
    for number in (0, 1, count // 2, count - 1):
        assert moved_offset(("t", 0), Counted(3 * number), copies) == number
    assert 0 < Counted.compared < 4 * 40


def test_marks_name_the_copies_of_their_letters() -> None:
    """A mark of a letter that has expired is left out, since its id may be another letter's now; so is what is none."""
    copies: Copies = {("letters", 0): (at(3, 5, 9), at(0, 1, 2)), ("letters", 1): (at(), at())}
    keys: list[bytes | None] = [b"0:3", b"0:4", b"0:9", b"1:0", b"2:0", b"nothing", None]
    values: list[bytes | None] = [b"%d" % number for number in range(7)]
    rows = Fetched(keys, values, list(range(7)), [()] * 7, "marks", 0, range(7), 7)
    found = moved_marks("letters", copies)(rows)
    assert (found.keys, found.values, found.timestamps) == ([b"0:0", b"0:2"], [b"0", b"2"], [0, 2])
    assert (found.headers, found.offsets) == ([(), ()], [0, 2])


def letter(offset: int, *, topic: str = "orders", partition: int = 1) -> DeadLetter:
    """Return a dead letter of a record, which has a header that is named as one of ours."""
    return DeadLetter(
        stage="s",
        step="write",
        error="E",
        reason="r",
        tries=1,
        failed_at=9,
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=1,
        key=b"k",
        value=b"v",
        headers=((ORIGINAL_OFFSET, b"5"), ("other", b"")),
    )


def test_letters_name_the_copies_of_their_records() -> None:
    """Of a record that has expired the old number stays, as -1 does, which is no record's; nothing else changes."""
    copies: Copies = {("orders", 1): (at(3, 5, 9), at(0, 1, 2))}
    before = [letter(5), letter(4), letter(-1), letter(9), letter(9, partition=0), letter(9, topic="gone")]
    rows = to_rows(before)
    headers = [*(rows.headers or ()), ((ORIGINAL_OFFSET, b"5"),)]  # the last is no letter
    held = Fetched([*rows.keys, b""], [*rows.values, b""], [*rows.timestamps, 9], headers, "letters", 0, range(7), 7)
    found = moved_letters(copies)(held)
    assert attrs.evolve(found, headers=headers) == held
    assert found.headers is not None
    assert found.headers[6] == headers[6]
    after = [from_row(b"k", b"v", 9, each) for each in found.headers[:6]]
    assert [each.offset for each in after] == [1, 4, -1, 2, 9, 9]
    assert [attrs.evolve(new, offset=old.offset) for new, old in zip(after, before, strict=True)] == before


def test_replayed_records_name_the_copies_of_what_they_were() -> None:
    """Which is of any topic, in the same partition; what somebody else has put there stays as it is."""
    copies: Copies = {("orders", 1): (at(3, 5, 9), at(0, 1, 2)), ("orders", 0): (at(5), at(7))}
    headers: list[Headers] = [replay_headers(letter(5)), replay_headers(letter(4)), ((ORIGINAL_OFFSET, b"5"),), ()]
    held = Fetched([None] * 4, [b""] * 4, [0] * 4, headers, "p.s.replay", 1, range(4), 4)
    found = moved_replays(copies)(held)
    assert attrs.evolve(found, headers=headers) == held
    assert found.headers == [replay_headers(letter(1)), *headers[1:]]
    assert moved_replays(copies)(attrs.evolve(held, headers=None)).headers is None


def test_notes_name_the_copies_of_their_records() -> None:
    """Partition by partition, whatever characters the topic's name has."""
    copies: Copies = {("a@b", 1): (at(3, 5), at(0, 1))}
    assert moved_notes({note("a@b", 5): b"", note("a@b", 4): b""}, 1, copies) == {note("a@b", 1): b""}
    assert moved_notes({note("a@b", 5): b""}, 0, copies) == {}
