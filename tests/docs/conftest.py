"""What the tests of the pages share: an environment to install into."""

import site
from collections.abc import Callable
from pathlib import Path

import pytest

from docs.shell import virtual_environment, without_network

SCRIPTS = {
    "streamweaver": "from streamweaver.cli.main import main; main()",
    "pip": "from pip._internal.cli.main import main; sys.exit(main())",
    "pytest": "import pytest; sys.exit(pytest.main())",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, str]]:
    """Returns a function that makes the environment when it is first needed."""
    made: list[dict[str, str]] = []

    def once() -> dict[str, str]:
        if not made:
            folder = tmp_path_factory.mktemp("environment") / "venv"
            made.append(without_network(virtual_environment(Path(folder), site.getsitepackages(), SCRIPTS)))
        return made[0]

    return once
