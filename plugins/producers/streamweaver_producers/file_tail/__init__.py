"""The producer `file_tail`: lines of growing files, through rotations and restarts, each exactly once."""

from streamweaver_producers.file_tail.plugin import FileTail, Multiline

__all__ = ["FileTail", "Multiline"]
