"""The demo in containers: up from nothing, showing what it should, through kills, scaling and stops."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from compose import balance
from compose.stack import OURS, STAGES, Stack, docker, until
from real_parts import chromium

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def stack(start: Callable[..., Stack]) -> Stack:
    return start()


@pytest.fixture(scope="module")
def page(stack: Stack) -> Iterator[Page]:
    """The dashboard in the system's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(30_000)
        page.goto(f"http://127.0.0.1:{stack.port}/#/streams")
        yield page
        browser.close()


def test_everything_is_healthy(stack: Stack) -> None:
    """From nothing, every service comes up healthy, without a single restart."""
    assert stack.is_healthy("kafka", *OURS)
    assert [stack.inspect(name)[0]["RestartCount"] for name in ("kafka", *OURS)] == [0] * 7


def test_our_image_runs_as_nobody_special(stack: Stack, image: str) -> None:
    """A user of its own, a root that cannot be written, no capabilities; the image carries its labels."""
    said = stack.execute("stream_consumer", "sh", "-c", "id -u; touch /opt/x 2>&1; grep CapEff /proc/self/status")
    assert said.split()[0] == "10001"
    assert "Read-only file system" in said
    assert said.split()[-1] == "0" * 16
    labels = json.loads(docker("inspect", "--format", "{{json .Config.Labels}}", image))
    assert labels["org.opencontainers.image.title"] == "StreamWeaver"
    assert labels["org.opencontainers.image.version"] == "0.1.0"


def test_the_page_moves(page: Page) -> None:
    """Three panels of the page, prices, posts and log levels, each show something else a moment later."""

    def region(title: str) -> str:
        found = page.get_by_role("region", name=title, exact=True)
        found.scroll_into_view_if_needed()
        return str(hash(found.screenshot()))

    for title in ("Prices", "Posts", "Log levels by service"):
        expect(page.get_by_role("region", name=title, exact=True)).to_be_visible()
        before = until(lambda title=title: region(title), title)
        until(lambda title=title, before=before: region(title) != before, f"panel {title} to move", 30)  # type: ignore[misc]
    expect(page.get_by_role("region", name="Posts", exact=True).locator(".feed-row").first).to_be_visible()
    expect(
        page.get_by_role("region", name="Log levels by service", exact=True).locator(".bar-name").first
    ).to_be_visible()
    expect(page.get_by_role("region", name="Prices", exact=True).locator("canvas").first).to_be_visible()


def test_websocket_clients_get_every_channel(stack: Stack) -> None:
    """A client of the WebSocket server, in its container, gets records of all three streams, none dropped."""
    viewer = (Path(__file__).parents[2] / "end_to_end/viewer.py").read_text()
    said = stack.execute(
        "websocket_server", "timeout", "--preserve-status", "-s", "TERM", "15", "python3", "-", "8765", "2", text=viewer
    )
    seen = json.loads(said.splitlines()[-1])
    assert {"stock_prices", "social_posts", "log_lines"} <= set(seen["records"])
    assert seen["dropped"] == 0
    print(f"websocket clients: {seen}")


@pytest.mark.parametrize("service", [*STAGES, "kafka", "web_dashboard"])
def test_what_is_killed_comes_back(stack: Stack, service: str) -> None:
    """Killed with -9, a service is started again by its policy and becomes healthy, and so do all others."""
    began = time.monotonic()
    stack.crash(service)
    until(lambda: stack.is_healthy(service), f"{service} to be healthy")
    until(lambda: stack.is_healthy(*OURS), "all to be healthy")
    print(f"{service}: healthy again after {time.monotonic() - began:.0f} s")


def test_docker_kill_is_a_stop_by_hand(stack: Stack) -> None:
    """After `docker kill`, which Docker takes for a wish, `up` brings the service back."""
    docker("kill", *stack.containers("stream_consumer"))
    stack.up()
    assert stack.is_healthy(*OURS)


def test_three_consumers_share_the_partitions_and_one_takes_them_back(stack: Stack) -> None:
    """With --scale stream_consumer=3 each of three workers takes in prices; scaled down, one takes in all of them."""
    stack.up(stream_consumer=3)
    assert len(stack.containers("stream_consumer")) == 3

    def busy() -> set[str]:
        """The workers that took in prices of late."""
        # A dashboard's word that it announces alerts lies there, too.
        rows = [row for row in stack.tail("demo.metrics", "--from", "-40") if "stages" in row["value"]]
        newest = max(row["value"]["time"] for row in rows)
        return {
            row["key"]
            for row in rows
            if newest - row["value"]["time"] < 3_000
            and row["value"]["stages"].get("prices", {}).get("in_per_second", 0) > 0
        }

    until(lambda: len(busy()) == 3, "three busy workers")
    stack.up(stream_consumer=1)
    until(lambda: len(busy()) == 1, "one busy worker")
    assert len(stack.containers("stream_consumer")) == 1


def test_nothing_was_lost_or_doubled(stack: Stack, pipeline: Path, tmp_path: Path) -> None:
    """After all that was killed and scaled, each topic holds what was made, once, in order, with right averages."""
    balance.quiet(stack)
    counts = balance.check(stack, pipeline, tmp_path)
    print(f"balanced: {counts}")
    assert counts["stock_trades"] == counts["stock_prices"] > 10_000
    assert counts["social_feed"] == counts["social_posts"] > 5_000
    assert counts["server_logs"] == counts["log_lines"] > 5_000


def test_memory_stayed_within_its_limits(stack: Stack) -> None:
    """No container was ever killed for its memory, and each is below its limit now."""
    used = stack.memory_mb()
    print({name: f"{now:.0f} of {most:.0f} MiB" for name, (now, most) in used.items()})
    assert all(0 < now < most for now, most in used.values())
    assert not any(each["State"]["OOMKilled"] for name in ("kafka", *OURS) for each in stack.inspect(name))


def test_stop_drains_in_its_time(stack: Stack) -> None:
    """`stop` ends every service of ours with status 0, within the grace time; the next start goes on."""
    stack.up()
    stack.tail("stock_prices", "--from", "-1")
    began = time.monotonic()
    stack.compose("stop", *OURS)
    seconds = time.monotonic() - began
    print(f"stopped after {seconds:.1f} s")
    assert seconds < 45
    assert [stack.state(name)["ExitCode"] for name in OURS] == [0] * len(OURS), stack.logs()
    until(lambda: not stack.state("stream_consumer")["Running"], "the stop")
