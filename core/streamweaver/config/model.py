"""The words of a pipeline file, as attrs classes. Plugins' own options stand beside them and are not here."""

from typing import Literal

import attrs

from streamweaver.contracts import Delivery
from streamweaver.plugin import option
from streamweaver.units import Seconds, Size

TOPIC_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}"
STAGE_NAME = r"[a-z0-9]+(_[a-z0-9]+)*"

DELIVERIES: tuple[Delivery, ...] = ("best_effort", "at_least_once", "exactly_once")

OnError = Literal["dead_letter", "skip", "stop"]


@attrs.frozen
class RetryConfig:
    """How often the same call is repeated after a temporary error or a time-out."""

    attempts: int = option(default=5, help="tries in all, the first included", ge=1, example=5)
    initial: Seconds = option(default=Seconds(0.2), help="first wait; doubles each time", gt=0, example="200ms")
    longest: Seconds = option(default=Seconds(10.0), help="longest wait", gt=0, example="10s")


@attrs.frozen
class RestartConfig:
    """How a failed stage is started again before the pipeline is given up."""

    attempts: int = option(default=5, help="restarts in a row before the pipeline fails", ge=0, example=5)
    initial: Seconds = option(default=Seconds(1.0), help="first wait; doubles each time", gt=0, example="1s")
    longest: Seconds = option(default=Seconds(60.0), help="longest wait", gt=0, example="1m")
    reset: Seconds = option(default=Seconds(300.0), help="a run this long clears the count", gt=0, example="5m")


@attrs.frozen
class TopicConfig:
    """One topic. What is not said is the default; a topic that is only named by a stage has all defaults."""

    partitions: int = option(default=1, help="parts that can be worked on side by side", ge=1, le=10_000, example=4)
    retention: Seconds | None = option(default=None, help="age after which records go", gt=0, example="7d")
    retention_size: Size | None = option(
        default=None, help="size of a partition above which its oldest records go", gt=0, example="1GiB"
    )
    cleanup: Literal["delete", "compact", "compact+delete"] = option(
        default="delete", help="delete by age and size, or keep the newest record of each key", example="delete"
    )
    codec: str = option(default="json", help="how values become bytes", example="json")
    replication: int | None = option(default=None, help="copies, where the broker keeps several", ge=1, example=3)
    external: bool = option(default=False, help="written by others than this pipeline", example=True)
    settings: dict[str, str] = option(
        factory=dict, help="settings of the broker's own for this topic", example={"min.insync.replicas": "2"}
    )


@attrs.frozen
class StepConfig:
    """One transform in `steps`; the transform's options stand beside it."""

    use: str = option(help="name of the transform", example="moving_average")
    concurrency: int = option(
        default=1, help="calls of an async record function that may overlap; one key stays in order", ge=1, example=16
    )


@attrs.frozen
class StageConfig:
    """What every stage may say."""

    timeout: Seconds | None = option(
        default=None, help="longest time of one call of an async plugin", gt=0, example="5s"
    )
    retry: RetryConfig = option(factory=RetryConfig, help="after temporary errors", example={"attempts": 5})
    restart: RestartConfig = option(factory=RestartConfig, help="after the stage failed", example={"attempts": 5})
    on_error: OnError = option(default="dead_letter", help="what becomes of a record that fails", example="dead_letter")
    delivery: Delivery | None = option(
        default=None, help="guarantee asked of this stage, instead of the pipeline's", example="at_least_once"
    )


@attrs.frozen
class ProducerConfig(StageConfig):
    """A stage that brings records in; the producer's options stand beside it."""

    use: str = option(help="name of the producer", example="stock_trades")
    to: str = option(help="topic to write", pattern=TOPIC_NAME, example="stock_trades")
    key: str | None = option(default=None, help="field that becomes the record key", min_length=1, example="symbol")
    rate: float | None = option(
        default=None, help="records per second; as many as come when not set", gt=0, le=1e9, example=500
    )
    count: int | None = option(default=None, help="records in all, over all runs", ge=0, example=10000)


@attrs.frozen
class FlowConfig(StageConfig):
    """A stage that reads topics, applies steps and writes a topic."""

    to: str = option(help="topic to write", pattern=TOPIC_NAME, example="stock_prices")
    key: str | None = option(default=None, help="field that becomes the record key", min_length=1, example="symbol")


@attrs.frozen
class BatchConfig:
    """How large the batches are that a sink is given."""

    records: int = option(help="records of a partition that make a batch", ge=1, le=1_000_000, example=5_000)
    wait: Seconds = option(
        default=Seconds(1.0), help="longest wait of a record for its batch to fill up", gt=0, example="5s"
    )


@attrs.frozen
class SinkConfig(StageConfig):
    """A stage that takes records out; the sink's options stand beside it."""

    use: str = option(help="name of the sink", example="websocket")
    batch: BatchConfig | None = option(
        default=None,
        help="wait for batches of a size, for stores that like few large writes; at once when not set",
        example={"records": 5_000, "wait": "5s"},
    )


@attrs.frozen
class PipelineConfig:
    """The top of the file, without the parts that hold plugins."""

    name: str = option(
        help="name of the pipeline; part of its groups' and topics' names", pattern=STAGE_NAME, example="demo"
    )
    delivery: Delivery = option(
        default="at_least_once", help="guarantee asked of every stage that is no live view", example="exactly_once"
    )
    dead_letter_retention: Seconds | None = option(
        default=None,
        help="age after which dead letters go, dealt with or not; kept for good when not set",
        gt=0,
        example="90d",
    )
    drain_timeout: Seconds = option(
        default=Seconds(30.0), help="how long a stop may take to let everything flow out", gt=0, example="30s"
    )


BROKER_DEFAULT = "embedded"

SECTIONS = ("broker", "topics", "producers", "flows", "sinks", "dashboard")
"""The parts of the file that hold more than options of the pipeline's own."""
