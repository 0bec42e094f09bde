"""A new plugin as a distribution of its own: it installs, passes its tests and runs in a pipeline as it is.

The files are made from `templates/common` and the folder of the kind. `@name@` (of the plugin), `@class@` (the same as
a class is named), `@module@`, `@target@` (what the entry point names), `@distribution@` and `@kind@` become what they
stand for, in texts and in file names.
"""

import importlib.util
import keyword
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from streamweaver.errors import PluginError
from streamweaver.plugin import NAME, Kind

_SUFFIX = ".template"

LONGEST_NAME = 60
"""Characters that a plugin's name may have, since it becomes part of file names, group names and tables."""

_FUNCTIONS: tuple[Kind, ...] = ("producer", "transform")
"""The kinds whose smallest form is a function; the others are classes."""


def create(kind: Kind, name: str, folder: Path) -> list[Path]:
    """Write the files of a new plugin into a folder, which must be new or empty; returns them.

    PluginError, with nothing written, when the name or the folder will not do; also when the disk refuses a file.
    """
    words = _words(kind, name)
    if _is_taken(folder):
        raise PluginError(f"{folder} is there already, and not empty: choose another place with --dir")
    made = []
    templates = files("streamweaver.scaffold") / "templates"
    texts = {_filled(path, words): text for part in ("common", kind) for path, text in _texts(templates / part)}
    for path, text in sorted(texts.items()):
        target = folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_filled(text, words), encoding="utf-8")
        except OSError as error:
            raise PluginError(
                f"{target} cannot be written: {error.strerror}; choose another place with --dir"
            ) from error
        made.append(target)
    return made


def _is_taken(folder: Path) -> bool:
    try:
        return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise PluginError(f"{folder} cannot be read: {error.strerror}; choose another place with --dir") from error


def distribution(name: str) -> str:
    """Return the name of the distribution for a plugin's name."""
    return f"streamweaver-{name.replace('_', '-')}"


def _words(kind: Kind, name: str) -> dict[str, str]:
    if not NAME.fullmatch(name) or not name.isidentifier() or keyword.iskeyword(name):
        raise PluginError(f"got the name {name!r}, expected lower-case words joined by underscores, such as to_celsius")
    if len(name) > LONGEST_NAME:
        raise PluginError(f"got a name of {len(name)} characters, expected at most {LONGEST_NAME}: {name[:20]}...")
    module = f"streamweaver_{name}"
    if importlib.util.find_spec(module) is not None:
        raise PluginError(f"a module {module!r} is installed already: choose another name than {name!r}")
    class_name = "".join(word.capitalize() for word in name.split("_"))
    return {
        "@name@": name,
        "@class@": class_name,
        "@module@": module,
        "@distribution@": distribution(name),
        "@kind@": kind,
        "@target@": name if kind in _FUNCTIONS else class_name,
    }


def _texts(folder: Traversable, at: str = "") -> Iterator[tuple[str, str]]:
    """Go through the templates of a folder: where each goes, and its text."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _texts(entry, f"{at}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            yield at + entry.name.removesuffix(_SUFFIX), entry.read_text(encoding="utf-8")


def _filled(text: str, words: dict[str, str]) -> str:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text
