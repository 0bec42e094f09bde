"""A producer and a transform in the function form, and a sink in the class form."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import attrs

from streamweaver import BadRecord, Batch, ProducerContext, Record, option, producer, sink, transform


@producer(example="{use: countdown, start: 3}")
async def countdown(
    context: ProducerContext,
    *,
    start: Annotated[int, "first number"] = 3,
    every_seconds: Annotated[float, "time between two numbers"] = 1.0,
) -> AsyncIterator[Record]:
    """Count down to one, then end."""
    for number in range(start, 0, -1):
        yield Record({"number": number, "message": f"{number} to go"})
        await context.sleep(every_seconds)


@transform(example="{use: shout, field: message}")
def shout(record: Record, *, field: Annotated[str, "text field to change"] = "content") -> Record:
    """Upper-case one text field."""
    record.value[field] = record.value[field].upper()
    return record


@sink("text_file", blocking=True, example="{use: text_file, path: out.txt, template: '{message}'}")
@attrs.define
class TextFile:
    """Append one line of text for each record, made from a template."""

    path: Path = option(help="file to append to", example="out.txt")
    template: str = option(help="the line, with {field} where a value goes", example="{symbol} at {price}")

    def write(self, batch: Batch) -> None:
        """Append a batch; a record that lacks a field of the template is the only one that fails."""
        lines = []
        for index, record in enumerate(batch):
            try:
                lines.append(self.template.format_map(record.value) + "\n")
            except (KeyError, TypeError) as error:
                raise BadRecord(index, f"template {self.template!r} does not fit: {error!r}") from error
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(lines)
