"""The fixtures of pytest, in tests of their own: what they give, and when a test is skipped."""

import subprocess
import sys
from pathlib import Path

import pytest

from streamweaver.testing import ScratchLog
from streamweaver.testing.fixtures import ADDRESS, embedded_log, kafka_servers  # noqa: F401 - a fixture


def test_a_log_of_its_own(embedded_log: ScratchLog, tmp_path: Path) -> None:  # noqa: F811
    """An embedded log below the folder of the test."""
    assert embedded_log.broker == {"use": "embedded"}
    assert tmp_path in embedded_log.data_dir.parents


def test_servers_are_named_by_the_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One or several, and the log is on them."""
    monkeypatch.setenv(ADDRESS, "a:1, b:2")
    assert request.getfixturevalue("kafka_servers") == ["a:1", "b:2"]


TESTS = """
def test_embedded(embedded_log): assert embedded_log.name("a").endswith("_a")
def test_kafka(kafka_log): raise AssertionError("not without a broker")
"""


def test_one_line_brings_them_in(tmp_path: Path) -> None:
    """With no other plugin of pytest; without a Kafka its tests are skipped with the reason, and say what to set."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["streamweaver.testing.fixtures"]\n')
    (tmp_path / "test_mine.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "1 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert f"no Kafka for tests: say {ADDRESS}=host:port" in done.stdout


def test_the_kit_without_its_fixtures_needs_no_pytest() -> None:
    """Only the module of the fixtures imports pytest."""
    code = "import sys, streamweaver.testing, streamweaver.testing.conformance; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
