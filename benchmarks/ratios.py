"""Ratios of our hot path to reference loops, measured in turns in one process: `ratios.py [--check] [--write]`.

Prints a table. With --check it fails when a piece has become slower, against its reference, than `ratios.json` allows;
with --write it writes that file.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pairs import COUNT, Pair, pairs

WRITTEN = Path(__file__).with_name("ratios.json")
TOLERANCE = 1.15
ROUNDS = 60
TRIES = 3
"""A piece that seems too slow is measured again: a busy neighbour spoils some rounds, a slow-down all of them."""
PROCESSES = 3
"""And then in a new process, since how things happen to lie in memory stays as it is in one."""


def once(function: Callable[[], Any]) -> float:
    """Return the processor time of one call, in seconds; time that others have the processor does not count."""
    started = time.thread_time()
    function()
    return time.thread_time() - started


def measure(pair: Pair, rounds: int = ROUNDS) -> tuple[float, float]:
    """Return the least time of each of the two, from rounds in turns."""
    ours, reference = pair
    best, best_reference = once(ours), once(reference)
    for _ in range(rounds):
        best, best_reference = min(best, once(ours)), min(best_reference, once(reference))
    return best, best_reference


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--written", type=Path, default=WRITTEN, help="the file with the ratios")
    parser.add_argument("--processes", type=int, default=PROCESSES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    # As the program runs.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    written = json.loads(chosen.written.read_text()) if chosen.written.exists() else {}
    found, slow = {}, []
    print(f"{'piece':<14} {'us a record':>11} {'reference':>10} {'ratio':>7} {'written':>8}")
    for name, pair in pairs().items():
        most = written.get(name, float("inf")) * TOLERANCE
        for _ in range(TRIES):
            ours, reference = measure(pair)
            found[name] = min(round(ours / reference, 3), found.get(name, float("inf")))
            if found[name] <= most:
                break
        else:
            slow.append(name)
        us, us_reference = (seconds / COUNT * 1e6 for seconds in (ours, reference))
        print(f"{name:<14} {us:>11.3f} {us_reference:>10.3f} {found[name]:>7.2f} {written.get(name, 0):>8.2f}")
    # "step" is not held to a ratio: it depends on how its windows lie in memory, up to 29 % from run to run.
    if chosen.write:
        chosen.written.write_text(
            json.dumps({name: ratio for name, ratio in found.items() if name != "step"}, indent=2) + "\n"
        )
    if chosen.check and slow and chosen.processes > 1:
        print(f"again, in a new process, because of {', '.join(slow)}", flush=True)
        again = ["--check", "--written", str(chosen.written), "--processes", str(chosen.processes - 1)]
        os.execv(sys.executable, [sys.executable, __file__, *again])
    if chosen.check and slow:
        print(f"slower than {TOLERANCE:.0%} of what benchmarks/ratios.json says: {', '.join(slow)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
