"""The producer `stock_trades`: synthetic orders with believable prices."""

import math
import zlib
from collections.abc import Iterator
from random import Random
from typing import Any

import attrs

from streamweaver import ProducerContext, Record, option, producer
from streamweaver_producers._simulation import resumed, stamped

# Popular first: (symbol, sector, price about which it moves).
_KNOWN: tuple[tuple[str, str, float], ...] = (
    ("AAPL", "tech", 175.25),
    ("NVDA", "chips", 118.10),
    ("TSLA", "cars", 242.60),
    ("MSFT", "tech", 415.30),
    ("AMZN", "retail", 184.70),
    ("GOOGL", "tech", 164.20),
    ("META", "tech", 512.80),
    ("AMD", "chips", 152.40),
    ("NFLX", "media", 655.90),
    ("JPM", "banks", 205.15),
    ("INTC", "chips", 31.45),
    ("BAC", "banks", 39.80),
    ("DIS", "media", 96.35),
    ("WMT", "retail", 68.20),
    ("KO", "consumer", 63.75),
    ("PFE", "health", 28.90),
    ("XOM", "energy", 114.55),
    ("JNJ", "health", 148.60),
    ("V", "banks", 272.40),
    ("CVX", "energy", 156.85),
)
_BLOCK = 256
"""Orders between two steps of the market as a whole."""
_LOTS = (1, 5, 10, 10, 20, 25, 50, 50, *[100] * 8, *[200] * 4, 300, 300, 400, 500, 500, 1000, 1000, 2500)
_HALF_SPREAD = 0.00015


def _positive(_: Any, __: Any, value: dict[str, float]) -> None:
    for symbol, price in value.items():
        if price <= 0:
            raise ValueError(f"got {price} for {symbol}, expected a price above 0")


def _distinct(_: Any, __: Any, value: list[str]) -> None:
    if not value or len(set(value)) != len(value):
        raise ValueError(f"got {value}, expected one or more symbols, each once")


@producer("stock_trades", resumes=True, key="symbol", example="{use: stock_trades, to: stock_trades, rate: 500}")
@attrs.define
class StockTrades:
    """Synthetic stock orders with believable prices, as fast as they are asked for.

    `{"timestamp", "symbol", "type": "BUY" | "SELL", "quantity", "price"}`. Prices are random walks that the whole
    market and each sector move together; calm and wild times come in clusters; sessions open and close wilder, with
    larger orders; a weak pull to the base price keeps a symbol near it for days. More orders are bought while a price
    rises. The first symbols trade most.

    With a `seed` the orders (all but their timestamps) are always the same, and a restart goes on with the next one;
    for that the sequence is made again up to there, which takes one or two seconds for a million orders.
    """

    symbols: list[str] = option(
        factory=lambda: [symbol for symbol, _, _ in _KNOWN],
        help="what is traded, most popular first; an unknown symbol gets a price between 20 and 420",
        example=["AAPL", "MSFT"],
        validator=_distinct,
    )
    prices: dict[str, float] = option(
        factory=dict,
        help="prices about which symbols move, in place of the built-in ones",
        example={"AAPL": 180.0},
        validator=_positive,
    )
    volatility: float = option(
        default=1.0, help="how wild prices are; 0 lets them stand, 1 is an ordinary day", example=2.0, ge=0, le=20
    )
    session_orders: int = option(
        default=100_000, help="orders in one trading session, from open to close", example=20_000, ge=1000
    )
    seed: int | None = option(default=None, help="makes the same orders every time", example=42)

    _payloads: Iterator[dict[str, Any]] = attrs.field(factory=lambda: iter(()), init=False, repr=False, eq=False)

    async def open(self, context: ProducerContext) -> None:
        """Begin, or go on with the sequence of a seed."""
        self._payloads = await resumed(self._orders(Random(self.seed)), self.seed, context)

    def produce(self, context: ProducerContext) -> Iterator[Record]:
        """Make orders without end."""
        return stamped(self._payloads, context)

    def _orders(self, rng: Random) -> Iterator[dict[str, Any]]:
        market = Market(self, rng)
        random = rng.random
        # A table is three times as quick to draw from as weights are.
        most = 50 * len(self.symbols)
        numbers = [n for n in range(len(self.symbols)) for _ in range(most // (n + 1))]
        several, lots = len(numbers), len(_LOTS)
        above, below = 1 + _HALF_SPREAD, 1 - _HALF_SPREAD
        symbols, mids = self.symbols, market.mids
        while True:
            market.step()
            pulls, large = market.pulls, market.activity
            for _ in range(_BLOCK):
                number = numbers[int(random() * several)]
                mid = mids[number]
                fair, lean = pulls[number]
                # A rising price brings buyers, and each buyer lifts it a little.
                if random() < 0.5 + lean:
                    side, price = "BUY", mid * above
                else:
                    side, price = "SELL", mid * below
                mids[number] = mid + (fair - mid) * 0.2 + (price - mid) * 0.3
                quantity = _LOTS[int(random() * lots)]
                if quantity > 99 and random() < large:
                    quantity *= 2
                yield {
                    "timestamp": "",
                    "symbol": symbols[number],
                    "type": side,
                    "quantity": quantity,
                    "price": int(price * 100 + 0.5) / 100,
                }


@attrs.define(init=False, eq=False)
class Market:
    """Where prices are drawn to: moved by the market, the sector and the symbol's own news."""

    mids: list[float]
    pulls: list[tuple[float, float]]
    """For each symbol its fair price, and how much more (or less) than half of its orders buy."""
    activity: float
    _bases: list[float]
    _sectors: list[str]
    _fair: list[float]

    def __init__(self, options: StockTrades, rng: Random) -> None:
        known = {symbol: (sector, price) for symbol, sector, price in _KNOWN}
        found = [known.get(s, ("other", 20 + zlib.crc32(s.encode()) % 40_000 / 100)) for s in options.symbols]
        self._sectors = [sector for sector, _ in found]
        self._bases = [options.prices.get(s, price) for s, (_, price) in zip(options.symbols, found, strict=True)]
        self._fair = list(self._bases)
        self.mids = list(self._bases)
        self.pulls = [(price, 0.0) for price in self._bases]
        self.activity = 0.0
        self._rng = rng
        self._options = options
        self._made = 0
        self._wildness = 0.0

    _rng: Random
    _options: StockTrades
    _made: int
    _wildness: float

    def step(self) -> None:
        """Move the market on by one block of orders."""
        gauss = self._rng.gauss
        done = self._made % self._options.session_orders / self._options.session_orders
        self._made += _BLOCK
        edge = math.exp(-12 * done) + math.exp(-12 * (1 - done))
        self.activity = min(0.9, 0.05 + 0.6 * edge)
        self._wildness = 0.97 * self._wildness + gauss(0, 0.12)
        size = 0.0006 * self._options.volatility * math.exp(self._wildness) * (1 + 1.5 * edge)
        market = gauss(0, size)
        sectors = {sector: gauss(0, size) for sector in dict.fromkeys(self._sectors)}
        for i, base in enumerate(self._bases):
            old = self._fair[i]
            move = 0.6 * market + 0.5 * sectors[self._sectors[i]] + 0.8 * gauss(0, size)
            # Jumps beyond 20 sizes are no news but a wild option; the pull keeps prices within reach of their base.
            new = old * math.exp(move - 0.002 * math.log(old / base))
            self._fair[i] = new
            lean = (new / old - 1) / (size or 1) * 0.12
            self.pulls[i] = (new, max(-0.35, min(0.35, lean)))
