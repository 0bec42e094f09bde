"""The file sink."""

from streamweaver_sinks.file.sink import File

__all__ = ["File"]
