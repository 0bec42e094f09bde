"""The page's own checks: its arithmetic has unit tests, and its types are strict."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["types", "test"])
def test_page_checks_itself(build_page, static, script):
    """The page's sources pass the strict type check and their unit tests."""
    found = build_page.find_npm()
    if found is None or not (ROOT / build_page.WEB / "node_modules").is_dir():
        pytest.skip("the page was built elsewhere: there is no npm here")
    command, environment = found
    result = subprocess.run(
        [*command, "run", "--loglevel=error", script],
        cwd=ROOT / build_page.WEB,
        env={**environment, "CI": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
