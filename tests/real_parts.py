"""What becomes of a test whose real part (a broker, a browser, a small disk) is not on this machine."""

import os
import shutil
from typing import NoReturn

import pytest

BROWSERS = "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"
"""Where a page is looked at; the first is the same engine without a window, for half of the processor's time."""


def chromium() -> str:
    """Return the program of a real Chromium."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    return program or missing("no Chromium on PATH")


def missing(what: str) -> NoReturn:
    """Skip the test; fail it where `STREAMWEAVER_REQUIRE_REAL=1` says that every part must be there."""
    if os.environ.get("STREAMWEAVER_REQUIRE_REAL") == "1":
        pytest.fail(what)
    pytest.skip(what)
