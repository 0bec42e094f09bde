"""Workers are killed, frozen and asked to leave; nothing is lost, doubled, out of order or computed wrong."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from kafka_chaos import Chaos
from kafka_server import seed

SOAK_SECONDS = float(os.environ.get("STREAMWEAVER_SOAK_SECONDS", "300"))
RATE = 700.0


async def test_exactly_once_survives_kills(kafka_address: str, tmp_path: Path) -> None:
    """Four kills -9 of three workers, one is frozen, one leaves: each line once, in order, right average and state."""
    chaos = Chaos(kafka_address, tmp_path, seed=seed())
    verdict = await chaos.run(lines=9_000, rate=900, kills=4, stops=1, leaves=1)
    print(verdict)
    assert verdict.is_clean, verdict
    assert (verdict.kills, verdict.stops, verdict.leaves) == (4, 1, 1)


async def test_at_least_once_loses_nothing(kafka_address: str, tmp_path: Path) -> None:
    """Without transactions a kill may double what was under way, which goes back by so much, and nothing is lost."""
    chaos = Chaos(kafka_address, tmp_path, seed=seed(), delivery="at_least_once")
    verdict = await chaos.run(lines=4_500, rate=900, kills=2)
    print(verdict)
    assert verdict.lost == 0, verdict
    # Either stage may have been at work, and one of them does over what the other has doubled.
    assert verdict.returns <= 3 * verdict.kills, verdict


async def test_a_run_that_fails_leaves_nothing_at_work(
    kafka_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody writes, watches or disturbs the brokers any more, which would hold up or spoil the tests that follow."""
    at_work: set[str] = set()

    async def works(name: str) -> None:
        at_work.add(name)
        try:
            await asyncio.Event().wait()
        finally:
            at_work.remove(name)

    async def fails(*_: Any) -> None:
        while len(at_work) < 3:
            await asyncio.sleep(0)
        raise AssertionError("a worker ended by itself")

    async def is_there(*_: Any) -> None:
        """Nobody has to be waited for."""

    monkeypatch.setattr(Chaos, "_until_ready", is_there)
    monkeypatch.setattr(Chaos, "_until_flowing", is_there)
    monkeypatch.setattr(Chaos, "_watch", lambda *_: works("watching"))
    monkeypatch.setattr(Chaos, "_write", lambda *_: works("writing"))
    monkeypatch.setattr(Chaos, "_harass", fails)
    with pytest.raises(AssertionError, match="a worker ended by itself"):
        chaos = Chaos(kafka_address, tmp_path, seed=1)
        await chaos.run(lines=1, rate=1, kills=1, workers=0, disturb=lambda: works("disturbing"))
    assert not at_work


@pytest.mark.soak
@pytest.mark.timeout(2 * SOAK_SECONDS + 600)
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
async def test_exactly_once_survives_for_long(kafka_address: str, tmp_path: Path, static: bool) -> None:
    """200,000 lines and more, as many as `STREAMWEAVER_SOAK_SECONDS` take: a kill every ten seconds, and the rest.

    Static members are started again at once. What kills cost the other workers is measured, and printed.
    """
    chaos = Chaos(kafka_address, tmp_path, seed=seed(), static=static, session_seconds=6.0)
    verdict = await chaos.run(
        lines=max(200_000, int(SOAK_SECONDS * RATE)),
        rate=RATE,
        kills=max(20, int(SOAK_SECONDS / 10)),
        stops=max(5, int(SOAK_SECONDS / 60)),
        leaves=max(3, int(SOAK_SECONDS / 60)),
        settle_seconds=180,
    )
    print(verdict)
    assert verdict.is_clean, verdict
    assert verdict.stalls, verdict
