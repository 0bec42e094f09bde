"""A suite as pytest sees it."""

import subprocess
import sys
from pathlib import Path

FILE = '''
import attrs
from streamweaver import Record, codec, transform
from streamweaver.testing import conformance

@transform(example="{use: same}")
def same(record: Record) -> Record:
    """Pass a record on."""
    return record

@codec("none", example="none")
@attrs.frozen
class Nothing:
    """Give nothing back."""
    def encode(self, value):
        return b""
    def decode(self, data):
        return None

test_same = conformance.transform(same, records=[1, 2])
test_nothing = conformance.codec(Nothing, values=["a"])
'''


def test_one_test_for_each_behaviour(tmp_path: Path) -> None:
    """Each behaviour that applies is collected under its name; a failure is told in one sentence, no traceback."""
    path = tmp_path / "test_mine.py"
    path.write_text(FILE)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-c", "/dev/null", path.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_mine.py::test_same[keeps_the_order] PASSED" in done.stdout
    assert "ticks_on_an_empty_partition" not in done.stdout
    assert "test_mine.py::test_nothing[gives_back_what_it_was_given] FAILED" in done.stdout
    assert "\nThe values of its suite come back as they were, types included. 'a' came back as None\n" in done.stdout
    assert "Traceback" not in done.stdout
    assert "case.py" not in done.stdout


def test_pytest_is_not_needed_to_import_the_kit() -> None:
    """The command line runs suites where there is no pytest."""
    code = "import sys; import streamweaver.testing.conformance; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"
