"""`streamweaver dashboard FILE`: the dashboard alone, for a pipeline that runs elsewhere."""

import asyncio
import contextlib
from pathlib import Path

import click

from streamweaver.cli.option import dashboard_overrides, data_option, file_argument, set_option


@click.command()
@file_argument
@set_option
@click.option("--port", type=click.IntRange(0, 65_535), metavar="N", help="Port of the dashboard; 0 for any.")
@data_option
def dashboard(file: Path, overrides: tuple[str, ...], port: int | None, data: Path | None) -> None:
    """Show a pipeline that runs elsewhere, in the browser, until Ctrl-C.

    \b
    Example: streamweaver dashboard pipelines/demo.yaml --port 8700
    """
    from streamweaver.cli.load import data_folder, load
    from streamweaver.cli.logs import Logger, taken_over
    from streamweaver.cli.loop import run_loop
    from streamweaver.cli.signals import Stopper, handled
    from streamweaver.cli.up import installed_observers
    from streamweaver.runtime.view import view

    plan = load(file, overrides + dashboard_overrides(port, no_dashboard=False)).plan
    log = Logger("info", "text", plan.redact)

    async def show() -> None:
        shown = asyncio.ensure_future(
            view(plan, data_dir=data_folder(plan, data), log=log, observers=installed_observers(log))
        )
        loop = asyncio.get_running_loop()

        def stop() -> None:
            loop.call_soon_threadsafe(shown.cancel)

        with handled(Stopper(stop, stop)), contextlib.suppress(asyncio.CancelledError):
            await shown

    with taken_over(log):
        run_loop(show())
