"""`--health-file`: a file that is renewed while a process is well, and has its broker, for checks without a port."""

import contextlib
from pathlib import Path
from typing import Any

import click

from streamweaver.hooks import observer
from streamweaver.runtime.workers import SILENT_SECONDS

WELL = ("ok", "ended")


class HealthFile:
    """Renews the file about once a second; it grows old when a stage is not well, or when nothing can be published.

    The latter is so while the broker is away, whatever the stages say; 5 seconds of it do no harm.
    So a check is the age of a file: cheap, and right also where the process hangs. The file is removed when the run
    begins and when it ends. A usage error when it cannot be written, and when it holds something: no file of ours does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if path.exists() and path.stat().st_size:
                raise click.BadParameter(
                    f"{path} holds something, and would be removed; name a file of its own", param_hint="--health-file"
                )
            path.touch()
            path.unlink()
        except OSError as error:
            why = (error.strerror or "cannot be written").lower()
            raise click.BadParameter(f"{path}: {why}", param_hint="--health-file") from error

    @observer
    def metrics_published(self, metrics: dict[str, Any]) -> None:
        """Renew it, if all is well."""
        published = metrics["published"]
        is_heard = published is not None and metrics["time"] - published <= SILENT_SECONDS * 1000
        if is_heard and all(stage["health"] in WELL for stage in metrics["stages"].values()):
            # A disk that is full for a while lets the file grow old for as long.
            with contextlib.suppress(OSError):
                self._path.touch()

    def end(self) -> None:
        """Remove it: nothing runs any longer."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
