"""The rows of reference pages."""

import enum
from typing import Any, Literal

import attrs

from streamweaver import option
from streamweaver.config import FieldRow, Seconds, fields_table


class Level(enum.Enum):
    INFO = "info"
    WARN = "warn"


@attrs.frozen
class Options:
    field: str = option(help="numeric field", example="price")
    size: int = option(default=20, help="values", ge=1, le=50)
    level: Level = Level.INFO
    kind: Literal["a", "b"] | None = None
    names: dict[str, list[int]] = option(factory=dict, help="names", example={"x": [1, 2]})
    every: Seconds = option(default=Seconds(2.5), help="pause")
    token: str = option(default="canary", example="${env:TOKEN}", help="token", secret=True, min_length=8)
    password: str | None = option(default=None, help="password", secret=True)
    start: Any = attrs.field(default=attrs.Factory(lambda self: self.size, takes_self=True))
    _private: int = 0


def test_a_table_has_a_row_for_each_option() -> None:
    """Each option is one row, in the order of the class, with everything a reader needs in words."""
    duration = "a duration (500ms, 10s, 5m, 1h, 7d, or a number of seconds)"
    numbers = "a mapping (each value a list (each item a whole number))"
    assert fields_table(Options) == [
        FieldRow("field", "text", True, "", "numeric field", "price", "", False),
        FieldRow("size", "a whole number", False, "20", "values", "", "at least 1 and at most 50", False),
        FieldRow("level", 'one of "info", "warn"', False, "info", "", "", "", False),
        FieldRow("kind", 'one of "a", "b" or nothing', False, "null", "", "", "", False),
        FieldRow("names", numbers, False, "{}", "names", "{x: [1, 2]}", "", False),
        FieldRow("every", duration, False, "2.5", "pause", "", "", False),
        FieldRow("token", "text", False, "***", "token", "${env:TOKEN}", "a length of at least 8", True),
        FieldRow("password", "text or nothing", False, "null", "password", "", "", True),
        FieldRow("start", "any value", False, "", "", "", "", False),
    ]
