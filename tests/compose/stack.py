"""A set of compose files as a running stack: up, looked at from outside, crashed, stopped."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "compose"
PATIENCE = 180.0
PRODUCERS = ("stock_producer", "social_producer", "log_producer")
STAGES = (*PRODUCERS, "stream_consumer", "websocket_server")
OURS = (*STAGES, "web_dashboard")


def until(holds: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait for a condition; returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)
    return found


class Stack:
    """One project of compose, with a name and a port of its own; `down` removes everything that it made."""

    def __init__(self, *files: str, port: int, pipeline: Path) -> None:
        self.port = port
        self._files = files
        self._env = {
            **os.environ,
            "DASHBOARD_PORT": str(port),
            "STREAMWEAVER_VERSION": "compose-test",
            "STREAMWEAVER_PIPELINE": str(pipeline),
        }

    def compose(self, *arguments: object, seconds: float = 300, check: bool = True) -> str:
        """Run a compose command; its output."""
        files = [part for name in self._files for part in ("-f", str(COMPOSE / name))]
        command = ["docker", "compose", "-p", "streamweaver-test", *files, *map(str, arguments)]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=seconds)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}\n{self.logs()}")
        return done.stdout

    def logs(self) -> str:
        """The last lines of every service."""
        return self.compose("logs", "--tail", 15, "--no-color", check=False)

    def up(self, *services: str, **scale: int) -> None:
        """Start, and return when everything is healthy."""
        scales = [part for name, number in scale.items() for part in ("--scale", f"{name}={number}")]
        wait = ("up", "-d", "--no-build", "--wait", "--wait-timeout", int(PATIENCE))
        self.compose(*wait, *scales, *services, seconds=PATIENCE + 60)

    def down(self) -> None:
        """Remove containers, networks and volumes."""
        self.compose("down", "-v", "--timeout", 1, check=False)

    def containers_of(self, service: str) -> list[str]:
        """The ids of a service's containers; none where the files have no such service."""
        return self.compose("ps", "-a", "-q", service, check=False).split()

    def containers(self, service: str) -> list[str]:
        """The ids of a service's containers, stopped ones too."""
        return self.compose("ps", "-a", "-q", service).split()

    def inspect(self, service: str) -> list[dict[str, Any]]:
        """What Docker knows of a service's containers."""
        found: list[dict[str, Any]] = json.loads(docker("inspect", *self.containers(service)))
        return found

    def state(self, service: str) -> dict[str, Any]:
        """The state of a service's only container."""
        return dict(self.inspect(service)[0]["State"])

    def is_healthy(self, *services: str) -> bool:
        """Whether all containers of some services are."""
        return all(
            each["State"].get("Health", {}).get("Status") == "healthy" and each["State"]["Running"]
            for service in services
            for each in self.inspect(service)
        )

    def crash(self, service: str) -> None:
        """Kill a service's first process, and with it all of its container, as the kernel does when memory is short."""
        found = self.inspect(service)[0]
        os.kill(found["State"]["Pid"], signal.SIGKILL)
        started = found["State"]["StartedAt"]
        until(lambda: self.state(service)["StartedAt"] != started, f"{service} to be started again")

    def execute(self, service: str, *command: object, text: str | None = None) -> str:
        """Run a program in a service's first container."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.containers(service)[0], *map(str, command)],
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode:
            raise AssertionError(f"{command}:\n{done.stdout[-2000:]}{done.stderr[-3000:]}")
        return done.stdout

    def tail(self, topic: str, *options: object) -> list[dict[str, Any]]:
        """The records of a topic, as the command line tells them."""
        command = ("streamweaver", "topic", "tail", "pipeline.yaml", topic, "--json")
        said = self.execute("web_dashboard", *command, *options)
        return [json.loads(line) for line in said.splitlines()]

    def taken_in(self, stage: str) -> float:
        """How many records the workers of a stage have taken in, as the dashboard tells it without log-in."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        return sum(
            float(count)
            for count in re.findall(
                rf'^streamweaver_records_in_total{{.*stage="{stage}".*}} (\S+)$', text, re.MULTILINE
            )
        )

    def memory_mb(self) -> dict[str, tuple[float, float]]:
        """What each container uses and may use."""
        found = {}
        for service in self.compose("ps", "--services").split():
            for each in self.inspect(service):
                limit = each["HostConfig"]["Memory"] / 2**20
                stats = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", each["Id"]).split("/")[0].strip()
                used = float(stats.rstrip("GMKiB")) * {"G": 1024, "M": 1, "K": 1 / 1024}[stats.lstrip("0123456789.")[0]]
                found[each["Name"].lstrip("/")] = (used, limit)
        return found


def docker(*arguments: object) -> str:
    """Run a docker command; its output."""
    return subprocess.run(
        ["docker", *map(str, arguments)], capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout


def in_order(rows: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """A topic's values by partition, in the order of offsets."""
    found: defaultdict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for row in rows:
        found[row["partition"]].append((row["offset"], row["value"]))
    return {
        partition: [value for _, value in sorted(held, key=lambda pair: pair[0])] for partition, held in found.items()
    }
