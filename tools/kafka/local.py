#!/usr/bin/env python3
"""A real Kafka broker on this machine, without containers: jars from Maven, Java 17, KRaft, loopback only.

    tools/kafka/local.py up [--data DIR] [--port 9092]    start (or find) it, print its address
    tools/kafka/local.py down [--data DIR]                stop it, by its process id

What the broker keeps lies below `.streamweaver/kafka` unless told otherwise; the jars below the user's cache folder.
Tests use `LocalKafka` from here, too.
"""

import argparse
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
VERSION = "4.1.1"
START_SECONDS = 60.0
CLASSES = "classes.jsa"
FORMATTED = "bootstrap.checkpoint"

QUICK_JAVA = ["-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
"""Options of Java for brokers that live for seconds: little memory, little compiling."""
DEFAULT_DATA = Path(".streamweaver/kafka")


class MissingPartError(RuntimeError):
    """Something that the broker needs is not on this machine; the text says what to install."""


def jars() -> Path:
    """Return the folder with Kafka's jars; fetches them by Maven the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "streamweaver" / "kafka" / VERSION
    if shutil.which("java") is None:
        raise MissingPartError("no java found: install a Java 17 runtime (Debian: openjdk-17-jre-headless)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        # Test processes that start side by side would fetch them several times, into each other's way.
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fetch(folder)
    return folder


def _fetch(folder: Path) -> None:
    if not any(folder.glob(f"kafka_*-{VERSION}.jar")):
        if shutil.which("mvn") is None:
            raise MissingPartError("no mvn found to fetch Kafka with: install Maven (Debian: maven)")
        fetched = folder.with_name(f"{VERSION}.{uuid.uuid4().hex}")
        command = ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies"]
        arguments = [f"-DoutputDirectory={fetched}", "-DincludeScope=runtime", f"-Dkafka.version={VERSION}"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)  # noqa: S603
        if done.returncode:
            raise MissingPartError(
                f"maven could not fetch Kafka {VERSION}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        shutil.rmtree(folder, ignore_errors=True)
        fetched.rename(folder)
    archive = folder / CLASSES
    if not archive.exists():
        _keep_classes(folder, archive)


def _keep_classes(folder: Path, archive: Path) -> None:
    """Start a broker once and keep its classes as Java loaded them: every later start takes 2 s in place of 8."""
    made = archive.with_suffix(f".{uuid.uuid4().hex}")
    with tempfile.TemporaryDirectory() as data:
        kafka = LocalKafka(Path(data), port=free_port())
        kafka.launch(folder, f"-XX:ArchiveClassesAtExit={made}")
        try:
            kafka.wait()
        finally:
            kafka.stop()
    # A Java that cannot do it is only slower.
    if made.exists():
        made.rename(archive)


def free_port() -> int:
    """Return a port that nothing listens on, and that no outgoing connection is given by the system meanwhile."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def _new_id() -> str:
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


class LocalKafka:
    """One broker that is its own controller. `settings` override any property of the server."""

    def __init__(
        self,
        data: Path,
        *,
        port: int = 9092,
        settings: Mapping[str, str] | None = None,
        node: int = 1,
        voters: str | None = None,
        controller_port: int | None = None,
        cluster: str | None = None,
    ) -> None:
        self.data = data.absolute()
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.format_arguments: list[str] = []
        """More arguments for formatting the storage, such as users (`--add-scram`)."""
        self.java = ["-Xmx512m", "-Xms128m"]
        """Options of Java."""
        self._process: subprocess.Popen[bytes] | None = None
        self._pid_file = self.data / "pid"
        controller = controller_port or free_port()
        self._cluster = cluster or _new_id()
        self._node = str(node)
        self._properties = {
            "process.roles": "broker,controller",
            "node.id": self._node,
            "controller.quorum.voters": voters or f"{node}@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": str(self.data / "log"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            **(settings or {}),
        }

    @property
    def pid(self) -> int | None:
        """The broker's process id, if it runs."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        # Not a stranger that got the number later.
        return pid if str(self.data).encode() in command else None

    def start(self) -> None:
        """Start the broker, or find it running; returns when it answers.

        A folder that holds a broker already keeps the settings that it was made with, the port included.
        """
        kept = self.data / "server.properties"
        if kept.exists():
            lines = kept.read_text().splitlines()
            listeners = next(line for line in lines if line.startswith("advertised.listeners"))
            self.address = listeners.split(",")[0].rpartition("/")[2]
            self.port = int(self.address.rpartition(":")[2])
        if self.pid is None:
            self.launch(jars())
        self.wait()

    def wait(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.pid is None or time.monotonic() > deadline:
                tail = (self.data / "server.log").read_text()[-3000:]
                self.kill()
                raise RuntimeError(f"kafka did not start on {self.address}:\n{tail}")
            time.sleep(0.1)

    def launch(self, folder: Path, *more: str) -> None:
        """Start the process with the jars of a folder and more options of Java; formats the storage the first time."""
        kept = [f"-XX:SharedArchiveFile={folder / CLASSES}"] if (folder / CLASSES).exists() else []
        java = ["java", *self.java, *kept, "-cp", f"{folder}/*"]
        self.data.mkdir(parents=True, exist_ok=True)
        properties = self.data / "server.properties"
        if not (self.data / "log/meta.properties").exists():
            properties.write_text("".join(f"{key}={value}\n" for key, value in self._properties.items()))
            self._format(folder, java, properties)
        with (self.data / "server.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [*java[:1], *more, *java[1:], "kafka.Kafka", str(properties)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=self.data,
            )
        self._process = process
        self._pid_file.write_text(str(process.pid))

    def _format(self, folder: Path, java: list[str], properties: Path) -> None:
        """Prepare the storage: what Kafka's tool made once is kept, and put beside this broker's own ids.

        Anew it costs another start of Java each time, for the same few bytes.
        """
        kept, made = folder / FORMATTED, self.data / "log" / FORMATTED
        if kept.exists() and not self.format_arguments:
            made.parent.mkdir(parents=True)
            shutil.copyfile(kept, made)
            ids = {"version": "1", "cluster.id": self._cluster, "node.id": self._node, "directory.id": _new_id()}
            (made.parent / "meta.properties").write_text("".join(f"{key}={value}\n" for key, value in ids.items()))
            return
        done = subprocess.run(  # noqa: S603
            # One word, since an id may begin with a hyphen.
            [
                *(*java, "kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster}"),
                *("-c", str(properties), *self.format_arguments),
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"kafka could not format {self.data}:\n{done.stdout}{done.stderr}")
        if not self.format_arguments:
            copy = kept.with_suffix(f".{uuid.uuid4().hex}")
            shutil.copyfile(made, copy)
            copy.rename(kept)

    def _answers(self) -> bool:
        # The socket may be open before the broker serves; then whoever connects waits.
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", self.port)):
                return False
        return True

    def stop(self, seconds: float = 20.0) -> None:
        """Stop the broker in order; kills it when that takes too long."""
        self._signal(signal.SIGTERM)
        if not self._gone(seconds):
            self.kill()

    def kill(self) -> None:
        """Kill the broker, as a crash does."""
        self._signal(signal.SIGKILL)
        self._gone(10)

    def _signal(self, number: int) -> None:
        pid = self.pid
        if pid is not None:
            os.kill(pid, number)

    def _gone(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.pid is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        self._process = None
        return True


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="a local Kafka broker, without containers")
    parser.add_argument("command", choices=("up", "down"))
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help=f"default {DEFAULT_DATA}")
    parser.add_argument("--port", type=int, default=9092)
    chosen = parser.parse_args()
    kafka = LocalKafka(chosen.data, port=chosen.port)
    try:
        if chosen.command == "down":
            kafka.stop()
        else:
            kafka.start()
            sys.stdout.write(f"{kafka.address}\n")
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
