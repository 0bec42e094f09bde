"""The compose files: what can be read of them is checked always, what must run is asked for (`make compose-test`)."""

import os

collect_ignore = [] if os.environ.get("STREAMWEAVER_COMPOSE") == "1" else ["real"]
