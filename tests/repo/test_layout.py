"""Tests stand where a reader looks for them: each module of core has a test file of its name."""

import ast
from pathlib import Path

import grimp
import pytest

PLUGINS = ("streamweaver_producers", "streamweaver_transforms", "streamweaver_sinks", "streamweaver_brokers")

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core/streamweaver"


def has_code(path: Path) -> bool:
    """Say whether a module defines anything; one that only hands on names is tested where they are defined."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return any(isinstance(node, kinds) for node in ast.parse(path.read_text()).body)


VIEWS = ("bar", "column", "feed", "field", "line", "make", "number", "seen", "table", "update", "window")

BROKER = (
    *("writing", "topic_checks", "row_checks", "unit_checks"),
    *("group_checks", "state_checks", "waiting_checks", "reader_checks"),
)

ELSEWHERE = {
    "config/__init__.py": "core/config/test_config_facade.py",
    # Parts of the converter, which has no other user: what they do shows in what it says of a file.
    "config/checks.py": "core/config/test_config_convert.py",
    "config/instance.py": "core/config/test_config_convert.py",
    "config/words.py": "core/config/test_config_convert.py",
    "config/scalar.py": "core/config/test_config_source.py",
    # Declarations only; the broken pipeline files break each of them.
    "config/model.py": "core/graph/test_broken_pipelines.py",
    # The options of a panel are the section `dashboard` of a file.
    "panel.py": "core/config/test_config_dashboard.py",
    # Views have one contract, and one file in which the same histories go through all of them.
    **{f"views/{name}.py": "core/views/test_views.py" for name in VIEWS},
    # A suite of checks, which brokers pass.
    **{f"testing/broker/{name}.py": "plugins/brokers/test_embedded_behaviour.py" for name in BROKER},
}
"""Modules whose tests stand in a file of another name, and which."""

MODULES = sorted(path.relative_to(CORE) for path in CORE.rglob("*.py") if has_code(path))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_test_file(module: Path) -> None:
    """`a/b.py` is tested by `tests/core/a/test_b.py` or `a/test_a_b.py`, and `a/__init__.py` by `a/test_a.py`."""
    parts = [part.lstrip("_") for part in module.with_suffix("").parts if part != "__init__"]
    folder = ROOT / "tests/core" / module.parent
    if str(module) in ELSEWHERE:
        assert (ROOT / "tests" / ELSEWHERE[str(module)]).is_file()
        return
    assert (folder / f"test_{parts[-1]}.py").is_file() or (folder / f"test_{'_'.join(parts)}.py").is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.name)
def test_every_test_states_a_fact(path: Path) -> None:
    """Each test function has a docstring: one sentence, the fact that it states."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert [node.name for node in functions if not ast.get_docstring(node)] == []


def test_no_plugin_imports_another() -> None:
    """Within a package of plugins, a module imports of the others only what is shared, whose name has an underscore."""
    graph = grimp.build_graph(*PLUGINS, cache_dir=None)
    modules = [module for module in graph.modules if "." in module]

    def plugin(module: str) -> str:
        return ".".join(module.split(".")[:2])

    assert [
        f"{module} imports {imported}"
        for module in modules
        for imported in graph.find_modules_directly_imported_by(module)
        if plugin(imported) != plugin(module) and not imported.partition(".")[2].startswith("_")
    ] == []
