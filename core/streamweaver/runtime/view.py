"""Looking at a pipeline that runs elsewhere: its observers, without its stages."""

from pathlib import Path

from streamweaver.contracts import Broker, BrokerContext
from streamweaver.errors import RunError
from streamweaver.graph.plan import Plan
from streamweaver.hooks import Observers, Surroundings
from streamweaver.runtime.beside import Beside
from streamweaver.runtime.context import Log


async def view(plan: Plan, *, data_dir: Path, log: Log, observers: Observers) -> None:
    """Show a pipeline until cancelled; RunError when nothing installed can, or when it cannot any longer."""
    if not observers.wants("pipeline_viewed"):
        raise RunError("no installed observer shows pipelines; reinstall streamweaver")
    broker: Broker = plan.broker.build()
    await broker.open(BrokerContext(pipeline=plan.name, data_dir=data_dir, role="tool"))
    beside = Beside(log, last_is_raised=True)
    try:
        surroundings = Surroundings(plan=plan, broker=broker, log=log, beside=beside.start)
        observers.call("pipeline_viewed", pipeline=plan.name, surroundings=surroundings)
        await beside.wait()
    finally:
        await beside.end()
        await broker.close()
    raise RunError("; ".join(beside.failures) or "nothing is shown: the observers ended")
