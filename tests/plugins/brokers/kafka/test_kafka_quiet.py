"""The client library's log lines are kept in bounds, and given back when nobody uses Kafka any more."""

import logging
from typing import Any

import pytest

from streamweaver_brokers.kafka import quiet
from streamweaver_brokers.kafka.quiet import Quieter


def test_a_thousand_lines_are_two(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of a kind in ten seconds, which then says how many it stands for; other kinds are not held up."""
    now = [100.0]
    monkeypatch.setattr(quiet.time, "monotonic", lambda: now[0])
    logger = logging.getLogger("aiokafka.somewhere")
    lines: list[tuple[str, str, dict[str, Any]]] = []
    quieter = Quieter(lambda level, event, **fields: lines.append((level, event, fields)))
    quieter.begin()
    try:
        for number in range(1_000):
            logger.error("cannot reach %s", number)
        logger.warning("something else\nwith details")
        logger.info("of no interest")
        now[0] += 10.0
        logger.error("cannot reach %s", "anybody")
    finally:
        quieter.end()
    assert lines == [
        ("debug", "cannot reach 0", {"library": "aiokafka.somewhere"}),
        ("debug", "something else", {"library": "aiokafka.somewhere"}),
        ("debug", "cannot reach anybody", {"library": "aiokafka.somewhere", "more": 999}),
    ]
    assert not caplog.records


def test_loggers_are_given_back() -> None:
    """With the last broker of the process the library's loggers are as they were."""
    logger = logging.getLogger("aiokafka")
    before = (list(logger.handlers), logger.propagate)
    first, second = Quieter(print), Quieter(print)
    first.begin()
    second.begin()
    assert not logger.propagate
    first.end()
    assert not logger.propagate
    second.end()
    assert (list(logger.handlers), logger.propagate) == before
