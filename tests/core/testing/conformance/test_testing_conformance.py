"""The functions that an author writes one line with."""

from pathlib import Path
from typing import Any

import pytest

from streamweaver.codecs import Json
from streamweaver.errors import PluginLoadError
from streamweaver.testing import conformance
from streamweaver_sinks.console import Console
from streamweaver_sinks.file import File
from streamweaver_transforms.stamp import Stamp


def names(test: Any) -> list[str]:
    """Return the names of the behaviours that a test function asks for."""
    (mark,) = test.pytestmark
    return list(mark.kwargs["ids"])


def test_what_is_declared_decides_what_is_asked() -> None:
    """A sink with offsets of its own is asked about them, a live view about nothing that lasts."""
    lasting = names(conformance.sink(File, options={"path": "x"}, read=lambda _file: []))
    live = names(conformance.sink(Console))
    assert "offsets_are_stored_with_the_records" in lasting
    assert "restart_repeats_nothing" not in lasting
    assert "write_returns_when_it_is_stored" in lasting
    assert "write_returns_when_it_is_stored" not in live
    assert "takes_any_key_and_text" in live


def test_what_the_author_gives_decides_too() -> None:
    """A bad value, faults, and several records each bring behaviours with them."""
    few = names(conformance.transform(Stamp, records=[{}]))
    more = names(conformance.transform(Stamp, records=[{}, {}], bad=1))
    assert set(more) - set(few) == {
        *("batches_do_not_matter", "keeps_the_order", "state_survives_a_restart", "a_bad_record_is_refused"),
    }
    faults = names(conformance.sink(Console, fail=list, restore=list))
    assert "connects_again_after_an_outage" in faults


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (lambda: conformance.sink(File), ValueError, "file promises exactly_once, which only reading back shows"),
        (lambda: conformance.sink(Stamp), ValueError, "stamp is a transform: use conformance.transform"),
        (lambda: conformance.transform(Stamp, records=[]), ValueError, "got no records, expected at least one"),
        (lambda: conformance.codec(object), PluginLoadError, "is no plugin: decorate it"),
    ],
)
def test_a_suite_that_would_show_nothing_is_refused(wrong: Any, error: type[Exception], text: str) -> None:
    """A mistake in the one line is told when the test file is imported, not passed over."""
    with pytest.raises(error, match=text):
        wrong()


def test_values_that_nobody_can_make_up() -> None:
    """A codec for types of its own is tested with its author's values alone, which is not passed off as more."""
    assert "gives_back_anything_of_its_kind" in names(conformance.codec(Json))
    assert "gives_back_anything_of_its_kind" not in names(conformance.codec(Json, values=[Path("a")]))
