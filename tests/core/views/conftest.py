"""What the tests of views share."""

import pytest

from made_records import make_seen


@pytest.fixture(scope="session")
def seen():
    """Return a way to make records as views see them."""
    return make_seen
