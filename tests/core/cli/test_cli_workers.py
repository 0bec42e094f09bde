"""`pipeline up --workers N`: a supervisor and its worker processes, on a real Kafka and on brokers that misbehave."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import fsum
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kafka_server import kafka_address  # noqa: F401 - a fixture
from streamweaver import BrokerContext, Rows, TopicSpec
from streamweaver.cli import workers as workers_module
from streamweaver.cli.health_file import HealthFile
from streamweaver.cli.workers import Supervisor
from streamweaver.retry import Backoff
from streamweaver_brokers.kafka import Kafka

PROGRAM = Path(sys.executable).parent / "streamweaver"
RECORDS, KEYS, SIZE = 6_000, 30, 10

PIPELINE = """\
name: {name}
delivery: exactly_once
dashboard: {{enabled: false}}
broker: {{use: kafka, servers: ["{servers}"]}}
topics:
  {name}.orders: {{partitions: 4}}
  {name}.averages: {{partitions: 4}}
producers:
  orders: {{use: ndjson_file, path: orders.ndjson, to: {name}.orders, key: key, rate: {rate}}}
flows:
  averages:
    from: {name}.orders
    steps: [{{use: moving_average, field: value, by: key, size: {size}}}]
    to: {name}.averages
sinks:
  out: {{use: file, from: {name}.averages, path: out.ndjson}}
"""

ODD_BROKER = '''\
import os
import signal
import subprocess
import sys
import time
import attrs
from streamweaver import BrokerError, broker
from streamweaver_brokers.embedded import Embedded

@broker("odd", example="{use: odd}")
@attrs.define(eq=False)
class Odd(Embedded):
    """A broker that says that it shares work, and cannot be opened."""

    def __attrs_post_init__(self):
        self.shares_work = True

    async def open(self, context):
        how = os.environ["ODD_BROKER"]
        print("opening", context.worker, flush=True)
        if how == "leave":
            # As a plugin does that forks, or whose library passes on what it has open.
            left = subprocess.Popen(["sleep", "300"], close_fds=False)
            with open("left.txt", "a") as file:
                print(left.pid, file=file)
            print("killed soon", file=sys.stderr, flush=True)
        if how in ("die", "leave"):
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "refuse":
            raise BrokerError("nobody answers at nowhere:1; is it running?")
        while True:
            time.sleep(0.05)
'''


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start the program in a process of its own, and make sure that it is gone in the end."""
    command = [str(PROGRAM), "pipeline", "up", *map(str, arguments)]
    with Path("err.txt").open("w") as err:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Look again and again, as long as the process lives; the time limit of the test is the limit."""
    while not condition():
        assert process.poll() is None, Path("err.txt").read_text()
        time.sleep(0.05)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the process ids of the workers, sorted.

    The kernel's own list, `task/*/children`, may leave some out while a child comes or ends (proc(5)); each child's
    own word on its parent does not.
    """
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold spaces. After it: the state, the parent.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == process.pid:
                found.append(int(stat.parent.name))
    return sorted(found)


def ended(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, dict[str, Any], str]:
    """Wait for the end; returns the exit status, the summary, and standard error."""
    out, _ = process.communicate(timeout=seconds)
    lines = out.splitlines()
    return process.returncode, json.loads(lines[-1]) if lines else {}, Path("err.txt").read_text()


# -- on Kafka -------------------------------------------------------------------------------------


@pytest.fixture
def name() -> str:
    """A pipeline's name, new in the cluster."""
    return f"w{uuid.uuid4().hex[:8]}"


