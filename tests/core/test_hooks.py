"""Observers: what is wrong with one is said, and never harms a pipeline."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pluggy
import pytest

from streamweaver.errors import PluginError
from streamweaver.hooks import Observers, observer


class Watcher:
    """Notes what it is told."""

    def __init__(self, fails: BaseException | None = None) -> None:
        self.fails = fails
        self.calls: list[Any] = []

    @observer
    def stage_started(self, stage: str) -> None:
        self.calls.append(stage)
        if self.fails is not None:
            raise self.fails

    @observer
    def unit_done(self, seconds: float, stage: str) -> None:
        self.calls.append((stage, seconds))


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def observers(reports: list[str]) -> Observers:
    return Observers(reports.append)


def test_an_implementation_gets_the_arguments_it_names(observers: Observers) -> None:
    """In whatever order, and no others; `wants` says whether anyone listens."""
    assert not observers.wants("unit_done")
    watcher = Watcher()
    observers.connect(watcher)
    assert observers.wants("unit_done")
    assert not observers.wants("stage_failed")
    observers.call("unit_done", stage="a", received=1, out=2, seconds=0.5)
    assert watcher.calls == [("a", 0.5)]


def test_observers_are_called_as_connected_but_for_those_that_ask(observers: Observers) -> None:
    """`tryfirst` and `trylast` put one before or behind all others."""
    called: list[str] = []

    def connect(name: str, **order: bool) -> None:
        class Named:
            """Notes that it was called."""

            @observer(**order)
            def stage_started(self, stage: str) -> None:
                called.append(name)

        observers.connect(Named())

    connect("last", trylast=True)
    connect("one")
    connect("other")
    connect("first", tryfirst=True)
    observers.call("stage_started", stage="a")
    assert called == ["first", "one", "other", "last"]


def test_what_a_mark_cannot_mean_is_refused() -> None:
    """An order on a class, and words that there are none of."""
    with pytest.raises(TypeError, match="got tryfirst on a class, expected it on its methods"):
        observer(tryfirst=True)(Watcher)
    with pytest.raises(TypeError, match="tryfrist"):
        observer(tryfrist=True)(lambda stage: None)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(2)], ids=["error", "exit"])
def test_one_that_fails_is_disconnected_and_the_others_go_on(
    observers: Observers, reports: list[str], error: BaseException
) -> None:
    """It is reported once, with the hook and the error."""
    good, bad = Watcher(), Watcher(error)
    observers.connect(good)
    observers.connect(bad)
    for stage in ("a", "b"):
        observers.call("stage_started", stage=stage)
    assert good.calls == ["a", "b"]
    assert bad.calls == ["a"]
    assert len(reports) == 1
    assert f"failed in stage_started and is disconnected: {type(error).__name__}: {error}" in reports[0]


class Misspelt:
    """Listens to nothing that exists."""

    @observer
    def stage_startet(self, stage: str) -> None: ...


class Curious:
    """Wants an argument that there is none of."""

    @observer
    def stage_started(self, stage: str, color: str) -> None: ...


class Awaiting:
    """Is never awaited."""

    @observer
    async def stage_started(self, stage: str) -> None: ...


class Wrapping:
    """Wraps."""

    @pluggy.HookimplMarker("streamweaver")(wrapper=True)
    def stage_started(self, stage: str) -> Iterator[None]:
        yield


class Silent:
    """Implements nothing."""


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (Misspelt, "unknown hook 'stage_startet'"),
        (Curious, "{'color'}"),
        (Awaiting, "stage_started is async, expected a plain function: hooks are not awaited"),
        (Wrapping, "stage_started is a wrapper, expected a plain function"),
        (Silent, "it implements no hook; mark its methods with @observer"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_one_that_would_not_be_called_is_refused(
    observers: Observers, reports: list[str], wrong: type[Any], text: str
) -> None:
    """The error says why, it is not connected, and those before and after it are."""
    first, last = Watcher(), Watcher()
    observers.connect(first)
    with pytest.raises(PluginError) as caught:
        observers.connect(wrong())
    assert text in str(caught.value)
    assert wrong.__name__ in str(caught.value)
    observers.connect(last)
    observers.call("stage_started", stage="a")
    assert (first.calls, last.calls, reports) == (["a"], ["a"], [])


def test_one_is_connected_once(observers: Observers) -> None:
    """A second time is an error."""
    watcher = Watcher()
    observers.connect(watcher)
    with pytest.raises(PluginError, match="is connected already"):
        observers.connect(watcher)


MODULE = """
from streamweaver.hooks import observer
calls = []
class Good:
    @observer
    def stage_started(self, stage): calls.append(stage)
class Broken:
    def __init__(self): raise ValueError("no settings")
class Misspelt:
    @observer
    def stage_startet(self, stage): ...
@observer
def stage_started(stage): calls.append("module " + stage)
"""


def test_installed_observers_that_are_broken_are_reported(
    observers: Observers, reports: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is left out with its distribution and why; the good ones, classes and modules, are connected."""
    info = tmp_path / "watchers-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: watchers\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[streamweaver.observers]\nbad = watchers_mod:Broken\nexits = watchers_exit\ngood = watchers_mod:Good\n"
        "gone = watchers_gone\nmissing = watchers_mod:Nobody\nmodule = watchers_mod\nwrong = watchers_mod:Misspelt\n"
    )
    (tmp_path / "watchers_mod.py").write_text(MODULE)
    (tmp_path / "watchers_exit.py").write_text("raise SystemExit(1)")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    asked: list[str] = []

    def allows(distribution: str) -> bool:
        asked.append(distribution)
        return distribution == "watchers"

    observers.load_installed(allows)
    observers.call("stage_started", stage="a")
    assert sorted(sys.modules["watchers_mod"].calls) == ["a", "module a"]
    begins = [report.partition(" is left out: ") for report in reports]
    assert [begin for begin, _, _ in begins] == [
        f"observer '{name}' of watchers 1.0" for name in ("bad", "exits", "gone", "missing", "wrong")
    ]
    assert begins[0][2] == "ValueError: no settings"
    assert begins[1][2] == "SystemExit: 1"
    assert begins[2][2] == "ModuleNotFoundError: No module named 'watchers_gone'"
    assert begins[3][2] == "AttributeError: module 'watchers_mod' has no attribute 'Nobody'"
    assert "unknown hook 'stage_startet'" in begins[4][2]
    assert "watchers" in asked


def test_what_is_not_allowed_is_not_imported(
    observers: Observers, reports: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A switch that limits plugins limits observers."""
    info = tmp_path / "shy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[streamweaver.observers]\nshy = shy_gone\n")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    observers.load_installed(lambda distribution: distribution not in ("shy", "streamweaver"))
    assert reports == []
