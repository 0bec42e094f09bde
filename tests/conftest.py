"""What holds for all tests."""

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from faults.running import Launcher
from forked_program import Forker

# How long an example takes says more about who else uses the machine than about the code.
settings.register_profile("streamweaver", deadline=None, max_examples=30)
settings.register_profile("long", settings.get_profile("streamweaver"), max_examples=2_000)  # by `make soak`
settings.load_profile("streamweaver")

# The width that tables keep to is what the test says, not that of who runs it (the workers of pytest-xdist set one).
os.environ.pop("COLUMNS", None)

HERE = Path(__file__).parent

# Also for the pytest that a test starts in a new folder: its tables of characters take seconds to make.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(HERE.parent / ".hypothesis"))

LONG = [
    "browser/test_page_streams.py",
    "browser/test_page_safety.py",
    "browser/test_page_pipeline.py",
    "browser/test_page_units.py",
    "browser/test_page_line.py",
    "browser/test_page_cost.py",
    "browser/test_page_alerts.py",
    "browser/test_page_letters.py",
    "browser/test_page_access.py",
    "core/cli/test_cli_workers.py",
    "docs/test_docs_pages.py",
    "plugins/brokers/kafka/test_kafka_outage.py",
    "faults/test_kill_anywhere.py",
    "core/testing/conformance/promises/test_testing_conformance_promises_sink.py",
    "core/cli/test_cli_up.py",
    "plugins/brokers/kafka/test_kafka_behaviour.py",
    "faults/test_storage.py",
    "core/scaffold/test_scaffold.py",
    "plugins/brokers/kafka/test_kafka_commits.py",
    "plugins/brokers/kafka/test_kafka_kill.py",
    "core/testing/conformance/promises/test_testing_conformance_promises_producer.py",
    "core/testing/conformance/promises/test_testing_conformance_promises_transform.py",
    "dashboard/test_dashboard_live.py",
    "plugins/brokers/kafka/test_kafka_pipeline.py",
    "plugins/test_conformance.py",
    "core/testing/conformance/test_testing_conformance_case.py",
    "faults/test_stopping.py",
    "plugins/brokers/kafka/test_kafka_faults.py",
    "plugins/brokers/kafka/test_kafka_security.py",
    "dashboard/test_dashboard_api.py",
    "plugins/producers/test_stock_trades.py",
    "plugins/brokers/kafka/test_kafka_records.py",
    "end_to_end/test_throughput.py",
    "plugins/producers/file_tail/test_file_tail_any_history.py",
    "end_to_end/test_load.py",
    "plugins/brokers/kafka/test_kafka_run.py",
    "repo/test_speed.py",
]
"""The files that take longest, the longest first; those of the browser have a run of their own."""


@pytest.fixture(scope="session")
def forker() -> Forker:
    """What starts programs quickly."""
    return Forker()


@pytest.fixture
def launcher(tmp_path: Path, forker: Forker) -> Iterator[Launcher]:
    """Starts pipelines, quickly, and leaves none behind."""
    launcher = Launcher(tmp_path, forker)
    yield launcher
    launcher.kill_all()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: a worker that comes to one last would keep all others waiting."""
    places = {HERE / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from what stays to the end: the tests themselves, in every worker by the thousand."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()
