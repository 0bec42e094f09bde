"""Fields brought into the form that comes next: names, types, defaults, what stays."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import attrs

from streamweaver import Record, TransformContext, option, transform
from streamweaver_transforms._field import PATH, Field, no_mapping
from streamweaver_transforms._time import check_format, from_iso, iso, reader
from streamweaver_transforms._type import CONVERTERS, TypeName

_EMPTY = object()


def _paths(_instance: Any, _attribute: Any, value: Any) -> None:
    for path in value:
        Field(path)


def _renames(_instance: Any, _attribute: Any, value: dict[str, str]) -> None:
    for path in (*value, *value.values()):
        Field(path)
    twice = sorted({new for new in value.values() if list(value.values()).count(new) > 1})
    if twice:
        raise ValueError(f"got several fields renamed to {', '.join(twice)}, expected different names")


def _formats(_instance: Any, _attribute: Any, value: dict[str, str]) -> None:
    for path, form in value.items():
        Field(path)
        check_format(form)


def _types(_instance: Any, _attribute: Any, value: dict[str, str]) -> None:
    for path, name in value.items():
        Field(path)
        if name not in CONVERTERS:
            raise ValueError(f"{path}: got type {name!r}, expected one of {', '.join(CONVERTERS)}")


@transform(
    "convert",
    example="""\
use: convert
types: {price: float, at: timestamp}
timestamps: {at: s}
timestamp: at
""",
)
@attrs.define
class Convert:
    """Rename fields, fill them in, convert their types, and choose which of them stay.

    The order is fixed, whatever the order in the file: 1. `rename` (all at once, so names can be swapped),
    2. `defaults`, 3. `types` and `timestamps`, 4. `timestamp` sets the record's own time, 5. `keep`, 6. `drop`. So
    everything after `rename` uses the new names, and the field of `timestamp` may be dropped.

    Types: `int` (also `3.0` and `"3"`; `3.5` is an error), `float` (finite), `bool` (also 1, 0 and yes, no, on, off,
    true, false as text), `text` (anything else than text becomes its JSON) and `timestamp` (becomes ISO 8601 text in
    UTC with milliseconds). A time without an offset is taken to be UTC. A field that is null counts as missing: it
    gets its default, and otherwise `on_missing` decides.
    """

    rename: dict[str, str] = option(
        factory=dict, help="old name to new name", example={"px": "price"}, validator=_renames
    )
    defaults: dict[str, Any] = option(
        factory=dict, help="value for a field that is missing or null", example={"quantity": 0}, validator=_paths
    )
    types: dict[str, TypeName] = option(
        factory=dict,
        help="type for a field: int, float, bool, text or timestamp",
        example={"quantity": "int", "price": "float"},
        validator=_types,
    )
    timestamps: dict[str, str] = option(
        factory=dict,
        help="how the time in a field is written: iso (the default), s, ms, us or a strptime pattern; "
        "the field becomes a timestamp",
        example={"at": "%d.%m.%Y %H:%M:%S"},
        validator=_formats,
    )
    timestamp: str | None = option(
        default=None, help="field that holds the record's own time", example="at", pattern=PATH
    )
    keep: list[str] = option(
        factory=list, help="fields that stay, all if none is named", example=["symbol", "price"], validator=_paths
    )
    drop: list[str] = option(factory=list, help="fields to remove", example=["debug"], validator=_paths)
    on_missing: Literal["error", "ignore"] = option(
        default="error",
        help="what a missing field of rename, types, timestamps or timestamp is: a bad record, or left out",
        example="ignore",
        choices=("error", "ignore"),
    )

    _actions: list[Callable[[Record], None]] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        clash = sorted(path for path in self.timestamps if self.types.get(path, "timestamp") != "timestamp")
        if clash:
            raise ValueError(f"{clash[0]}: got type {self.types[clash[0]]!r} and a time format, expected one of them")
        actions: list[Callable[[Record], None]] = []
        if self.rename:
            actions.append(self._renaming())
        actions += [_filling(Field(path), default) for path, default in self.defaults.items()]
        wanted = dict(self.types) | dict.fromkeys(self.timestamps, "timestamp")
        actions += [self._converting(Field(path), self._converter(path, name)) for path, name in wanted.items()]
        if self.timestamp is not None:
            actions.append(self._timing(Field(self.timestamp)))
        if self.keep:
            actions.append(_keeping([Field(path) for path in self.keep]))
        actions += [_dropping(Field(path)) for path in self.drop]
        self._actions = actions

    def process_record(self, record: Record, _context: TransformContext) -> Record:
        """Convert the record in place."""
        if not isinstance(record.value, dict):
            raise no_mapping(record.value)
        for action in self._actions:
            action(record)
        return record

    def _converter(self, path: str, name: str) -> Callable[[Any], Any]:
        if path not in self.timestamps:
            return CONVERTERS[name]
        read = reader(self.timestamps[path])
        return lambda value: iso(read(value))

    def _renaming(self) -> Callable[[Record], None]:
        pairs = [(Field(old), Field(new)) for old, new in self.rename.items()]
        must = self.on_missing == "error"

        def act(record: Record) -> None:
            value = record.value
            # All are taken out before any is put back, so that two names can be swapped.
            taken = [(old, new, old.pop(value, _EMPTY)) for old, new in pairs]
            for old, new, held in taken:
                if held is not _EMPTY:
                    new.set(value, held)
                elif must:
                    raise old.error(value)

        return act

    def _converting(self, field: Field, convert: Callable[[Any], Any]) -> Callable[[Record], None]:
        must = self.on_missing == "error"

        def act(record: Record) -> None:
            value = record.value
            held = field.find(value)
            if held is None:
                if must:
                    raise field.error(value)
                return
            try:
                converted = convert(held)
            except ValueError as error:
                raise ValueError(f"{field.path}: {error}") from None
            if converted is not held:
                field.set(value, converted)

        return act

    def _timing(self, field: Field) -> Callable[[Record], None]:
        must = self.on_missing == "error"

        def act(record: Record) -> None:
            held = field.find(record.value)
            if held is None:
                if must:
                    raise field.error(record.value)
                return
            try:
                record.timestamp = from_iso(held)  # what `timestamps` named is ISO text by now
            except ValueError as error:
                raise ValueError(f"{field.path}: {error}") from None

        return act


def _filling(field: Field, default: Any) -> Callable[[Record], None]:
    # A list or mapping would otherwise be shared by all records.
    fresh = isinstance(default, list | dict)

    def act(record: Record) -> None:
        if field.find(record.value) is None:
            field.set(record.value, deepcopy(default) if fresh else default)

    return act


def _keeping(fields: list[Field]) -> Callable[[Record], None]:
    def act(record: Record) -> None:
        kept: dict[str, Any] = {}
        for field in fields:
            held = field.find(record.value, _EMPTY)
            if held is not _EMPTY:
                field.set(kept, held)
        record.value = kept

    return act


def _dropping(field: Field) -> Callable[[Record], None]:
    def act(record: Record) -> None:
        field.pop(record.value)

    return act
