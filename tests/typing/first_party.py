"""Read by the type checker only: first-party plugins and the testing kit fit the contracts, down to every type."""

from streamweaver import Broker, Producer, RecordTransform, Sink, SinkContext, Transform, TransformContext
from streamweaver.testing import FakeContext
from streamweaver_brokers.embedded import Embedded
from streamweaver_producers.file_tail import FileTail
from streamweaver_sinks.console import Console
from streamweaver_sinks.file import File
from streamweaver_sinks.websocket import Websocket
from streamweaver_transforms.convert import Convert
from streamweaver_transforms.count_by import CountBy
from streamweaver_transforms.filter import Filter
from streamweaver_transforms.keywords import Keywords
from streamweaver_transforms.moving_average import MovingAverage
from streamweaver_transforms.parse_log import ParseLog
from streamweaver_transforms.stamp import Stamp


def producers(file_tail: FileTail) -> list[Producer]:
    return [file_tail]


def transforms(
    convert: Convert, count_by: CountBy, moving_average: MovingAverage, f: Filter, k: Keywords, p: ParseLog, s: Stamp
) -> list[Transform | RecordTransform]:
    return [convert, count_by, moving_average, f, k, p, s]


def sinks(console: Console, file: File, websocket: Websocket) -> list[Sink]:
    return [console, file, websocket]


def brokers(embedded: Embedded) -> list[Broker]:
    return [embedded]


def contexts(context: FakeContext) -> tuple[TransformContext, SinkContext]:
    return context, context
