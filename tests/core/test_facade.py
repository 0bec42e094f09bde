"""The facade: what it offers, and what importing it loads."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import streamweaver

PUBLIC = [
    "API_VERSION",
    "BadRecord",
    "Batch",
    "Broker",
    "BrokerContext",
    "BrokerError",
    "BrokerLockedError",
    "Codec",
    "CodecError",
    "ConflictError",
    "Context",
    "CorruptLogError",
    "Delivery",
    "Fatal",
    "Fetched",
    "FormatVersionError",
    "Group",
    "Headers",
    "Lane",
    "LaneLostError",
    "PartitionRange",
    "PluginError",
    "Producer",
    "ProducerContext",
    "Reader",
    "Record",
    "RecordSink",
    "RecordTransform",
    "Rejected",
    "Retriable",
    "Rows",
    "Seconds",
    "Sink",
    "SinkContext",
    "Size",
    "State",
    "StorageError",
    "StreamWeaverError",
    "TopicMismatchError",
    "TopicSpec",
    "Transform",
    "TransformContext",
    "UnitOfWork",
    "UnknownTopicError",
    "broker",
    "codec",
    "option",
    "printable",
    "producer",
    "sink",
    "transform",
]

# Dear, and of no use to somebody who writes a plugin.
HEAVY = {
    "aiokafka",
    "asyncio",
    "cattrs",
    "click",
    "pluggy",
    "rich",
    "sqlite3",
    "stevedore",
    "structlog",
    "websockets",
    "yaml",
}


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """Return what a fresh interpreter has loaded after `import streamweaver`."""
    code = "import sys, streamweaver; print(*sys.modules)"
    # Coverage, where it measures subprocesses, would load modules of its own before ours.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_public_names() -> None:
    """These names are what plugins rely on: adding one is a decision, removing one breaks them."""
    assert sorted(streamweaver.__all__) == sorted(PUBLIC)


def test_public_names_are_in_order_and_there() -> None:
    """`__all__` is sorted as ruff sorts it, and each of its names exists."""
    assert [name for name in streamweaver.__all__ if not hasattr(streamweaver, name)] == []
    assert len(set(streamweaver.__all__)) == len(streamweaver.__all__)


def test_importing_loads_nothing_heavy(loaded: set[str]) -> None:
    """No client, parser or event loop is loaded before it is used."""
    assert sorted(loaded & HEAVY) == []


def test_importing_loads_only_the_contract_layers(loaded: set[str]) -> None:
    """The facade stands on these modules of ours and on no others, and loads no plugin."""
    ours = {name for name in loaded if name.split(".")[0].startswith("streamweaver")}
    assert ours == {
        "streamweaver",
        *(
            f"streamweaver.{name}"
            for name in ("contracts", "decorators", "errors", "plugin", "record", "text", "units")
        ),
    }


def documented() -> set[str]:
    """Return the names in core that have a docstring: classes, functions, and values with a text below them."""
    found = set()
    for path in Path(streamweaver.__file__).parent.glob("*.py"):
        body = ast.parse(path.read_text()).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
                found.add(node.name)
            elif isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                found.update(target.id for target in targets if isinstance(target, ast.Name))
    return found


def test_every_public_name_has_a_docstring() -> None:
    """The facade is the reference that an author reads, so nothing in it is without a word."""
    assert set(streamweaver.__all__) - documented() == set()
