"""The behaviour that every broker must show: named checks, for the tests of a broker.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_behaviour(check, make):
        await check(make)

`make` opens a broker, each time on the same data; a check closes what it has opened before it asks for another one.
Topics and groups get names of their own, so all checks may share one server. Nothing here assumes that offsets have no
gaps, or how many lanes a group has.
"""

from streamweaver.testing.broker.group_checks import GROUP
from streamweaver.testing.broker.reader_checks import READER
from streamweaver.testing.broker.row_checks import ROW
from streamweaver.testing.broker.state_checks import STATE
from streamweaver.testing.broker.topic_checks import TOPIC
from streamweaver.testing.broker.unit_checks import UNIT
from streamweaver.testing.broker.waiting_checks import WAITING
from streamweaver.testing.broker.writing import (
    PATIENCE,
    TIME,
    Check,
    Make,
    Seen,
    all_of,
    append,
    consume,
    fresh,
    lane_of,
    next_values,
    opened,
    raises,
    read,
    records,
    rows,
    topic,
)

CHECKS: list[Check] = [*TOPIC, *ROW, *UNIT, *GROUP, *STATE, *WAITING, *READER]
"""Every check, in a sensible order."""

__all__ = [
    "CHECKS",
    "PATIENCE",
    "TIME",
    "Check",
    "Make",
    "Seen",
    "all_of",
    "append",
    "consume",
    "fresh",
    "lane_of",
    "next_values",
    "opened",
    "raises",
    "read",
    "records",
    "rows",
    "topic",
]
