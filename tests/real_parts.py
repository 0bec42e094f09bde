"""What becomes of a test whose real part (a broker, a browser, a small disk) is not on this machine."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip the test; fail it where `STREAMWEAVER_REQUIRE_REAL=1` says that every part must be there."""
    if os.environ.get("STREAMWEAVER_REQUIRE_REAL") == "1":
        pytest.fail(what)
    pytest.skip(what)
