"""Keeping the client library's log lines in bounds: it repeats one by the thousand while a broker is away."""

import logging
import time

NAME = "aiokafka"
PERIOD_SECONDS = 10.0

_MOST = 1_000


class Quieter(logging.Handler):
    """Hands on one line of each kind in ten seconds, with how many it stands for, to a logger of ours."""

    def __init__(self, to: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._to = to
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a line, or count it."""
        kind = (record.name, str(record.msg))
        now = time.monotonic()
        last, held = self._kinds.get(kind, (-PERIOD_SECONDS, 0))
        if now - last < PERIOD_SECONDS:
            self._kinds[kind] = (last, held + 1)
            return
        if len(self._kinds) >= _MOST:
            self._kinds.clear()
        self._kinds[kind] = (now, 0)
        more = f" (and {held} more like it)" if held else ""
        # Never louder than a warning: what a client gives up on, this broker starts anew.
        self._to.warning("%s: %s%s", record.name, record.getMessage(), more)


class Quiet:
    """Quietness for as long as some broker of this process is open."""

    _users = 0
    _handler: Quieter | None = None

    @classmethod
    def begin(cls) -> None:
        """Take over the library's loggers."""
        cls._users += 1
        if cls._users == 1:
            cls._handler = Quieter(logging.getLogger("streamweaver.kafka"))
            logger = logging.getLogger(NAME)
            logger.addHandler(cls._handler)
            logger.propagate = False

    @classmethod
    def end(cls) -> None:
        """Give them back."""
        cls._users -= 1
        if cls._users == 0 and cls._handler is not None:
            logger = logging.getLogger(NAME)
            logger.removeHandler(cls._handler)
            logger.propagate = True
            cls._handler = None
