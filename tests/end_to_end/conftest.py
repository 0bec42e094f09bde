"""Starting pipelines as a user does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.running import Launcher


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """Starts the installed program, whose memory and start are looked at, and leaves none behind."""
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.kill_all()
