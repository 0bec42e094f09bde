"""What observers run beside the stages."""

import asyncio
from typing import Any

import pytest

from streamweaver.runtime import beside as module
from streamweaver.runtime.beside import Beside


async def test_what_fails_is_logged_and_done_with() -> None:
    """sys.exit too; the others go on."""
    lines: list[Any] = []
    beside = Beside(lambda *args, **fields: lines.append((args, fields)))

    async def broken() -> None:
        raise OSError("port taken")

    async def leaves() -> None:
        raise SystemExit(2)

    beside.start("server", broken())
    beside.start("other", leaves())
    await beside.wait()
    assert sorted(beside.failures) == ["other: 2", "server: port taken"]
    assert (("error", "server ended"), {"error": "OSError: port taken"}) in lines
    await beside.end()


async def test_the_last_failure_is_left_to_whoever_raises_it() -> None:
    """One that fails while another goes on is logged at once; the last is only kept."""
    lines: list[str] = []
    beside = Beside(lambda level, message, **fields: lines.append(message), last_is_raised=True)
    go_on = asyncio.Event()

    async def broken() -> None:
        go_on.set()
        raise OSError("first")

    async def last() -> None:
        await go_on.wait()
        raise OSError("second")

    beside.start("server", broken())
    beside.start("other", last())
    await beside.wait()
    assert lines == ["server ended"]
    assert beside.failures == ["server: first", "other: second"]


async def test_the_end_cancels_and_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that clings to life is named."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    lines: list[Any] = []
    beside = Beside(lambda *args, **fields: lines.append(args))
    await beside.wait()
    release = asyncio.Event()
    ended = False

    async def good() -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    async def clings() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await release.wait()

    beside.start("good", good())
    beside.start("bad", clings())
    await asyncio.sleep(0)
    await beside.end()
    assert ended
    assert lines == [("warning", "bad does not end")]
    release.set()
    await asyncio.sleep(0)
