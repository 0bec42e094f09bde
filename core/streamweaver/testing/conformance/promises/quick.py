"""Telling code that waits in the event loop from code that works, or that others keep from working."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from streamweaver.testing.conformance.probe import Probe

LONGEST_SECONDS = 0.1

_TRIES = 3


async def blocks_the_loop(once: Callable[[Callable[[Any], Any]], Awaitable[None]], *verbs: str) -> None:
    """Run `once` with a probe that times calls of the verbs; AssertionError when one waits too long every time.

    What counts is time in which the call does nothing: work is not waiting. A busy machine also lets a call wait, but
    hardly in each of several tries.
    """
    waited: dict[str, float] = {}

    def timed(verb: str) -> Callable[..., Any]:
        def run(own: Callable[..., Any], *arguments: Any) -> Any:
            wall, work = time.perf_counter(), time.thread_time()
            result = own(*arguments)
            idle = time.perf_counter() - wall - (time.thread_time() - work)
            waited[verb] = max(waited.get(verb, 0.0), idle)
            return result

        return run

    def wrap(plugin: Any) -> Probe:
        return Probe(plugin, **{verb: timed(verb) for verb in verbs})

    least: dict[str, float] = {}
    for _ in range(_TRIES):
        waited.clear()
        await once(wrap)
        least = {verb: min(least.get(verb, idle), idle) for verb, idle in waited.items()}
        if not any(idle > LONGEST_SECONDS for idle in least.values()):
            return
    verb, idle = max(least.items(), key=lambda found: found[1])
    raise AssertionError(
        f"{verb} holds up the event loop for {idle * 1000:.0f} ms: make it async, or declare blocking=True"
    )
