"""What holds for all tests."""

import os

from hypothesis import settings

# How long an example takes says more about who else uses the machine than about the code.
settings.register_profile("streamweaver", deadline=None)
settings.load_profile("streamweaver")

# The width that tables keep to is what the test says, not that of who runs it (the workers of pytest-xdist set one).
os.environ.pop("COLUMNS", None)
