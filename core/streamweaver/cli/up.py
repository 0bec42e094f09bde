"""`pipeline up`: run a pipeline in this process."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import uvloop

from streamweaver.config import read, to_seconds
from streamweaver.errors import ConfigError
from streamweaver.graph.build import build
from streamweaver.hooks import Observers
from streamweaver.registry import Registry
from streamweaver.runtime.clock import SystemClock
from streamweaver.runtime.engine import Engine, RunOptions, Summary


def run_up(file, overrides, only, data, duration, until_idle, as_json) -> int:
    try:
        plan, warnings = build(read(file, overrides), Registry())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    def log(level, event, /, **fields):
        print(level, event, fields, file=sys.stderr)
    async def go() -> Summary:
        engine = Engine(plan, RunOptions(duration_seconds=to_seconds(duration) if duration else None, until_idle=until_idle),
            data_dir=data or Path(".streamweaver")/plan.name, clock=SystemClock(), log=log, redact=plan.redact, observers=Observers(lambda t: log("error", t)))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, engine.stop)
        loop.add_signal_handler(signal.SIGTERM, engine.stop)
        return await engine.run()
    summary = uvloop.run(go())
    print(json.dumps({"stages": summary.counts}))
    if summary.error: print(summary.error, file=sys.stderr); return 1
    return 0 if summary.drained else 3
