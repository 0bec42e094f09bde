"""The observer: serves the dashboard beside a pipeline that runs here, or alone for one that runs elsewhere."""

from typing import TYPE_CHECKING

from streamweaver.hooks import Surroundings, observer

if TYPE_CHECKING:
    from streamweaver.graph.plan import Plan


class Dashboard:
    """What the entry point names. Nothing heavy is imported before a pipeline starts."""

    @observer
    def pipeline_starting(self, surroundings: Surroundings) -> None:
        """Serve the dashboard, unless the file says not to; Fatal when its port cannot be had."""
        plan: Plan = surroundings.plan
        if plan.dashboard.options.enabled:
            self._begin(surroundings, alone=False)

    @observer
    def pipeline_viewed(self, surroundings: Surroundings) -> None:
        """Serve the dashboard: it was asked for; Fatal when its port cannot be had."""
        self._begin(surroundings, alone=True)

    @staticmethod
    def _begin(surroundings: Surroundings, *, alone: bool) -> None:
        from streamweaver_dashboard.port import listen
        from streamweaver_dashboard.run import run

        # Before anything runs: who asks for a dashboard wants to know at once that there is none.
        taken = listen(surroundings.plan.dashboard)
        surroundings.beside("dashboard", run(surroundings, taken, alone=alone))
