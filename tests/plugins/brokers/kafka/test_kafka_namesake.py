"""Of two that have one name in a group one gives up, and who is alone never does."""

import asyncio
from collections.abc import Iterable
from uuid import uuid4

import attrs
import pytest

from streamweaver import BrokerError
from streamweaver_brokers.kafka import namesake
from streamweaver_brokers.kafka.namesake import Namesakes


@attrs.define
class Group:
    """A group as its coordinator keeps it: one member for each instance name."""

    ids: dict[str, str] = attrs.field(factory=dict)
    asked: int = 0

    def join(self, member: Namesakes, name: str = "w") -> str:
        """Take a member in; whoever had its name is forgotten."""
        self.ids[name] = f"{name}-{uuid4()}"
        member.joined(self.ids[name])
        return self.ids[name]

    async def members(self) -> Iterable[str]:
        """Return the ids of all members."""
        self.asked += 1
        return list(self.ids.values())

    def namesakes(self, instance: str | None = "w", seconds: float = 60.0) -> Namesakes:
        """Return what a member of the group asks it."""
        return Namesakes(instance, seconds, self.members)


async def test_the_first_of_two_gives_up_at_its_second_sight_of_the_other() -> None:
    """Each finds the other once, then the first one again: it alone is told to end."""
    group = Group()
    older, newer = group.namesakes(), group.namesakes()
    group.join(older)
    group.join(newer)
    assert not await older.have_ousted("")
    group.join(older)
    assert not await newer.have_ousted("")
    group.join(newer)
    assert await older.have_ousted("")


async def test_who_is_alone_goes_on() -> None:
    """A group that has forgotten a member, or holds the id that it had, or another name, holds no namesake."""
    group = Group()
    alone = group.namesakes()
    for forgets in (True, False, True, False):
        group.join(alone)
        group.join(group.namesakes("w-2"), "w-2")
        if forgets:
            del group.ids["w"]
        assert not await alone.have_ousted("")
    assert group.asked == 4


async def test_only_who_was_a_member_and_is_forgotten_asks() -> None:
    """Not at a first join, not twice for one, not in a rebalance in which it is known, and not without a name."""
    group = Group()
    member, nameless = group.namesakes(), group.namesakes(None)
    assert not await member.have_ousted("")
    own = group.join(member)
    assert not await member.have_ousted(own)
    assert not await member.have_ousted("")
    nameless.joined("consumer-1")
    assert not await nameless.have_ousted("")
    assert group.asked == 0


async def test_what_was_seen_long_ago_does_not_count() -> None:
    """Two sights within the time make a verdict, not two of different days."""
    group = Group()
    older = group.namesakes(seconds=0.0)
    for _ in range(3):
        group.join(older)
        group.join(group.namesakes())
        assert not await older.have_ousted("")


@pytest.mark.parametrize("fails", [True, False])
async def test_no_answer_is_no_verdict(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """Brokers that are away, or take too long, do not make anybody give up."""
    monkeypatch.setattr(namesake, "ASK_SECONDS", 0.01)

    async def members() -> Iterable[str]:
        if fails:
            raise BrokerError("away")
        await asyncio.Event().wait()
        return []

    member = Namesakes("w", 60.0, members)
    for _ in range(3):
        member.joined(f"w-{uuid4()}")
        assert not await member.have_ousted("")
