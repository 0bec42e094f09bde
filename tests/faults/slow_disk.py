"""The real command line on a disk on which each write of the file sink takes 200 ms.

python slow_disk.py pipeline up ...
"""

import sys
import time
from typing import Any

from streamweaver_sinks.file.writer import Writer

SECONDS = 0.2


def run() -> None:
    """Slow the writes down, and be the command line."""
    append = Writer.append

    def slow(self: Writer, *arguments: Any) -> None:
        append(self, *arguments)
        time.sleep(SECONDS)

    Writer.append = slow  # type: ignore[assignment, method-assign]
    from streamweaver.cli.main import main

    main(sys.argv[1:])


if __name__ == "__main__":
    run()
