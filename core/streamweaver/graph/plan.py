"""The plan of a pipeline: what the engine runs, fully checked. Values only."""

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from streamweaver.config import Mark, Redactor
from streamweaver.config.dashboard import DashboardPlan
from streamweaver.contracts import Codec, Delivery, TopicSpec
from streamweaver.plugin import Plugin
from streamweaver.retry import Backoff

StageKind = Literal["producer", "flow", "sink"]
OnError = Literal["dead_letter", "skip", "stop"]

_NOWHERE = Mark("")


@attrs.frozen
class PluginUse:
    """A plugin with the options that one place of the file gives it."""

    plugin: Plugin
    options: Any
    """Instance of `plugin.options`."""

    def build(self) -> Any:
        """Make a fresh running plugin; a restarted stage gets a new one."""
        # A copy, since a class-form plugin is its own options and may keep resources on itself.
        return self.plugin.build(attrs.evolve(self.options))


@attrs.frozen
class StepPlan:
    """One transform of a stage. `name` is unique in the stage and names the step's state."""

    name: str
    use: PluginUse
    concurrency: int = 1


@attrs.frozen(kw_only=True)
class TopicPlan:
    """A topic with the codec of its values."""

    spec: TopicSpec
    codec_name: str
    codec: Codec
    declared: bool = True
    """False for a topic that is only named by a stage."""

    @property
    def name(self) -> str:
        """The topic's name."""
        return self.spec.name


@attrs.frozen
class RetryPlan:
    """How often a call is tried."""

    attempts: int
    backoff: Backoff


@attrs.frozen
class BatchPlan:
    """How large the batches are that a sink is given."""

    records: int
    wait_seconds: float


@attrs.frozen
class RestartPlan:
    """How a failed stage is started again."""

    attempts: int
    reset_seconds: float
    backoff: Backoff


@attrs.frozen(kw_only=True)
class StagePlan:
    """One running producer, flow or sink."""

    name: str
    kind: StageKind
    use: PluginUse | None
    """The producer's or sink's plugin; None for a flow."""
    inputs: tuple[str, ...] = ()
    output: str | None = None
    steps: tuple[StepPlan, ...] = ()
    key: str | None = None
    rate: float | None = None
    count: int | None = None
    batch: BatchPlan | None = None
    """None: a sink gets what waits, at once."""
    timeout_seconds: float | None = None
    retry: RetryPlan
    restart: RestartPlan
    on_error: OnError = "dead_letter"
    delivery: Delivery
    """What the stage really guarantees."""
    place: Mark = _NOWHERE
    """Where it stands in the file."""

    @property
    def keeps_offsets(self) -> bool:
        """Whether it is a sink that stores itself how far it has come."""
        return self.kind == "sink" and self.use is not None and self.use.plugin.keeps_offsets


@attrs.frozen(kw_only=True)
class Plan:
    """A checked pipeline."""

    name: str
    delivery: Delivery
    """What was asked for; every stage that is not best effort guarantees at least this."""
    broker: PluginUse
    topics: Mapping[str, TopicPlan]
    stages: Mapping[str, StagePlan]
    """In an order in which writers come before readers, as far as there is one."""
    drain_seconds: float
    letter_retention_ms: int | None = None
    """Age after which dead letters go; None keeps them."""
    dashboard: DashboardPlan = attrs.field(factory=DashboardPlan)
    redact: Redactor = attrs.field(factory=Redactor, repr=False)
    """Blanks the values of secret options in a text."""

    @property
    def dead_letters(self) -> str:
        """The topic of the pipeline's dead letters."""
        return f"{self.name}.dead_letters"

    @property
    def settled_letters(self) -> str:
        """The topic that says which dead letters have been dealt with."""
        return f"{self.name}.settled_letters"

    @property
    def metrics(self) -> str:
        """The topic of the stages' figures."""
        return f"{self.name}.metrics"

    @property
    def alerts(self) -> str:
        """The topic of what the dashboard's alert rules said; it is there if the file has rules."""
        return f"{self.name}.alerts"

    def replay(self, stage: str) -> str:
        """The topic from which a stage takes dead letters that are to be tried again."""
        return f"{self.name}.{stage}.replay"

    def reads(self, stage: StagePlan) -> list[str]:
        """The topics that a stage reads, that of replayed dead letters among them."""
        return [*stage.inputs, self.replay(stage.name)] if stage.inputs else []

    def group(self, stage: str) -> str:
        """The consumer group of a stage; also the name under which a producer's position is kept."""
        return f"{self.name}.{stage}"
