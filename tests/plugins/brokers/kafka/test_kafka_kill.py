"""Workers are killed, again and again; nothing is lost, doubled, out of order or computed wrong."""

import os
from pathlib import Path

import pytest
from kafka_chaos import Chaos

SEED = int(os.environ.get("STREAMWEAVER_SEED", "1"))


@pytest.mark.timeout(240)
async def test_exactly_once_survives_kills(kafka_address: str, tmp_path: Path) -> None:
    """Ten kills -9 of three workers: each line comes out once, in order, with the right average and state."""
    print(f"seed {SEED}")
    chaos = Chaos(kafka_address, tmp_path, seed=SEED)
    verdict = await chaos.run(lines=60_000, rate=1_500, kills=10)
    print(verdict)
    assert verdict.is_clean, verdict
    assert verdict.kills == 10
