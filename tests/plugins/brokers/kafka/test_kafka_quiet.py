"""The client library's log lines are kept in bounds, and given back when nobody uses Kafka any more."""

import logging

import pytest

from streamweaver_brokers.kafka import quiet
from streamweaver_brokers.kafka.quiet import Quiet


def test_a_thousand_lines_are_two(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of a kind in ten seconds, which then says how many it stands for; other kinds are not held up."""
    now = [100.0]
    monkeypatch.setattr(quiet.time, "monotonic", lambda: now[0])
    logger = logging.getLogger("aiokafka.somewhere")
    Quiet.begin()
    try:
        for number in range(1_000):
            logger.error("cannot reach %s", number)
        logger.warning("something else")
        logger.info("of no interest")
        now[0] += 10.0
        logger.error("cannot reach %s", "anybody")
    finally:
        Quiet.end()
    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("streamweaver.kafka", "WARNING", "aiokafka.somewhere: cannot reach 0"),
        ("streamweaver.kafka", "WARNING", "aiokafka.somewhere: something else"),
        ("streamweaver.kafka", "WARNING", "aiokafka.somewhere: cannot reach anybody (and 999 more like it)"),
    ]


def test_loggers_are_given_back() -> None:
    """With the last broker of the process the library's loggers are as they were."""
    logger = logging.getLogger("aiokafka")
    before = (list(logger.handlers), logger.propagate)
    Quiet.begin()
    Quiet.begin()
    assert not logger.propagate
    Quiet.end()
    assert not logger.propagate
    Quiet.end()
    assert (list(logger.handlers), logger.propagate) == before
