"""The websocket sink."""

from streamweaver_sinks.websocket.sink import Websocket

__all__ = ["Websocket"]
