"""Telling code that waits in the event loop from code that works, or that others keep from working."""

import resource
import time
from collections.abc import Awaitable, Callable
from typing import Any

from streamweaver.testing.conformance.probe import Probe

LONGEST_SECONDS = 0.1

_TRIES = 3


def _waits() -> int:
    """Return how often this thread has given up the processor by itself; -1 where the system does not tell."""
    scope = getattr(resource, "RUSAGE_THREAD", None)
    return -1 if scope is None else resource.getrusage(scope).ru_nvcsw


async def blocks_the_loop(once: Callable[[Callable[[Any], Any]], Awaitable[None]], *verbs: str) -> None:
    """Run `once` with a probe that times calls of the verbs; AssertionError when one waits too long every time.

    What counts is time in which the call does nothing by its own will: neither work is waiting, nor is being kept from
    it by a busy machine. One try in which it is quick will do.
    """
    waited: dict[str, float] = {}

    def timed(verb: str) -> Callable[..., Any]:
        def run(own: Callable[..., Any], *arguments: Any) -> Any:
            wall, work, waits = time.perf_counter(), time.thread_time(), _waits()
            result = own(*arguments)
            idle = time.perf_counter() - wall - (time.thread_time() - work)
            if _waits() != waits or waits < 0:
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
