"""Keeping log lines in bounds: while a broker is away the library repeats one by the thousand, we one by the lane."""

import logging
import time
from collections.abc import Callable, Hashable

NAME = "aiokafka"
PERIOD_SECONDS = 10.0

_MOST = 1_000


class Spare:
    """Lets one line of each kind through in ten seconds."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, tuple[float, int]] = {}

    def due(self, kind: Hashable) -> dict[str, int] | None:
        """Return what a line is to say of those held back since the last one; None when it is to be held back, too."""
        now = time.monotonic()
        last, held = self._kinds.get(kind, (-PERIOD_SECONDS, 0))
        if now - last < PERIOD_SECONDS:
            self._kinds[kind] = (last, held + 1)
            return None
        if len(self._kinds) >= _MOST:
            self._kinds.clear()
        self._kinds[kind] = (now, 0)
        return {"more": held} if held else {}


class Quieter(logging.Handler):
    """Takes what the library logs, for who looks for details: what follows from it is told by the broker itself."""

    def __init__(self, log: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._spare = Spare()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a line, or count it."""
        # The unfilled text tells kinds of lines apart.
        more = self._spare.due((record.name, str(record.msg)))
        if more is not None:
            self._log("debug", record.getMessage().partition("\n")[0], library=record.name, **more)

    def begin(self) -> None:
        """Take over the library's loggers."""
        logger = logging.getLogger(NAME)
        logger.addHandler(self)
        logger.propagate = False

    def end(self) -> None:
        """Give them back, when nobody else has them."""
        logger = logging.getLogger(NAME)
        logger.removeHandler(self)
        logger.propagate = not any(isinstance(handler, Quieter) for handler in logger.handlers)
