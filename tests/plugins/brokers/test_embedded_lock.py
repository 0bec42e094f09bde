"""One running pipeline a folder, any number of tools."""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from streamweaver import BrokerError, BrokerLockedError, StorageError, TopicSpec
from streamweaver.testing.broker import all_of, append, rows
from streamweaver_brokers.embedded import Embedded

Launch = Callable[..., Awaitable[Embedded]]


def runner_elsewhere(spawn: Callable[..., Any]) -> Any:
    """Return a process that runs a pipeline on the folder, until it is killed."""
    child = spawn("""
        async def main():
            await launch()
            say("open")
            await asyncio.sleep(60)
        asyncio.run(main())
    """)
    assert child.stdout.readline() == "open\n"
    return child


async def test_a_second_runner_is_told_who_holds_the_folder(launch: Launch) -> None:
    """The error names the pipeline, the process and what to do, and the first runner goes on."""
    first = await launch()
    with pytest.raises(BrokerLockedError, match=rf"pipeline test \(process {os.getpid()} on .+ since \d{{4}}-.*--data"):
        await launch()
    await first.create([TopicSpec(name="t")])
    await first.close()
    await launch()


async def test_a_lock_ends_with_its_process(launch: Launch, spawn: Callable[..., Any]) -> None:
    """A runner that was killed leaves a lock file behind, which is no obstacle; as long as it lives it is."""
    child = runner_elsewhere(spawn)
    with pytest.raises(BrokerLockedError, match=f"pipeline child .process {child.pid} "):
        await launch()
    child.send_signal(signal.SIGKILL)
    child.wait()
    await launch()


async def test_a_tool_tells_who_runs(launch: Launch, spawn: Callable[..., Any]) -> None:
    """As long as the runner's process lives, and not an instant longer."""
    runner = await launch()
    tool = await launch(role="tool")
    found = await tool.holder()
    assert found is not None
    assert found.startswith(f"pipeline test (process {os.getpid()} on ")
    await runner.close()
    assert await tool.holder() is None
    child = runner_elsewhere(spawn)
    assert f"process {child.pid} " in str(await tool.holder())
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert await tool.holder() is None


async def test_tools_read_and_append_beside_a_runner(launch: Launch) -> None:
    """A tool takes no lock: it sees what is committed, and what it appends reaches the runner's readers."""
    runner = await launch()
    await runner.create([TopicSpec(name="t")])
    await append(runner, "t", 0, rows([b"runner"]))
    tool = await launch(role="tool")
    assert [value for _, value, _, _ in await all_of(tool, "t", 0, 1)] == [b"runner"]
    await append(tool, "t", 0, rows([b"tool"]))
    await append(runner, "t", 0, rows([b"runner again"]))
    wanted = [b"runner", b"tool", b"runner again"]
    for broker in (runner, tool):
        assert [value for _, value, _, _ in await all_of(broker, "t", 0, 3)] == wanted


async def test_a_tool_creates_nothing(launch: Launch, folder: Path) -> None:
    """A tool says where it looked for a log, and leaves no file; it makes no topic and joins no group."""
    with pytest.raises(BrokerError, match=r"log\.sqlite: no log here; has this pipeline ever run"):
        await launch(role="tool")
    assert not folder.exists()
    await (await launch()).close()
    tool = await launch(role="tool")
    with pytest.raises(BrokerError, match="no topics t yet"):
        await tool.create([TopicSpec(name="t")])
    with pytest.raises(BrokerError, match="only a running pipeline may join"):
        await tool.join("group", [])


async def test_a_folder_that_cannot_be_is_a_storage_error(launch: Launch, folder: Path) -> None:
    """A file in the folder's place is reported with its path, in one line."""
    folder.write_text("a file")
    with pytest.raises(StorageError, match="data: file exists; choose another data folder"):
        await launch()
