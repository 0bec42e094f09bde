"""`streamweaver topic ...`: what the commands take; reading is in `tail`."""

from pathlib import Path

import click

from streamweaver.cli.complete import topic_names
from streamweaver.cli.option import data_option, file_argument, json_option, set_option


@click.group()
def group() -> None:
    """List a pipeline's topics, and read records."""


@group.command(name="list")
@file_argument
@set_option
@data_option
@json_option("Print one JSON array of objects.")
def list_topics(file: Path, overrides: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """List the topics of a pipeline and what they hold, its own topics included.

    Records are counted by offsets; at Kafka those include the marks of transactions, and of what compaction removed.

    \b
    Example: streamweaver topic list pipelines/demo.yaml
    """
    import asyncio

    from streamweaver.cli.load import data_folder, load
    from streamweaver.cli.tail import holdings

    plan = load(file, overrides).plan
    rows = asyncio.run(holdings(plan, data_folder(plan, data)))
    from streamweaver.cli.output import print_json, print_table

    if as_json:
        print_json(rows)
        return
    heads = ["topic", "partitions", "codec", "records", "offsets"]
    cells = [
        [
            row["name"],
            row["partitions"],
            row["codec"],
            row["records"],
            " ".join(f"{held['begin']}..{held['end']}" for held in row["ranges"]) or "not there yet",
        ]
        for row in rows
    ]
    print_table(heads, cells, right=["partitions", "records"])


class Start(click.ParamType[str | int]):
    """Where to begin to read: `start`, `end` or an offset."""

    name = "start"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str | int:
        """Return the word or the number."""
        text = str(value)
        if text in ("start", "end"):
            return text
        try:
            return int(text)
        except ValueError:
            self.fail(f"got {value!r}, expected start, end, an offset, or -N for the last N", param, ctx)


@group.command()
@file_argument
@click.argument("topic", shell_complete=topic_names)
@click.option(
    "--from",
    "start",
    type=Start(),
    metavar="start|end|OFFSET",
    help="Where to begin in each partition; -N is N before the end.  [default: start, with --follow end]",
)
@click.option("--partition", type=click.IntRange(min=0), metavar="N", help="Read one partition only.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many records.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes in, until Ctrl-C.")
@json_option("Print one JSON object a line.")
@set_option
def tail(
    file: Path,
    topic: str,
    start: str | int | None,
    partition: int | None,
    limit: int | None,
    follow: bool,
    as_json: bool,
    overrides: tuple[str, ...] = (),
    data: Path | None = None,
) -> None:
    """Print the records of a topic, those of all partitions by time.

    With --json: topic, partition, offset, timestamp (ms), key, value (decoded by the topic's codec) and headers, a list
    of [name, value]. Bytes are text where they are UTF-8, else {"base64": "..."}; a value that cannot be decoded is
    shown so as well, and "error" says why.

    \b
    Examples:
      streamweaver topic tail pipelines/demo.yaml stock_prices --from -10
      streamweaver topic tail pipelines/demo.yaml stock_prices --follow --json
    """
    import asyncio

    from streamweaver.cli.load import data_folder, load
    from streamweaver.cli.tail import Range, print_records

    plan = load(file, overrides).plan
    wanted = Range(
        start=start if start is not None else "end" if follow else "start",
        partition=partition,
        limit=limit,
        follow=follow,
    )
    try:
        asyncio.run(print_records(plan, data_folder(plan, data), topic, wanted, as_json=as_json))
    except KeyboardInterrupt:
        if not follow:
            raise


data_option(tail)
