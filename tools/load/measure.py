"""Running one load: a process for each stage, the dashboard, and clients, on a broker that several loads share."""

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
from tools.load.result import Client, Load, Sample

HERE = Path(__file__).parent
STREAMWEAVER = Path(sys.executable).with_name("streamweaver")
PATIENCE = 120.0
WARM_UP_SECONDS = 5
"""Left out of latency and lag; what is lost counts from the start."""
LAG = re.compile(r'^streamweaver_lag_(records|seconds)\{.*stage="(?:averages|live)"\} (\S+)', re.MULTILINE)


def _kafka(folder: Path) -> Any:
    """A broker on a free port (tools/kafka/local.py)."""
    spec = importlib.util.spec_from_file_location("local_kafka", HERE.parent / "kafka/local.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.LocalKafka(folder, port=module.free_port())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def broker() -> Iterator[tuple[Any, Path]]:
    """A running broker, and a folder for everything."""
    with tempfile.TemporaryDirectory() as name:
        kafka = _kafka(Path(name) / "kafka")
        kafka.start()
        try:
            yield kafka, Path(name)
        finally:
            kafka.stop()


def measure(kafka: Any, folder: Path, rate: int, seconds: int, *, clients: int, tell: Callable[[float], None]) -> Load:
    """Hold a rate for a time, on topics of its own; every record that is made reaches each client, or is lost."""
    with _Rate(rate, seconds, kafka, clients, folder) as one:
        return one.measure(tell)


class _Rate:
    def __init__(self, rate: int, seconds: int, broker: Any, clients: int, folder: Path) -> None:
        self._rate, self._seconds, self._count = rate, seconds, rate * seconds
        self._broker, self._number_of_clients, self._folder = broker, clients, folder
        self._port, self._page = _free_port(), _free_port()
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._clients: list[subprocess.Popen[str]] = []
        self._env = {**os.environ, "LOAD_KAFKA": broker.address}
        self._file = folder / f"{rate}x{seconds}.yaml"
        text = (HERE / "pipeline.yaml").read_text()
        self._file.write_text(re.sub(r"\b(load|trades|prices)\b", rf"\1_{rate}_{seconds}", text))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self._clients, *self._processes.values()):
            if process.poll() is None:
                process.kill()
            process.wait()

    def _start(self, name: str, *command: object) -> None:
        with (self._folder / f"{self._rate}-{name}.log").open("w") as log:
            self._processes[name] = subprocess.Popen(  # noqa: S603
                list(map(str, command)), env=self._env, stdout=log, stderr=log, text=True, cwd=self._folder
            )

    def _stage(self, name: str, *more: object) -> None:
        settings = (f"sinks.live.port={self._port}", f"producers.stocks.rate={self._rate}")
        options = [
            part for setting in (*settings, f"producers.stocks.count={self._count}") for part in ("--set", setting)
        ]
        data = self._folder / f"{self._file.stem}-data"
        if name == "dashboard":
            self._start(name, STREAMWEAVER, "dashboard", self._file, *options, "--port", self._page)
        else:
            up = (STREAMWEAVER, "pipeline", "up", self._file, "--no-dashboard", "--data", data)
            self._start(name, *up, *options, "--only", name, *more)

    def _until(self, holds: Callable[[], Any], what: str, seconds: float = PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            for name, process in self._processes.items():
                if process.poll() not in (None, 0):
                    raise RuntimeError(
                        f"{name} ended:\n" + (self._folder / f"{self._rate}-{name}.log").read_text()[-3000:]
                    )
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {seconds:.0f} s for {what}")
            time.sleep(0.1)

    def measure(self, tell: Callable[[float], None]) -> Load:
        """Start from the clients' end, so that nothing passes unseen; then let the producer begin."""
        self._stage("live")
        self._until(lambda: self._listens(self._port), "the WebSocket server")
        self._stage("averages")
        self._stage("dashboard")
        self._until(lambda: self._listens(self._page), "the dashboard")
        client = [sys.executable, str(HERE / "client.py"), str(self._port)]
        for _ in range(self._number_of_clients):
            process = subprocess.Popen(client, env=self._env, stdout=subprocess.PIPE, text=True)  # noqa: S603
            self._clients.append(process)
            assert process.stdout is not None
            process.stdout.readline()
        self._until(lambda: self._heard("averages") and self._heard("live"), "the stages to have partitions")
        self._stage("stocks", "--until-idle")
        watched = {name: psutil.Process(process.pid) for name, process in self._processes.items()}
        watched["kafka"] = psutil.Process(self._broker.pid)
        watched["client"] = psutil.Process(self._clients[0].pid)
        samples = self._sample(watched, tell)
        seen = [self._end(process) for process in self._clients]
        first = min(second for each in seen for second in each.seconds)
        last = max(second for each in seen for second in each.seconds)
        return Load(self._rate, self._count, float(last - first) or 1.0, WARM_UP_SECONDS, seen, samples)

    def _listens(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def _metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._page}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def _heard(self, stage: str) -> bool:
        return re.search(rf'stage_healthy\{{.*stage="{stage}"\}} 1', self._metrics()) is not None

    def _sample(self, watched: dict[str, psutil.Process], tell: Callable[[float], None]) -> list[Sample]:
        """Look once a second until everything that was made has been read by the sink."""
        samples: list[Sample] = []
        began = time.monotonic()
        for process in watched.values():
            process.cpu_percent()
        while True:
            time.sleep(1)
            now = time.monotonic() - began
            text = self._metrics()
            lag = {"records": 0.0, "seconds": 0.0}
            for kind, value in LAG.findall(text):
                lag[kind] = max(lag[kind], float(value))
            memory, cpu = {}, {}
            for name, process in watched.items():
                try:
                    memory[name], cpu[name] = process.memory_info().rss / 1e6, process.cpu_percent() / 100
                except psutil.Error:  # The producer has made everything.
                    memory[name], cpu[name] = 0.0, 0.0
            samples.append(Sample(now, lag["records"], lag["seconds"], memory, cpu))
            tell(min(now, self._seconds))
            done = re.search(r'records_in_total\{.*stage="live".*\} (\S+)', text)
            if done is not None and float(done[1]) >= self._count:
                time.sleep(1)
                return samples
            self._until(lambda: True, "")
            if now > self._seconds + PATIENCE:
                return samples

    @staticmethod
    def _end(process: subprocess.Popen[str]) -> Client:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        process.wait()
        seconds = {int(s): {int(age): times for age, times in held.items()} for s, held in found["seconds"].items()}
        return Client(seconds, found["dropped"])
