"""The behaviour suite of brokers as a part of the kit: each behaviour catches a broker that no other one does."""

from pathlib import Path

import pytest

from core.testing.conformance.promises.broken_brokers import BROKEN, plugin
from streamweaver.plugin import plugin_of
from streamweaver.testing.broker import CHECKS, writing
from streamweaver.testing.conformance import Suite, check
from streamweaver.testing.conformance.promises.broker import BROKER
from streamweaver_brokers.embedded import Embedded

BEHAVIOURS = {behaviour.name: behaviour for behaviour in BROKER}

OPTIONS = {"durability": "process"}


def fails(suite: Suite, name: str, folder: Path) -> bool:
    """Whether a broker is caught by a behaviour."""
    folder.mkdir()
    try:
        check(suite, BEHAVIOURS[name], folder)
    except Exception:  # whatever a broken broker makes of it
        return True
    return False


def test_every_check_is_a_behaviour() -> None:
    """Names and promises are those of the suite that the first-party brokers pass."""
    assert [behaviour.name for behaviour in BROKER] == [check.__name__ for check in CHECKS]
    assert all(behaviour.promise for behaviour in BROKER)


def test_every_behaviour_has_a_broken_broker() -> None:
    """A behaviour that nothing can fail proves nothing."""
    assert BROKEN.keys() == BEHAVIOURS.keys()


def test_a_proxy_that_alters_nothing_is_not_caught(tmp_path: Path) -> None:
    """It is the alterations that are caught, not that something stands between."""
    suite = Suite(plugin=plugin({}), options=OPTIONS)
    assert [name for name in BEHAVIOURS if fails(suite, name, tmp_path / name)] == []
    assert plugin_of(Embedded).build is not suite.plugin.build


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_broker_is_caught(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the behaviour that it breaks."""
    monkeypatch.setattr(writing, "PATIENCE", 0.4)
    assert fails(Suite(plugin=plugin(BROKEN[name]), options=OPTIONS), name, tmp_path / "data")


@pytest.mark.soak
@pytest.mark.parametrize("name", BROKEN)
def test_no_other_behaviour_tells(name: str, tmp_path: Path) -> None:
    """What one behaviour catches, the others do not: none is superfluous. Takes two minutes in all."""
    suite = Suite(plugin=plugin(BROKEN[name]), options=OPTIONS)
    assert [other for other in BEHAVIOURS if other != name and fails(suite, other, tmp_path / other)] == []
