"""What holds for every simulator."""

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from streamweaver.testing import FakeClock, FakeContext
from streamweaver_producers._simulation import iso, zipf
from streamweaver_producers.server_logs import ServerLogs
from streamweaver_producers.social_feed import SocialFeed
from streamweaver_producers.stock_trades import StockTrades

every = pytest.mark.parametrize("simulator", [StockTrades, SocialFeed, ServerLogs])


@every
async def test_same_seed_same_records(simulator: Any, take: Callable[..., Any]) -> None:
    """With a seed everything but the time is the same each time; another seed brings something else."""
    first = await take(simulator(seed=7), 2000)
    assert first == await take(simulator(seed=7), 2000)
    assert first != await take(simulator(seed=8), 2000)


@every
@pytest.mark.parametrize("emitted", [1, 255, 256, 1000])
async def test_resumes_a_seeded_sequence(simulator: Any, take: Callable[..., Any], emitted: int) -> None:
    """After a restart the seeded sequence goes on with the record after the last durable one."""
    whole = await take(simulator(seed=7), 1500)
    assert await take(simulator(seed=7), 500, emitted=emitted) == whole[emitted : emitted + 500]


@every
async def test_without_a_seed_each_run_differs(simulator: Any, take: Callable[..., Any]) -> None:
    """Without a seed two runs bring different records."""
    assert await take(simulator(), 200) != await take(simulator(), 200)


@every
async def test_timestamps_follow_the_clock(simulator: Any) -> None:
    """Payload and record carry the time at which the record was asked for."""
    clock = FakeClock()
    context = FakeContext(clock=clock)
    plugin = simulator(seed=1)
    await plugin.open(context)
    records = plugin.produce(context)
    assert next(records).value["timestamp"] == "2025-06-15T15:06:40.000Z"
    clock.advance(61.007)
    record = next(records)
    assert record.value["timestamp"] == "2025-06-15T15:07:41.007Z"
    assert record.timestamp == clock.now_ms
    assert next(iter(record.value)) == "timestamp"


@every
async def test_records_share_nothing(simulator: Any, take: Callable[..., Any]) -> None:
    """A step that changes a record in place changes no other record."""
    first = await take(simulator(seed=3), 500)
    plugin = simulator(seed=3)
    context = FakeContext()
    await plugin.open(context)
    seen = []
    for record in itertools.islice(plugin.produce(context), 500):
        seen.append({k: list(v) if isinstance(v, list) else v for k, v in record.value.items()})
        for value in record.value.values():
            if isinstance(value, list):
                value.append("changed")
        record.value.clear()
    assert seen == [record.value for record in first]


def test_iso() -> None:
    """A time is written in UTC with milliseconds and Z, also before 1970 and at the edge of a second."""
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_750_000_000_999) == "2025-06-15T15:06:40.999Z"
    assert iso(-1) == "1969-12-31T23:59:59.999Z"


def test_zipf() -> None:
    """Weights are cumulative, and each thing weighs less than the one before."""
    assert zipf(3) == pytest.approx([1, 1.5, 1.8333333])


@pytest.mark.bench
@pytest.mark.parametrize(("simulator", "most_us"), [(StockTrades, 3.0), (SocialFeed, 12.0), (ServerLogs, 8.0)])
async def test_speed(simulator: Any, most_us: float) -> None:
    """Simulators are quick enough not to be what is measured."""
    plugin, context = simulator(seed=1), FakeContext()
    await plugin.open(context)
    records = plugin.produce(context)
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        for _ in range(40):
            list(itertools.islice(records, 500))
        best = min(best, (time.process_time() - started) / 20_000 * 1e6)
    print(f"{simulator.__name__}: {best:.2f} us a record")
    assert best <= most_us
