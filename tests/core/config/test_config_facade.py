"""The facade of the package."""

import subprocess
import sys

import streamweaver.config


def test_everything_promised_is_there() -> None:
    """Each name in `__all__` can be imported, and the list is sorted."""
    assert all(hasattr(streamweaver.config, name) for name in streamweaver.config.__all__)
    assert streamweaver.config.__all__ == sorted(streamweaver.config.__all__)


def test_importing_it_loads_neither_cattrs_nor_plugins() -> None:
    """The converter's library is loaded by the first conversion, not by the import."""
    heavy = {"cattrs", "stevedore", "pluggy", "aiokafka"}
    code = f"import sys, streamweaver.config; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