@pytest.fixture
def orders(
    name: str,
    kafka_address: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Stand in a folder with a pipeline file, whose producer is finite and slow enough to be disturbed."""
    monkeypatch.chdir(tmp_path)
    # Padded, since the producer takes a few hundred KiB at once, whatever its rate.
    rows = [
        {"key": f"k{n % KEYS}", "seq": n // KEYS, "value": n * 7 % 1000, "padding": "." * 1_000} for n in range(RECORDS)
    ]
    Path("orders.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = Path("orders.yaml")
    path.write_text(PIPELINE.format(name=name, servers=kafka_address, rate=750, size=SIZE))
    return path


async def averages(name: str, address: str, folder: Path) -> list[dict[str, Any]]:
    """Return every committed record of the pipeline's output, each partition in its order."""
    broker = Kafka(servers=[address])
    await broker.open(BrokerContext(pipeline="judge", data_dir=folder, role="tool"))
    found: list[dict[str, Any]] = []
    try:
        for part, held in enumerate(await broker.ranges(f"{name}.averages")):
            reader = await broker.reader({(f"{name}.averages", part): held.begin})
            at = held.begin
            while at < held.end:
                for rows in await reader.poll():
                    found += [msgspec.json.decode(value) for value in rows.values if value]
                    at = rows.next_offset
            await reader.close()
    finally:
        await broker.close()
    return found


def judge(found: list[dict[str, Any]]) -> None:
    """Check that each order came out once, in the order of its key, with the average of an undisturbed run."""
    assert len(found) == RECORDS
    written = [json.loads(line) for line in Path("out.ndjson").read_text().splitlines()]
    assert sorted((row["key"], row["seq"]) for row in written) == sorted((row["key"], row["seq"]) for row in found)
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in found:
        by_key.setdefault(row["key"], []).append(row)
    for rows in by_key.values():
        assert [row["seq"] for row in rows] == list(range(RECORDS // KEYS))
        for n, row in enumerate(rows):
            window = [other["value"] for other in rows[max(0, n + 1 - SIZE) : n + 1]]
            assert row["moving_average"] == fsum(window) / len(window)


def test_three_workers_share_the_work_and_end_together(
    orders: Path,
    name: str,
    run: Any,
    kafka_address: str,  # noqa: F811
) -> None:
    """Idle when the one producer has ended wherever it ran; one summary has the counts of all, which balance.

    Afterwards `pipeline status` shows the same counts: those of all workers, of which none ran everything.
    """
    with running(orders, "--workers", 3, "--until-idle", "--json", "--set", "producers.orders.rate=20000") as process:
        status, summary, err = ended(process)
    assert status == 0, err
    assert summary["workers"] == {"started": 3, "restarts": 0, "counts_missing": 0}
    counts = summary["stages"]
    assert counts["orders"]["in"] == counts["orders"]["out"] == counts["averages"]["in"] == RECORDS
    assert counts["averages"]["out"] == counts["out"]["out"] == RECORDS
    assert not any(stage["in_flight"] or stage["errors"] for stage in counts.values())
    shown = run("pipeline", "status", orders, "--json").json
    assert (shown["state"], shown["running"], shown["workers"]) == ("stopped", False, 3)
    for stage, expected in counts.items():
        assert {figure: shown["stages"][stage][figure] for figure in expected} == expected, stage
    judge(asyncio.run(averages(name, kafka_address, orders.parent)))


def test_a_killed_worker_is_replaced_and_nothing_is_lost_or_doubled(
    orders: Path,
    name: str,
    run: Any,
    kafka_address: str,  # noqa: F811
) -> None:
    """Kill -9: its slot is filled again at once; the summary says whose counts are missing."""
    with running(orders, "--workers", 3, "--until-idle", "--json", "--worker-name", "w") as process:
        found: Any = {"stages": {}}

        def all_at_work() -> bool:
            nonlocal found
            said = run("pipeline", "status", orders, "--json")
            found = said.json if said.out else found
            return said.status == 0 and found.get("workers") == 3 and bool(found["stages"]["averages"]["out"])

        until(all_at_work, process)
        before = workers_of(process)
        assert len(before) == 3
        os.kill(before[1], signal.SIGKILL)
        assert found["stages"]["orders"]["out"] < RECORDS, "it is killed while there is work"

        def is_replaced() -> bool:
            now = workers_of(process)  # asked once: between two answers the dead one may go before the new one comes
            return len(now) == 3 and before[1] not in now

        until(is_replaced, process)
        assert {before[0], before[2]} < set(workers_of(process))
        status, summary, err = ended(process, 90)
    assert status == 0, err
    assert summary["workers"] == {"started": 3, "restarts": 1, "counts_missing": 1}
    assert "ended by SIGKILL and is started again" in err
    assert "what they had counted is missing in the summary" in err
    judge(asyncio.run(averages(name, kafka_address, orders.parent)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_drains_all_workers(orders: Path, number: int) -> None:
    """The producer stops and everything that it made goes through, whichever worker it waits for; exit status 0."""
    with running(orders, "--workers", 2, "--json", "--set", "producers.orders.rate=300") as process:
        until(lambda: "event=running" in Path("err.txt").read_text(), process)
        # As a service manager does, which knows nothing of supervisors.
        for pid in [process.pid, *workers_of(process)]:
            os.kill(pid, number)
        status, summary, err = ended(process)
    assert status == 0, err
    counts = summary["stages"]
    assert counts["orders"]["out"] == counts["averages"]["in"] == counts["out"]["out"] > 0
    assert summary["workers"] == {"started": 2, "restarts": 0, "counts_missing": 0}
    assert "Traceback" not in err


def test_a_duration_ends_all_workers_and_the_human_summary_is_one(orders: Path) -> None:
    """One table on standard output, log lines marked with the worker on standard error."""
    with running(orders, "--workers", 2, "--duration", "12s", "--worker-name", "w") as process:
        out, _ = process.communicate(timeout=90)
    err = Path("err.txt").read_text()
    assert process.returncode == 0, err
    assert [line.split()[0] for line in out.splitlines()] == ["stage", "orders", "averages", "out"]
    assert err.count("event=starting") == 1


def test_a_stage_that_failed_for_good_ends_all_workers(orders: Path) -> None:
    """Exit status 1 and one line that names the stage, as with a single process."""
    rows = Path("orders.ndjson").read_text().splitlines(keepends=True)
    Path("orders.ndjson").write_text("".join([*rows[:500], '{"key": "k", "value": "no number"}\n']))
    arguments = (orders, "--workers", 2, "--until-idle", "--json", "--set", "flows.averages.on_error=stop")
    with running(*arguments) as process:
        status, summary, err = ended(process)
    assert status == 1, err
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert failed[0].startswith("failed: stage averages: moving_average failed on ")
    assert summary["workers"]["restarts"] == 0
    assert "the next start goes on from there" in err


def test_workers_end_when_their_supervisor_is_killed(orders: Path) -> None:
    """Kill -9 of the supervisor leaves no worker behind."""
    with running(orders, "--workers", 2) as process:
        until(lambda: "event=running" in Path("err.txt").read_text(), process)
        left = workers_of(process)
        assert len(left) == 2
        process.kill()
        process.wait()
        while any(Path(f"/proc/{pid}/fd").exists() and _is_ours(pid) for pid in left):
            time.sleep(0.05)


def _is_ours(pid: int) -> bool:
    try:
        return b"--supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def test_a_pipeline_that_was_cut_off_is_not_called_stopped(
    run: Any,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kafka_address: str,  # noqa: F811
) -> None:
    """On Kafka nobody knows who runs it: without a goodbye it is not heard of, and it runs when figures come again."""
    monkeypatch.chdir(tmp_path)
    text = f"name: {name}\ndashboard: {{enabled: false}}\ntopics: {{a: {{external: true}}}}\n"
    Path("cut.yaml").write_text(f"{text}sinks: {{out: {{use: console, from: a}}}}\n")
    there = ("--set", "broker.use=kafka", "--set", f'broker.servers=["{kafka_address}"]')

    async def say(age_ms: int, running: bool) -> None:
        broker = Kafka(servers=[kafka_address])
        await broker.open(BrokerContext(pipeline=name, data_dir=tmp_path))
        await broker.create([TopicSpec(name=f"{name}.metrics")])
        at = time.time_ns() // 1_000_000 - age_ms
        unit = broker.begin()
        figures = {"pipeline": name, "time": at, "started": at, "running": running, "stages": {}}
        unit.append(f"{name}.metrics", 0, Rows([b"0"], [json.dumps(figures).encode()], [at]))
        await unit.commit()
        await broker.close()

    states = []
    for age_ms, running in ((14_000, True), (0, True), (0, False)):
        asyncio.run(say(age_ms, running))
        said = run("pipeline", "status", "cut.yaml", "--json", *there)
        states.append((said.json["state"], said.json["running"], said.status))
    assert states == [("unheard", None, 1), ("running", True, 0), ("stopped", False, 1)]


# -- what workers tell ----------------------------------------------------------------------------


def told(health: HealthFile | None = None) -> Any:
    """Return a supervisor of two workers that have not started."""
    wishes: Any = type("Some", (), {"worker_name": "w", "workers": 2})
    return Supervisor([], frozenset(), 1.0, wishes, lambda *_, **__: None, health)


def test_what_a_silent_worker_told_is_not_told_again() -> None:
    """It is named with the time of its silence, and its figures are not among the others'; also when all are silent."""
    supervisor = told()
    assert supervisor.figures(100.0) is None
    for slot, told_at, out in zip(supervisor._slots, (100.0, 90.0), (1, 2), strict=True):
        stage = {"health": "ok", "activity": "x", "out": out}
        slot.metrics = {"pipeline": "t", "time": 1, "running": True, "stages": {"f": stage}}
        slot.told_at = told_at
    both, one, none = (supervisor.figures(now) for now in (95.0, 101.0, 110.0))
    assert (both["stages"]["f"]["out"], both["silent"]) == (3, {})
    assert (one["stages"]["f"]["out"], one["silent"]) == (1, {"w-1": 11.0})
    assert none == {"stages": {}, "silent": {"w-0": 10.0, "w-1": 20.0}}


async def test_a_worker_that_hangs_lets_the_health_file_grow_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' figures go on, on time; the file is renewed only while all workers speak."""
    monkeypatch.setattr(workers_module, "SHOW_SECONDS", 0.005)
    monkeypatch.setattr(workers_module, "SILENT_SECONDS", 0.05)
    path = tmp_path / "healthy"
    supervisor = told(HealthFile(path))
    shown: list[dict[str, Any]] = []
    supervisor._show = shown.append
    stages = {"f": {"health": "ok"}}
    metrics = {"pipeline": "t", "time": 1, "published": 1, "running": True, "stages": stages}
    said = {"kind": "metrics", "metrics": metrics}

    async def saying(workers: int, until: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not until():
                for slot in supervisor._slots[:workers]:
                    supervisor._heard(slot, said)
                await asyncio.sleep(0.001)

    showing = asyncio.create_task(supervisor._show_now_and_then())
    await saying(2, path.exists)
    await saying(1, lambda: shown[-1]["silent"])
    path.unlink()
    shown.clear()
    await saying(1, lambda: len(shown) > 2)
    showing.cancel()
    await asyncio.wait({showing})
    assert [(list(each["silent"]), each["stages"]) for each in shown] == [(["w-1"], stages)] * len(shown)
    assert not path.exists()


# -- workers that do not get far ------------------------------------------------------------------


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Stand in a folder with a pipeline on a broker that does something odd in `open`."""

    def make(how: str) -> Path:
        (tmp_path / "odd_broker.py").write_text(ODD_BROKER)
        info = tmp_path / "odd_broker-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-broker\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[streamweaver.brokers]\nodd = odd_broker:Odd\n")
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("ODD_BROKER", how)
        path = Path("odd.yaml")
        path.write_text(
            "name: odd\nbroker: {use: odd}\ndashboard: {enabled: false}\n"
            "producers:\n  trades: {use: stock_trades, to: trades}\n"
        )
        return path

    return make


def test_a_worker_that_dies_again_and_again_ends_the_run(
    run: Any, odd: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many restarts in a row: exit status 1, and one line that says which worker and how."""
    monkeypatch.setattr(workers_module, "RESTARTS", 2)
    monkeypatch.setattr(workers_module, "BACKOFF", Backoff(0.001, 0.001))
    said = run("pipeline", "up", odd("die"), "--workers", 2, "--worker-name", "w", "--json")
    assert said.status == 1
    failed = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert "ended by SIGKILL, after 2 restarts in a row" in failed[0]
    assert said.json["workers"]["restarts"] >= 2


def test_a_worker_that_leaves_processes_behind_has_ended_all_the_same(
    run: Any, odd: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it started keeps its socket and its standard error open, and yet a successor starts, and the run ends."""
    monkeypatch.setattr(workers_module, "RESTARTS", 1)
    monkeypatch.setattr(workers_module, "REST_SECONDS", 0.2)
    path = odd("leave")
    try:
        said = run("pipeline", "up", path, "--workers", 2, "--json")
    finally:
        left = [int(pid) for pid in Path("left.txt").read_text().split()]
        for pid in left:
            os.kill(pid, signal.SIGKILL)  # which raises if it was not there any more
    assert said.status == 1
    assert "ended by SIGKILL, after 1 restarts in a row" in said.err
    assert len(left) >= 2
    assert said.err.count("killed soon") >= 2


def test_a_worker_that_cannot_start_ends_the_run_at_once(run: Any, odd: Callable[[str], Path]) -> None:
    """What a single process would say is said once, not once a worker, and nothing is tried again."""
    said = run("pipeline", "up", odd("refuse"), "--workers", 2, "--json")
    assert said.status == 1
    failed = [line for line in said.err.splitlines() if "nobody answers" in line]
    assert failed == ["failed: nobody answers at nowhere:1; is it running?"]
    assert said.json["workers"]["restarts"] == 0


def test_a_second_signal_ends_workers_that_block(odd: Callable[[str], Path]) -> None:
    """Even while a plugin keeps their event loops busy: exit status 3, and no worker is left."""
    path = odd("block")
    with running(path, "--workers", 2, "--json") as process:
        assert process.stdout is not None
        for _ in range(2):
            assert process.stdout.readline().startswith("opening")
        left = workers_of(process)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        status, _, err = ended(process)
    assert status == 3, err
    assert "the next start goes on from there" in err
    assert not any(_is_ours(pid) for pid in left)


def test_names_of_workers_are_checked(run: Any, odd: Callable[[str], Path]) -> None:
    """A name goes into names of members of consumer groups, which do not take any text."""
    said = run("pipeline", "up", odd("refuse"), "--worker-name", "no good")
    assert said.status == 2
    assert "expected up to 100 letters" in said.err
