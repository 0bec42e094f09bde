"""Claims and transactions by themselves, where the order of events matters: with a sender that a test holds up."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from streamweaver_brokers.kafka.claim import Claim, Claims
from streamweaver_brokers.kafka.offsets import Held
from streamweaver_brokers.kafka.transactions import Transactions

PART = TopicPartition("values", 0)
ALIVE: Any = SimpleNamespace(is_alive=True)


class HeldUp:
    """Commits when it is told to, or fails as it is told to."""

    is_worn = False

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.began = asyncio.Event()
        self.error: BaseException | None = None
        self.marks: list[Mapping[TopicPartition, tuple[int, str]]] = []
        self.is_closed = False

    async def commit(
        self, _batches: Any, marks: Mapping[TopicPartition, tuple[int, str]], _group: str
    ) -> dict[Any, Any]:
        self.began.set()
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        self.marks.append(marks)
        return {}

    async def close(self) -> None:
        self.is_closed = True


def transactions(sender: Any, ended: list[Transactions]) -> Transactions:
    """Return transactions of one lane without a pause."""
    return Transactions(sender, "we", "group", pause_seconds=0.0, lanes=lambda: 1, ended=ended.append)


def claim(of: Transactions) -> Claim:
    """Return a claim on a partition of which nothing was read."""
    return Claim(of, {PART: 3}, {PART: Held(None, of.name)})


async def test_whatever_fails_is_told_to_all_who_wait() -> None:
    """Also an error that nobody has thought of: nobody waits for ever, and the lanes hear that it is over."""
    sender, ended = HeldUp(), list[Transactions]()
    made = transactions(sender, ended)
    ours = claim(made)
    sender.error = KeyError("a defect")
    first, second = [asyncio.create_task(ours.commit(ALIVE, {}, {PART: 5 + number})) for number in range(2)]
    await sender.began.wait()
    sender.go_on.set()
    for commit in (first, second, asyncio.create_task(ours.commit(ALIVE, {}, {PART: 9}))):
        with pytest.raises(KeyError, match="a defect"):
            await commit
    assert ended == [made]
    with pytest.raises(KeyError, match="a defect"):
        await made.drained()


async def test_a_release_says_what_a_cancelled_commit_has_stored() -> None:
    """Who calls a commit off takes nothing back, so how far the lane has come is known only when it is stored."""
    sender = HeldUp()
    made = transactions(sender, [])
    ours = claim(made)
    commit = asyncio.create_task(ours.commit(ALIVE, {}, {PART: 200}))
    await sender.began.wait()
    commit.cancel()
    ours.release()
    ours.release()
    sender.go_on.set()
    await made.drained()
    assert sender.marks == [{PART: (200, "read:we")}, {PART: (200, "read:")}]


async def test_a_lane_that_has_read_nothing_is_given_up_so() -> None:
    """The offset that a group must have then is where reading begins, and it is marked as such."""
    sender = HeldUp()
    sender.go_on.set()
    made = transactions(sender, [])
    claim(made).release()
    await made.drained()
    assert sender.marks == [{PART: (3, "unread:")}]


async def test_what_hangs_is_broken_off_for_all() -> None:
    """A cut ends the transaction under way at once, and nothing begins any more."""
    sender, ended = HeldUp(), list[Transactions]()
    made = transactions(sender, ended)
    commit = asyncio.create_task(claim(made).commit(ALIVE, {}, {PART: 5}))
    await sender.began.wait()
    made.cut("it hangs")
    with pytest.raises(RuntimeError, match="it hangs"):
        await asyncio.wait_for(commit, 1.0)
    await asyncio.wait_for(made.close(), 1.0)
    assert (ended, sender.is_closed, sender.marks) == ([made], True, [])


async def test_an_end_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is away holds an end up for bounded time; then what is under way is given up."""
    monkeypatch.setattr("streamweaver_brokers.kafka.transactions.DRAIN_SECONDS", 0.05)
    sender, ended = HeldUp(), list[Transactions]()
    made = transactions(sender, ended)
    claim(made).release()
    await asyncio.wait_for(made.close(), 1.0)
    assert (ended, sender.is_closed) == ([made], True)


async def test_nothing_is_stored_after_the_end() -> None:
    """A lane that is given back late is told, and begins nothing on a producer that has stopped."""
    sender = HeldUp()
    sender.go_on.set()
    made = transactions(sender, [])
    await made.close()
    claim(made).release()
    with pytest.raises(RuntimeError, match="closed"):
        await claim(made).commit(ALIVE, {}, {PART: 5})
    assert sender.marks == []


async def test_offsets_asked_for_before_a_fence_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two lanes of one holder both are read again behind the fence, whichever of them has it made."""
    group = {TopicPartition("values", number): Held(100, "dead.x") for number in range(2)}
    locks, fences = list[Any](), list[str]()
    asked, fenced = asyncio.Event(), asyncio.Event()

    class Lock(HeldUp):
        def __init__(self, _clients: Any, name: str, _seconds: float) -> None:
            super().__init__()
            self.name = name
            self.go_on.set()
            locks.append(self)

        async def start(self) -> None:
            if self.name == "dead.x":
                await asked.wait()
                # It was about to commit; that comes to its end before it is fenced.
                group.update({part: Held(200, "dead.x") for part in group})
                fences.append(self.name)
                fenced.set()

    monkeypatch.setattr("streamweaver_brokers.kafka.claim.Sender", Lock)
    session = SimpleNamespace(worker="me", clients=None, transaction_seconds=60.0, step=5.0, pause_seconds=0.0)
    member: Any = SimpleNamespace(group="group", session=session, shares=2, ended=lambda _: None)
    claims = Claims(member)
    behind = TopicPartition("values", 1)

    async def held(parts: Mapping[TopicPartition, int]) -> dict[TopicPartition, Held]:
        found = {part: group[part] for part in parts}
        if behind in found and not asked.is_set():
            # The answer is on its way while the other lane has the holder fenced.
            asked.set()
            await fenced.wait()
            await asyncio.sleep(0)
        return found

    monkeypatch.setattr(claims, "held", held)
    claimed = await asyncio.gather(
        *(claims.claim(str(part.partition), {part: 0}, at_once=True) for part in list(group))
    )
    assert [found for _, found in claimed] == [{part: Held(200, "dead.x")} for part in group]
    assert fences == ["dead.x"]
