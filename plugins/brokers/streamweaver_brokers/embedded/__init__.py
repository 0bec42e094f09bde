"""The embedded broker: topics, offsets and state in one SQLite file of the data folder."""

from streamweaver_brokers.embedded.broker import Embedded

__all__ = ["Embedded"]
