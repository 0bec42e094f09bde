"""What every first-party sink declares, and the page of the websocket protocol."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamweaver.config import read, structure
from streamweaver.plugin import OptionInfo, option_fields, plugin_of
from streamweaver_sinks.console import Console
from streamweaver_sinks.file import File
from streamweaver_sinks.websocket import Websocket, protocol

SINKS = [Websocket, File, Console]

STAGE_WORDS = {
    *("use", "to", "from", "key", "rate", "count", "timeout", "retry", "on_error", "steps", "delivery", "restart"),
    "concurrency",
}


@pytest.mark.parametrize("sink", SINKS)
def test_every_option_has_help_and_an_example(sink: type[Any]) -> None:
    """The reference page can be made from the class alone, and no option takes a word of the stage."""
    fields = option_fields(sink)
    assert not fields.keys() & STAGE_WORDS
    for field in fields.values():
        info = field.metadata[OptionInfo.KEY]
        assert info.help
        assert info.example is not None


@pytest.mark.parametrize("sink", SINKS)
def test_the_example_is_a_stage_that_works(sink: type[Any], tmp_path: Path) -> None:
    """The example names the plugin and topics, and its other keys make the plugin."""
    plugin = plugin_of(sink)
    path = tmp_path / "stage.yaml"
    path.write_text(plugin.example)
    stage = yaml.safe_load(plugin.example)
    assert stage["use"] == plugin.name
    assert stage["from"]
    assert isinstance(structure(read(path), sink, ignore={"use", "from"}), sink)


def test_the_protocol_page_shows_messages_that_there_are() -> None:
    """Each message on the page is JSON; those of clients can be parsed, and no kind of message is left out."""
    page = (Path(__file__).parents[3] / "docs" / "websocket.md").read_text()
    messages = [
        json.loads(line) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    server = {"hello", "records", "heartbeat", "subscribed", "unsubscribed", "pong", "error"}
    server |= {"viewing", "views", "unviewed"}
    assert server <= {message["type"] for message in messages}
    assert {type(protocol.parse(json.dumps(message))) for message in messages if message["type"] not in server} == {
        protocol.Subscribe,
        protocol.Unsubscribe,
        protocol.Ping,
        protocol.Auth,
        protocol.View,
        protocol.Unview,
    }
