"""StreamWeaver: plugins for data streams, wired in YAML.

Everything a plugin author needs is here; `streamweaver.testing` holds what their tests need. Other modules are
internal and may change at any time.
"""

import warnings
from typing import TYPE_CHECKING

from streamweaver.contracts import (
    Broker,
    BrokerContext,
    Codec,
    Context,
    Delivery,
    Fetched,
    Group,
    Lane,
    PartitionRange,
    Producer,
    ProducerContext,
    Reader,
    RecordSink,
    RecordTransform,
    Rows,
    Sink,
    SinkContext,
    State,
    TopicSpec,
    Transform,
    TransformContext,
    UnitOfWork,
)
from streamweaver.decorators import broker, codec, producer, sink, transform
from streamweaver.errors import (
    BadRecord,
    BrokerError,
    BrokerLockedError,
    CodecError,
    ConflictError,
    CorruptLogError,
    Fatal,
    FormatVersionError,
    LaneLostError,
    PluginError,
    Retriable,
    StorageError,
    StreamWeaverError,
    TopicMismatchError,
    UnknownTopicError,
)
from streamweaver.plugin import API_VERSION, option
from streamweaver.record import Batch, Headers, Record, Rejected
from streamweaver.text import printable
from streamweaver.units import Seconds, Size

__all__ = [
    "API_VERSION",
    "BadRecord",
    "Batch",
    "Broker",
    "BrokerContext",
    "BrokerError",
    "BrokerLockedError",
    "Codec",
    "CodecError",
    "ConflictError",
    "Context",
    "CorruptLogError",
    "Delivery",
    "Fatal",
    "Fetched",
    "FormatVersionError",
    "Group",
    "Headers",
    "Lane",
    "LaneLostError",
    "PartitionRange",
    "PluginError",
    "Producer",
    "ProducerContext",
    "Reader",
    "Record",
    "RecordSink",
    "RecordTransform",
    "Rejected",
    "Retriable",
    "Rows",
    "Seconds",
    "Sink",
    "SinkContext",
    "Size",
    "State",
    "StorageError",
    "StreamWeaverError",
    "TopicMismatchError",
    "TopicSpec",
    "Transform",
    "TransformContext",
    "UnitOfWork",
    "UnknownTopicError",
    "broker",
    "codec",
    "option",
    "printable",
    "producer",
    "sink",
    "transform",
]

_OLD: dict[str, str] = {}
"""Names that are on their way out, and the public name to write instead; they work until the API version rises."""

if not TYPE_CHECKING:  # to a type checker, whatever is not above is not there

    def __getattr__(name: str) -> object:
        """Take an old name, and say what to write instead."""
        if name not in _OLD:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(f"{__name__}.{name} is deprecated: write {__name__}.{_OLD[name]}", FutureWarning, stacklevel=2)
        return globals()[_OLD[name]]
