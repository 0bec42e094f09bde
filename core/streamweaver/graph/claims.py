"""What each plugin wants for itself alone: no two places of a pipeline may claim the same."""

from collections.abc import Iterable

from streamweaver.config import Findings, Node
from streamweaver.graph.draft import StageDraft
from streamweaver.graph.plan import PluginUse


def check_claims(stages: Iterable[StageDraft], findings: Findings) -> None:
    """Report every claim that another stage or step has made before, at the later place."""
    owners: dict[str, str] = {}
    for stage in stages:
        places = [(stage.name, stage.use, stage.place("use")), *_steps(stage)]
        for owner, use, node in places:
            for claim in () if use is None else claims(use):
                if claim in owners:
                    findings.add(node, f"{claim} is taken by {owners[claim]} already; choose another one")
                owners.setdefault(claim, owner)


def _steps(stage: StageDraft) -> Iterable[tuple[str, PluginUse, Node]]:
    return ((f"{stage.name}, step {step.name}", step.use, node) for step, node in stage.steps)


def claims(use: PluginUse) -> list[str]:
    """Ask a plugin what it wants for itself alone; most say nothing."""
    plugin = use.build()
    return list(dict.fromkeys(plugin.claims())) if hasattr(plugin, "claims") else []
