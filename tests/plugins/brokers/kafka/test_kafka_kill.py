"""Workers are killed, again and again; nothing is lost, doubled, out of order or computed wrong."""

import os
from pathlib import Path

import pytest

from kafka_chaos import Chaos

SEED = int(os.environ.get("STREAMWEAVER_SEED", "1"))


LONG_SECONDS = float(os.environ.get("STREAMWEAVER_SOAK_SECONDS", "300"))


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "static", [pytest.param(False, id="dynamic"), pytest.param(True, id="static", marks=pytest.mark.soak)]
)
async def test_exactly_once_survives_kills(kafka_address: str, tmp_path: Path, static: bool) -> None:
    """Ten kills -9 of three workers and one that is frozen: each line once, in order, right average and state."""
    print(f"seed {SEED}")
    chaos = Chaos(kafka_address, tmp_path, seed=SEED, static=static)
    verdict = await chaos.run(lines=40_000, rate=1_500, kills=10, stops=0 if static else 1)
    print(verdict)
    assert verdict.is_clean, verdict
    assert verdict.kills == 10


@pytest.mark.timeout(240)
async def test_at_least_once_loses_nothing(kafka_address: str, tmp_path: Path) -> None:
    """Without transactions kills may double what was under way, and still nothing is lost."""
    print(f"seed {SEED}")
    chaos = Chaos(kafka_address, tmp_path, seed=SEED, delivery="at_least_once")
    verdict = await chaos.run(lines=30_000, rate=1_500, kills=8)
    print(verdict)
    assert verdict.lost == 0, verdict


@pytest.mark.soak
async def test_exactly_once_survives_for_long(kafka_address: str, tmp_path: Path) -> None:
    """As above, for `STREAMWEAVER_SOAK_SECONDS`: a kill every three seconds, and a worker frozen every half minute."""
    print(f"seed {SEED}")
    chaos = Chaos(kafka_address, tmp_path, seed=SEED)
    verdict = await chaos.run(
        lines=int(LONG_SECONDS * 1_500),
        rate=1_500,
        kills=int(LONG_SECONDS / 5),
        stops=int(LONG_SECONDS / 30),
        settle_seconds=180,
    )
    print(verdict)
    assert verdict.is_clean, verdict
