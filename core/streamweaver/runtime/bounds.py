"""How far the offsets that a sink keeps itself may go: no further than its topics went when the run began.

A sink beyond that was written from a log that was another one, or has been restored from an earlier moment. As soon as
new records had come up to its offset nobody could tell any more, and they would be passed over in silence. So where the
topics ended is written down before anything is added to them, and kept until the sink has been seen to fit, however
many runs later that is.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import attrs
import msgspec

from streamweaver.errors import RunError

Place: TypeAlias = tuple[str, int]
"""Topic and partition."""

_decode = msgspec.json.Decoder(dict[str, dict[int, int]]).decode


@attrs.define
class Bounds:
    """The bounds of one sink, as its file holds them; none for a sink that fits. Without a file they last as we do."""

    file: Path | None = None
    _ends: dict[Place, int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        try:
            found = {} if self.file is None else _decode(self.file.read_bytes())
        except FileNotFoundError:
            found = {}
        except msgspec.DecodeError as error:
            hint = "remove it if log and sink are of one moment"
            raise RunError(f"{self.file}: {error}; expected offsets by topic and partition; {hint}") from error
        self._ends = {(topic, number): end for topic, parts in found.items() for number, end in parts.items()}

    def note(self, ends: Mapping[Place, int]) -> None:
        """Write down where topics end, unless that was done at an earlier moment."""
        if new := {place: end for place, end in ends.items() if place not in self._ends}:
            self._ends |= new
            self._write()

    def get(self, place: Place) -> int | None:
        """Return how far the sink may have come; None when nothing is known that speaks against it."""
        return self._ends.get(place)

    def fits(self, places: Iterable[Place]) -> None:
        """Forget the bounds of places that the sink was seen to fit."""
        if self._ends.keys() & (gone := set(places)):
            self._ends = {place: end for place, end in self._ends.items() if place not in gone}
            self._write()

    def _write(self) -> None:
        if self.file is None:
            return
        if not self._ends:
            self.file.unlink(missing_ok=True)
            return
        found: dict[str, dict[int, int]] = {}
        for (topic, number), end in self._ends.items():
            found.setdefault(topic, {})[number] = end
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        with part.open("wb") as file:
            file.write(msgspec.json.encode(found))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.file)
        folder = os.open(self.file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
