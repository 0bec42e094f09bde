"""`python -m tools.load`: measure some rates, and write the report."""

import argparse
import json
import os
import platform
import sys
from functools import partial
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from tools.load.measure import broker, measure
from tools.load.report import page

WARM_RATE, WARM_SECONDS = 2_000, 30


def _tell(progress: Progress, task: TaskID, done: float) -> None:
    progress.update(task, completed=done)


def main() -> int:
    """Run the command line; status 1 when a record was lost."""
    parser = argparse.ArgumentParser(description="load through Kafka to WebSocket clients, on this machine")
    parser.add_argument("--rates", default="1000,5000,10000", help="records a second, comma-separated")
    parser.add_argument("--seconds", type=int, default=60, help="how long each rate is held")
    parser.add_argument("--clients", type=int, default=3, help="WebSocket clients that get everything")
    parser.add_argument("--out", type=Path, default=Path(".streamweaver/load"), help="where the report goes")
    chosen = parser.parse_args()
    rates = [int(rate) for rate in chosen.rates.split(",")]
    loads = []
    columns = (TextColumn("{task.description:32}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"))
    with broker() as (kafka, folder), Progress(*columns, TimeRemainingColumn(), transient=False) as progress:
        # A broker that has just started compiles its code for half a minute.
        task = progress.add_task("warming up", total=WARM_SECONDS)
        measure(kafka, folder, WARM_RATE, WARM_SECONDS, clients=1, tell=partial(_tell, progress, task))
        for rate in rates:
            task = progress.add_task(f"{rate:,} records/s", total=chosen.seconds)
            load = measure(
                kafka, folder, rate, chosen.seconds, clients=chosen.clients, tell=partial(_tell, progress, task)
            )
            progress.update(task, completed=chosen.seconds)
            loads.append(load)
            progress.console.print(json.dumps(load.summary()), soft_wrap=True, highlight=False)
    about = (
        f"{chosen.seconds} s each, {chosen.clients} clients, exactly once, one broker, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f} at the end."
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "report.html").write_text(page(loads, about), encoding="utf-8")
    (chosen.out / "report.json").write_text(json.dumps({"about": about, "loads": [load.summary() for load in loads]}))
    sys.stdout.write(f"{chosen.out / 'report.html'}\n")
    return 1 if any(load.lost for load in loads) else 0


if __name__ == "__main__":
    raise SystemExit(main())
