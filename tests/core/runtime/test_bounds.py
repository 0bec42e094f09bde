"""Bounds last until a sink has been seen to fit, whatever happens in between."""

from pathlib import Path

import pytest

from streamweaver.errors import RunError
from streamweaver.runtime.bounds import Bounds


def test_the_first_word_holds(tmp_path: Path) -> None:
    """What was written down at one moment is not changed at a later one, nor by another process's start."""
    file = tmp_path / "bounds" / "out.json"
    Bounds(file).note({("a", 0): 5, ("a", 1): 7})
    bounds = Bounds(file)
    bounds.note({("a", 0): 50, ("b", 0): 9})
    for each in (bounds, Bounds(file)):
        assert [each.get(place) for place in (("a", 0), ("a", 1), ("b", 0), ("b", 1))] == [5, 7, 9, None]


def test_what_fits_is_forgotten(tmp_path: Path) -> None:
    """One place after the other; with the last one the file goes, and the next word is a new one."""
    file = tmp_path / "out.json"
    bounds = Bounds(file)
    bounds.note({("a", 0): 5, ("a", 1): 7})
    bounds.fits([("a", 0), ("never", 0)])
    assert (Bounds(file).get(("a", 0)), Bounds(file).get(("a", 1))) == (None, 7)
    bounds.fits([("a", 1)])
    assert list(tmp_path.iterdir()) == []
    bounds.note({("a", 0): 50})
    assert Bounds(file).get(("a", 0)) == 50


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    """With what to do about it."""
    file = tmp_path / "out.json"
    file.write_bytes(b'{"a": {"0"')
    with pytest.raises(RunError, match=r"out.json: .*; expected offsets by topic and partition; remove it if"):
        Bounds(file)
