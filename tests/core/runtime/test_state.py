"""The state of a step: what it sees, what is kept when a record or a unit fails, against plain dicts."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamweaver.runtime import state as module
from streamweaver.runtime.state import StateView

KEYS = st.sampled_from(["a", "b", b"a", 1, 2, "", -5])
VALUES = st.sampled_from([0, 1, None, "x", [1, 2], {"n": [3]}])


class Lane:
    """The part of a lane that state is read from."""

    def __init__(self) -> None:
        self.stored: dict[bytes, bytes] = {}
        self.reads = 0

    def get_state(self, store: str, partition: int, key: bytes) -> bytes | None:
        self.reads += 1
        return self.stored.get(key)

    def state_items(self, store: str, partition: int) -> Any:
        return iter(sorted(self.stored.items()))


def commit(view: StateView, lane: Lane) -> None:
    """Store a unit as the engine and a broker do."""
    for key, value in view.changes().items():
        if value is None:
            lane.stored.pop(key, None)
        else:
            lane.stored[key] = value
    view.committed()


def view_of(lane: Lane) -> StateView:
    return StateView(lane, "store", 0)  # type: ignore[arg-type]


class AgainstDicts(RuleBasedStateMachine):
    """Three dicts: what is durable, what the unit has saved, what the open record sees."""

    def __init__(self) -> None:
        super().__init__()
        self.lane = Lane()
        self.view = view_of(self.lane)
        self.durable: dict[Any, bytes] = {}
        self.saved: dict[Any, bytes] = {}
        self.open: dict[Any, bytes] = {}

    @rule(key=KEYS, value=VALUES)
    def set(self, key: Any, value: Any) -> None:
        self.view[key] = msgspec.msgpack.decode(msgspec.msgpack.encode(value))
        self.open[key] = msgspec.msgpack.encode(value)

    @rule(key=KEYS)
    def get(self, key: Any) -> None:
        found = self.view.get(key, "nothing")
        assert found == (msgspec.msgpack.decode(self.open[key]) if key in self.open else "nothing")
        assert (key in self.view) == (key in self.open)

    @rule(key=KEYS)
    def change_in_place(self, key: Any) -> None:
        found = self.view.get(key)
        if isinstance(found, list):
            found.append(len(found))
            self.view[key] = found
            self.open[key] = msgspec.msgpack.encode(found)

    @rule(key=KEYS)
    def delete(self, key: Any) -> None:
        if key in self.open:
            del self.view[key]
            del self.open[key]
        else:
            with pytest.raises(KeyError):
                del self.view[key]
            with pytest.raises(KeyError):
                self.view[key]

    @rule()
    def save(self) -> None:
        self.view.save(self.view.encoded())
        self.saved = dict(self.open)

    @rule()
    def restore(self) -> None:
        self.view.restore()
        self.open = dict(self.saved)

    @rule()
    def rollback(self) -> None:
        self.view.rollback()
        self.open, self.saved = dict(self.durable), dict(self.durable)

    @rule()
    def commit(self) -> None:
        self.save()
        commit(self.view, self.lane)
        self.durable = dict(self.saved)

    @rule()
    def restart(self) -> None:
        self.view = view_of(self.lane)
        self.open, self.saved = dict(self.durable), dict(self.durable)

    @rule()
    def look_at_all(self) -> None:
        found = {key: msgspec.msgpack.encode(value) for key, value in self.view.items()}
        assert found == self.open

    @invariant()
    def only_what_was_committed_is_stored(self) -> None:
        assert self.lane.stored == {msgspec.msgpack.encode(key): value for key, value in self.durable.items()}


AgainstDicts.TestCase.settings = settings(stateful_step_count=30)
test_it_is_a_dict_with_savepoints = AgainstDicts.TestCase


@pytest.mark.parametrize("key", [True, 1.5, None, ("a",)], ids=repr)
def test_a_key_is_text_bytes_or_a_whole_number(key: Any) -> None:
    """Any other key is refused by name of its type, wherever it is used."""
    view = view_of(Lane())
    for use in (lambda: view.get(key), lambda: view.__setitem__(key, 1), lambda: key in view, lambda: view[key]):
        with pytest.raises(TypeError, match=f"state: got a key of type {type(key).__name__}, expected str, bytes or"):
            use()


def test_a_value_that_cannot_be_stored_fails_when_it_is_encoded() -> None:
    """It does so before anything is kept, so that the record at fault can be told."""
    view = view_of(Lane())
    view["good"] = 1
    view["bad"] = object()
    with pytest.raises(TypeError, match="object"):
        view.encoded()
    view.restore()
    assert view.changes() == {}


def test_reading_from_what_is_remembered_asks_nobody() -> None:
    """After a commit a value comes from memory; after an aborted unit it is read again."""
    lane = Lane()
    view = view_of(lane)
    view["a"] = 1
    view.save(view.encoded())
    commit(view, lane)
    assert view["a"] == 1
    assert lane.reads == 0
    view.rollback()
    assert view["a"] == 1
    assert lane.reads == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values that were used longest ago are forgotten first, and read again when they are wanted."""
    monkeypatch.setattr(module, "_HALF", 2)
    lane = Lane()
    view = view_of(lane)
    for key in "abcdefg":
        view[key] = key
        view.save(view.encoded())
    commit(view, lane)
    assert [view[key] for key in "gfed"] == list("gfed")
    assert lane.reads == 0
    assert [view[key] for key in "abc"] == list("abc")
    assert lane.reads == 3


def test_a_value_that_was_changed_in_place_is_forgotten_when_that_fails() -> None:
    """It is read again, from where it was stored before."""
    lane = Lane()
    view = view_of(lane)
    view["a"] = [1]
    view.save(view.encoded())
    commit(view, lane)
    view["a"].append(2)
    view.restore()
    assert view["a"] == [1]


def test_touched_tells_reading_and_writing_since_the_last_save() -> None:
    """A step that has not looked at its state cannot have been misled by it."""
    view = view_of(Lane())
    assert not view.touched
    view.get("a")
    assert view.touched
    view.save(view.encoded())  # type: ignore[unreachable]
    assert not view.touched


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8))
def test_going_through_everything_may_go_with_changes(pairs: list[tuple[Any, Any]]) -> None:
    """Values may be deleted and set while going through them."""
    view = view_of(Lane())
    for key, value in pairs:
        view[key] = value
    for key, _ in view.items():  # noqa: PERF102 - it has no keys()
        del view[key]
    assert list(view.items()) == []
