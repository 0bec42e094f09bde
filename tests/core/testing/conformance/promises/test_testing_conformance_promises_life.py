"""Seeing what a plugin leaves behind."""

import asyncio
import threading

import pytest

from streamweaver.testing.conformance.promises.life import Leftovers, same_instance


async def test_threads_and_tasks_that_are_left_are_named() -> None:
    """What began meanwhile and still runs is told by its name; when it has ended all is well."""
    before, go, end = Leftovers(), threading.Event(), asyncio.Event()
    thread = threading.Thread(target=go.wait, name="fetcher")
    thread.start()
    task = asyncio.create_task(end.wait(), name="poller")
    with pytest.raises(AssertionError, match="still running after close: thread fetcher, task poller"):
        await before.gone(0.05)
    go.set()
    end.set()
    await before.gone(10)
    thread.join()
    await task


async def test_what_ran_before_is_nobodys_leftover() -> None:
    """Only what began since is looked at; nor is the event loop's own pool anybody's."""
    running = asyncio.create_task(asyncio.Event().wait())
    before = Leftovers()
    await asyncio.to_thread(int)
    await before.gone(0.05)
    running.cancel()


def test_one_object_for_every_stage() -> None:
    """Whatever is built, the same plugin takes its place."""
    plugin = object()
    assert same_instance(plugin)(object()) is plugin
