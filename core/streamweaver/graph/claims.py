"""What each plugin, and the dashboard, want for themselves alone: no two places of a pipeline may claim the same."""

from collections.abc import Iterable, Iterator

from streamweaver.config import Findings, Node
from streamweaver.graph.draft import Draft, StageDraft
from streamweaver.graph.plan import PluginUse


def check_claims(draft: Draft, findings: Findings) -> None:
    """Report every claim that another has made before, at the later place; the dashboard's come last."""
    owners: dict[str, str] = {}
    for owner, wanted, node in (*_of_stages(draft.stages), *_of_dashboard(draft)):
        for claim in wanted:
            if claim in owners:
                findings.add(node, f"{claim} is taken by {owners[claim]} already; choose another one")
            owners.setdefault(claim, owner)


def _of_stages(stages: Iterable[StageDraft]) -> Iterator[tuple[str, list[str], Node]]:
    for stage in stages:
        if stage.use is not None:
            yield stage.name, claims(stage.use), stage.place("use")
        for step, node in stage.steps:
            yield f"{stage.name}, step {step.name}", claims(step.use), node


def _of_dashboard(draft: Draft) -> Iterator[tuple[str, list[str], Node]]:
    node = draft.tree.get("dashboard")
    if node is not None:
        yield "the dashboard", draft.dashboard.options.claims(), node.get("port") or node


def claims(use: PluginUse) -> list[str]:
    """Ask a plugin what it wants for itself alone; most say nothing."""
    plugin = use.build()
    return list(dict.fromkeys(plugin.claims())) if hasattr(plugin, "claims") else []
