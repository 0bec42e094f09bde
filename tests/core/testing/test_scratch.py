"""A place for the topics of one test."""

from pathlib import Path
from typing import Any

import attrs

from streamweaver import Record, TopicSpec, transform
from streamweaver.testing import ScratchLog, run_async


def log(folder: Path) -> ScratchLog:
    return ScratchLog({"use": "embedded", "durability": "process"}, folder)


@transform
def same(record: Record) -> Record:
    """Change nothing."""
    return record


def test_names_are_its_own(tmp_path: Path) -> None:
    """Two logs never give the same name, one log always does."""
    one, two = log(tmp_path), log(tmp_path)
    assert one.name("a") == one.name("a") != two.name("a")


async def test_a_plugin_runs_on_it(tmp_path: Path) -> None:
    """Its topics have names of this log; a second run goes on."""
    place = log(tmp_path)
    for values in ([1], [1, 2]):
        ran = await run_async(same, records=[values[-1]], log=place)
        assert ran.values() == values
    assert all(topic.startswith(place.prefix) for topic in ran.rows)
    assert ran.plan.broker.options.durability == "process"


async def test_a_pipeline_runs_on_it(tmp_path: Path) -> None:
    """Whatever broker its text names."""
    place = log(tmp_path)
    a, b = place.name("a"), place.name("b")
    text = f"name: {place.name('t')}\ntopics: {{{a}: {{external: true}}}}\nflows: {{f: {{from: {a}, to: {b}}}}}\n"
    ran = await run_async(text + "broker: {use: kafka, servers: [nowhere]}\n", records={a: [1]}, log=place)
    assert ran.values(b) == [1]


async def test_it_is_cleared_of_its_own_topics(tmp_path: Path) -> None:
    """Those that begin with its prefix, if the broker can remove topics at all."""
    place = log(tmp_path)
    removed: list[Any] = []

    class Removing:
        async def topics(self) -> dict[str, TopicSpec]:
            return dict.fromkeys([place.name("a"), "of-others"], TopicSpec(name="x"))

        async def remove(self, topics: list[str]) -> None:
            removed.extend(topics)

    @attrs.frozen
    class Other(ScratchLog):
        def opened(self) -> Any:
            class Opened:
                async def __aenter__(self) -> Any:
                    return Removing()

                async def __aexit__(self, *_: object) -> None: ...

            return Opened()

    await Other(place.broker, tmp_path, place.prefix).clear()
    assert removed == [place.name("a")]
    await place.clear()
