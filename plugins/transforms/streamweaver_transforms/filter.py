"""Records that meet a condition, the others are dropped."""

from collections.abc import Callable
from typing import Any

import attrs

from streamweaver import BadRecord, Batch, Record, TransformContext, option, transform
from streamweaver_transforms._expression import compile_condition


def _compiles(_instance: Any, _attribute: Any, value: str) -> None:
    compile_condition(value)


@transform("filter", example="{use: filter, where: \"price > 100 and symbol in ['AAPL', 'MSFT']\"}")
@attrs.define
class Filter:
    """Keep the records for which a condition over their fields is true.

    The condition has the syntax of Python and nothing else of it. There are fields (`price`, `user.followers`,
    `tags[0]`, `headers['user-agent']`, `field('odd name')`), `record_key`, `record_timestamp` (ms) and
    `record_value`, text, numbers, `true`, `false`, `null`; `and or not`, `== != < <= > >=` (also chained), `in` and
    `not in` (a list, a text, a mapping), `is null`, `is not null`; `+ - * / // %`; and the functions `lower upper len
    abs round contains startswith endswith matches field`. `matches(message, r'time(d )?out')` searches a text for a
    regular expression.

    A missing field is null. As in SQL a comparison with null is neither true nor false but null, so the record is
    dropped, also under `not`; ask with `is null`. The same goes for order between different kinds (text and number)
    and for arithmetic on what is no number, and for a division by zero. Values of different kinds are unequal.
    A value alone counts as true unless it is null, false, 0 or empty.

    A record whose value is no mapping is a bad record, if the condition asks for a field.
    """

    where: str = option(
        help="condition that a record must meet to stay",
        example="price > 100 and not (level == 'DEBUG')",
        validator=_compiles,
    )

    _meets: Callable[[Record], bool] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self._meets = compile_condition(self.where)

    def process(self, batch: Batch, _context: TransformContext) -> list[Record]:
        """Return the records that meet the condition."""
        meets = self._meets
        kept = []
        for index, record in enumerate(batch.records):
            try:
                if meets(record):
                    kept.append(record)
            except ValueError as error:
                raise BadRecord(index, error) from error
        return kept
