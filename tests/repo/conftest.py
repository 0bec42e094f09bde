"""What the tests of a third party's distribution share."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/shout_plugin"


@pytest.fixture(scope="session")
def with_shout_plugin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Build and install the example without a network; return the environment in which it is installed."""
    target = tmp_path_factory.mktemp("installed")
    # A copy, so that nothing the build leaves behind lands in the repository.
    source = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "shout_plugin")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    return {**os.environ, "PYTHONPATH": str(target)}
