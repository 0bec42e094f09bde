"""The package as people install it: made and run where there is no Node, it serves the page."""

import contextlib
import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PIPELINE = """
name: shop
producers:
  stocks: {use: stock_trades, to: trades, rate: 1}
dashboard: {port: 0}
"""


def test_a_wheel_made_without_node_serves_the_page(tmp_path: Path) -> None:
    """With a page that is built already, a wheel is built and shows the page without any Node on PATH."""
    if not (ROOT / "dashboard/streamweaver_dashboard/static/manifest.json").is_file():
        pytest.skip("the page is not built: make page")
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    environment = {**os.environ, "PATH": str(nowhere)}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(installed)
    assert "streamweaver_dashboard/static/index.html" in names
    assert not [name for name in names if "node_modules" in name or name.startswith(("dashboard/", "tests/"))]

    file = tmp_path / "shop.yaml"
    file.write_text(PIPELINE)
    # Only what was installed is imported, beside the libraries: without the hooks of the environment that point here.
    run = f"import sys; sys.path[:0] = [{str(installed)!r}]; sys.path.append({sysconfig.get_path('purelib')!r})"
    process = subprocess.Popen(
        [
            sys.executable,
            "-S",
            "-c",
            f"{run}; from streamweaver.cli.main import main; main()",
            "pipeline",
            "up",
            str(file),
        ],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with contextlib.closing(process.stdout) as lines:
        try:
            said = next(line for line in lines if "event=dashboard" in line)
            address = re.search(r"address=(http://\S+)", said)
            assert address is not None
            page = get(address[1])
            assert '<div id="page"' in page
            for path in re.findall(r'(?:src|href)="\./([^"]+)"', page):
                assert get(address[1] + path)
        finally:
            process.kill()
            process.wait()


def get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert answer.status == 200
        return str(answer.read().decode(errors="replace"))
