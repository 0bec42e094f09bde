"""The orders of `stock_trades` are believable."""

import itertools
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from streamweaver import Record
from streamweaver_producers.stock_trades import _KNOWN, StockTrades


def prices_of(records: list[Record], symbol: str) -> list[float]:
    return [r.value["price"] for r in records if r.value["symbol"] == symbol]


async def test_payload(take: Callable[..., Any]) -> None:
    """An order has a time, a known symbol, a side, a whole quantity above 0 and a price in cents."""
    for record in await take(StockTrades(seed=1), 5000):
        order = record.value
        assert list(order) == ["timestamp", "symbol", "type", "quantity", "price"]
        assert order["type"] in ("BUY", "SELL")
        assert isinstance(order["quantity"], int)
        assert order["quantity"] > 0
        assert order["price"] == round(order["price"], 2) > 0


async def test_prices_stay_believable(take: Callable[..., Any]) -> None:
    """Over 300,000 orders every symbol stays within a third of its base price, and yet moves by more than a percent."""
    records = await take(StockTrades(seed=2), 300_000)
    for symbol, _, base in _KNOWN:
        prices = prices_of(records, symbol)
        assert base * 0.67 < min(prices)
        assert max(prices) < base * 1.5
        assert max(prices) / min(prices) > 1.01


async def test_returns(take: Callable[..., Any]) -> None:
    """Returns go both ways about equally, one order never moves a price by a percent, and big moves cluster."""
    prices = prices_of(await take(StockTrades(seed=3), 200_000), "AAPL")
    steps = [b / a - 1 for a, b in itertools.pairwise(prices)]
    assert max(map(abs, steps)) < 0.01
    slow = prices[::50]
    returns = [b / a - 1 for a, b in itertools.pairwise(slow)]
    ups = sum(r > 0 for r in returns) / len(returns)
    assert 0.4 < ups < 0.6
    sizes = [abs(r) for r in returns]
    assert statistics.correlation(sizes[:-1], sizes[1:]) > 0.05


async def test_market_moves_together(take: Callable[..., Any]) -> None:
    """Symbols of one sector move together more than symbols of different sectors do, and those more than not at all."""
    records = await take(StockTrades(seed=4, symbols=["AAPL", "MSFT", "XOM", "CVX"]), 400_000)
    last: dict[str, float] = {}
    closes: dict[str, list[float]] = defaultdict(list)
    for number, record in enumerate(records):
        last[record.value["symbol"]] = record.value["price"]
        if number % 1000 == 999:
            for symbol, price in last.items():
                closes[symbol].append(price)
    returns = {s: [b / a - 1 for a, b in itertools.pairwise(values)] for s, values in closes.items()}

    def together(a: str, b: str) -> float:
        return statistics.correlation(returns[a], returns[b])

    assert together("AAPL", "XOM") > 0.1
    assert together("AAPL", "MSFT") > together("AAPL", "XOM")
    assert together("XOM", "CVX") > together("MSFT", "CVX")


async def test_buyers_come_while_prices_rise(take: Callable[..., Any]) -> None:
    """More orders buy in stretches in which the price rises than in those in which it falls."""
    orders = [r.value for r in await take(StockTrades(seed=5, symbols=["AAPL"]), 100_000)]
    rising: list[float] = []
    falling: list[float] = []
    for stretch in (orders[n : n + 256] for n in range(0, len(orders) - 256, 256)):
        share = sum(order["type"] == "BUY" for order in stretch) / len(stretch)
        (rising if stretch[-1]["price"] > stretch[0]["price"] else falling).append(share)
    assert statistics.mean(rising) > statistics.mean(falling) + 0.05
    assert 0.4 < statistics.mean(rising + falling) < 0.6


async def test_sessions_open_and_close_wilder(take: Callable[..., Any]) -> None:
    """At the edges of a session prices move more and orders are larger than at its middle."""
    session = 20_000
    records = await take(StockTrades(seed=6, session_orders=session), session * 12)
    moves: dict[bool, list[float]] = {True: [], False: []}
    quantities: dict[bool, list[int]] = {True: [], False: []}
    last: dict[str, float] = {}
    for number, record in enumerate(records):
        place = number % session / session
        if (edge := place < 0.1 or place > 0.9) or 0.4 < place < 0.6:
            symbol, price = record.value["symbol"], record.value["price"]
            if symbol in last:
                moves[edge].append(abs(price / last[symbol] - 1))
            last[symbol] = price
            quantities[edge].append(record.value["quantity"])
    assert statistics.mean(quantities[True]) > 1.1 * statistics.mean(quantities[False])
    assert statistics.mean(moves[True]) > 1.1 * statistics.mean(moves[False])


async def test_popular_symbols_trade_most(take: Callable[..., Any]) -> None:
    """The first symbol trades most, about twice as often as the second, and every symbol trades."""
    count = Counter(r.value["symbol"] for r in await take(StockTrades(seed=7), 50_000))
    assert [s for s, _ in count.most_common(3)] == ["AAPL", "NVDA", "TSLA"]
    assert 1.8 < count["AAPL"] / count["NVDA"] < 2.2
    assert len(count) == len(_KNOWN)


async def test_own_symbols_and_prices(take: Callable[..., Any]) -> None:
    """Unknown symbols get the same believable price each time, given prices hold, and 0 volatility lets them stand."""
    options = StockTrades(symbols=["ACME", "AAPL"], prices={"AAPL": 50.0}, volatility=0.0)
    records = await take(options, 5000)
    assert prices_of(records, "AAPL")[-1] == pytest.approx(50, rel=0.02)
    acme = prices_of(records, "ACME")
    assert 20 <= acme[0] <= 421
    assert prices_of(await take(options, 100), "ACME")[0] == pytest.approx(acme[0], abs=0.2)


@pytest.mark.parametrize(("field", "value"), [("symbols", []), ("symbols", ["A", "A"]), ("prices", {"A": 0.0})])
def test_bad_options(field: str, value: Any) -> None:
    """Symbols given twice, none at all, and prices that are none are refused."""
    with pytest.raises(ValueError, match="expected"):
        StockTrades(**{field: value})
