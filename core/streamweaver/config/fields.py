"""The options of an attrs class as rows, for reference pages and `plugin show`."""

from typing import Any

import attrs

from streamweaver.config.checks import option_info
from streamweaver.config.instance import option_types
from streamweaver.config.redact import MASK
from streamweaver.config.schema import default_of, plain
from streamweaver.config.words import attrs_class, bounds_in_words, expected, shown
from streamweaver.plugin import option_fields


@attrs.frozen
class FieldRow:
    """One option, each column ready to print; empty where there is nothing to say."""

    name: str
    type: str
    required: bool
    default: str
    help: str
    example: str
    bounds: str
    secret: bool


def fields_table(cls: Any) -> list[FieldRow]:
    """Return a row for each option of an attrs class, in the order of the class."""
    kinds = option_types(cls)
    rows = []
    for name, field in option_fields(attrs_class(cls) or cls).items():
        info = option_info(field)
        default = default_of(field)
        rows.append(
            FieldRow(
                name=name,
                type=expected(kinds[name]),
                required=field.default is attrs.NOTHING,
                default="" if default is attrs.NOTHING else MASK if info.secret and default else _written(default),
                help=f"{info.help} (deprecated: {info.deprecated})" if info.deprecated else info.help,
                example="" if info.example is None else _written(plain(info.example)),
                bounds=bounds_in_words(info.bounds),
                secret=info.secret,
            )
        )
    return rows


def _written(value: Any) -> str:
    """Write a value as YAML's flow style has it; text stays bare, as it would in a file."""
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_written(item)}" for key, item in value.items()) + "}"
    return shown(value)
