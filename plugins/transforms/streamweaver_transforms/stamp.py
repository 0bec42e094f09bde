"""The time of processing, as a field."""

from typing import Literal

import attrs

from streamweaver import BadRecord, Batch, Record, TransformContext, option, transform
from streamweaver_transforms._field import PATH, Field
from streamweaver_transforms._time import iso


@transform("stamp", example="{use: stamp, field: processed_timestamp}")
@attrs.define
class Stamp:
    """Put the current time into a field; an old value is replaced.

    `iso` is text in UTC with milliseconds (`2025-06-15T15:06:40.000Z`), `ms` a whole number of milliseconds since
    1970, `s` a number of seconds with a fraction. All records of one batch get the same time.
    """

    field: str = option(
        default="processed_timestamp", help="field for the time", example="processed_timestamp", pattern=PATH
    )
    format: Literal["iso", "ms", "s"] = option(
        default="iso", help="iso (text, UTC), ms or s (numbers since 1970)", example="ms", choices=("iso", "ms", "s")
    )

    _field: Field = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._field = Field(self.field)

    def process(self, batch: Batch, context: TransformContext) -> list[Record]:
        """Add the time to each record, in place."""
        now = context.now()
        stamp = iso(now) if self.format == "iso" else now if self.format == "ms" else now / 1000
        name, plain = self.field, "." not in self.field
        for index, record in enumerate(batch.records):
            value = record.value
            if plain and type(value) is dict:
                value[name] = stamp
                continue
            try:
                self._field.set(value, stamp)
            except ValueError as error:
                raise BadRecord(index, error) from error
        return batch.records
