"""The behaviour suite of brokers as a part of the kit."""

from collections.abc import Sequence
from typing import Any

import attrs

from streamweaver import broker
from streamweaver.testing.broker import CHECKS
from streamweaver.testing.conformance.promises.broker import BROKER
from streamweaver_brokers.embedded import Embedded


@broker("broken", example="{use: broken}")
@attrs.define
class Early(Embedded):
    """The embedded log, with a time search that always ends at the beginning."""

    async def offset_at(self, _topic: str, _partition: int, _timestamp: int, /) -> int:
        return 0


@broker("broken", example="{use: broken}")
@attrs.define
class Careless(Embedded):
    """The embedded log, taking topics with fewer partitions for the same."""

    async def create(self, topics: Sequence[Any], /) -> None:
        known = await self.topics()
        await super().create([known.get(spec.name, spec) for spec in topics])


def test_every_check_is_a_behaviour() -> None:
    """Names and promises are those of the suite that the first-party brokers pass."""
    assert [behaviour.name for behaviour in BROKER] == [check.__name__ for check in CHECKS]
    assert all(behaviour.promise for behaviour in BROKER)


def test_a_broken_broker_is_caught(caught: Any) -> None:
    """A broker that breaks one promise fails that behaviour, and no other."""
    assert list(caught(Early)) == ["offsets_are_found_by_time"]
    assert list(caught(Careless)) == ["fewer_partitions_are_a_mismatch"]
