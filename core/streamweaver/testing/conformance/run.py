"""Which behaviours a plugin must show, running them, and what its author may claim then."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from streamweaver.contracts import Delivery
from streamweaver.errors import StreamWeaverError
from streamweaver.plugin import Kind
from streamweaver.testing.conformance.bench import finish
from streamweaver.testing.conformance.promises.broker import BROKER
from streamweaver.testing.conformance.promises.codec import CODEC
from streamweaver.testing.conformance.promises.declared import DECLARED
from streamweaver.testing.conformance.promises.life import LIFE
from streamweaver.testing.conformance.promises.producer import PRODUCER
from streamweaver.testing.conformance.promises.sink import SINK
from streamweaver.testing.conformance.promises.transform import TRANSFORM
from streamweaver.testing.conformance.suite import Behaviour, Suite, Verdict

_OF: dict[Kind, list[Behaviour]] = {
    "producer": [*DECLARED, *PRODUCER, *LIFE],
    "transform": [*DECLARED, *TRANSFORM, *LIFE],
    "sink": [*DECLARED, *SINK, *LIFE],
    "codec": [*DECLARED, *CODEC],
    "broker": [*DECLARED, *BROKER],
}


def behaviours(kind: Kind) -> list[Behaviour]:
    """Return the behaviours of a kind, in a sensible order."""
    return list(_OF[kind])


def check(suite: Suite, behaviour: Behaviour, folder: Path) -> None:
    """Check one behaviour in an empty folder; AssertionError says how the plugin fails it."""
    with contextlib.chdir(folder):
        try:
            finish(behaviour.check(suite, folder))
        except AssertionError as error:
            raise AssertionError(f"{behaviour.promise} {error}") from error
        except StreamWeaverError as error:
            raise AssertionError(f"{behaviour.promise} {type(error).__name__}: {error}") from error


def run(suite: Suite, told: Callable[[Verdict], None] | None = None) -> list[Verdict]:
    """Check every behaviour, each in a folder of its own; `told` hears of each as soon as it is known."""
    verdicts = []
    for behaviour in behaviours(suite.plugin.kind):
        verdicts.append(_verdict(suite, behaviour))
        if told is not None:
            told(verdicts[-1])
    return verdicts


def _verdict(suite: Suite, behaviour: Behaviour) -> Verdict:
    reason = behaviour.left_out(suite)
    if reason is not None:
        return Verdict(behaviour, "not applicable", reason)
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as folder:
        try:
            check(suite, behaviour, Path(os.path.realpath(folder)))
        except AssertionError as error:
            return Verdict(behaviour, "failed", str(error.__cause__ or error))
        except Exception as error:  # the plugin's code: whatever it raises out of turn is a failure of its
            return Verdict(behaviour, "failed", f"{type(error).__name__}: {error}")
    return Verdict(behaviour, "passed")


def guarantee(suite: Suite, verdicts: Sequence[Verdict]) -> tuple[Delivery | None, str]:
    """Return the delivery guarantee that the plugin may claim, and why it is that one.

    None for a kind that has none of its own (a codec).
    """
    kind = suite.plugin.kind
    if kind == "codec":
        return None, "the pipeline's guarantee does not depend on a codec"
    declared: Delivery = "exactly_once"
    if kind == "sink":
        declared = suite.plugin.delivery
    elif kind == "broker":
        declared = suite.build().delivery
    elif kind == "producer" and not suite.plugin.resumes:
        declared = "at_least_once"
    failed = [verdict.behaviour for verdict in verdicts if verdict.outcome == "failed"]
    for guarded, rest in (("at_least_once", "best_effort"), ("exactly_once", "at_least_once")):
        broken = [behaviour.name for behaviour in failed if behaviour.guards == guarded]
        if broken and declared != "best_effort" and (guarded, declared) != ("exactly_once", "at_least_once"):
            lesser: Delivery = "best_effort" if rest == "best_effort" else "at_least_once"
            return lesser, f"it fails {', '.join(broken)}"
    unasked = sum(
        verdict.outcome == "not applicable" and verdict.behaviour.guards is not None and "needs" in verdict.reason
        for verdict in verdicts
    )
    what = "1 behaviour that shows it was" if unasked == 1 else f"{unasked} behaviours that show it were"
    note = f"; {what} not asked for" if unasked and declared != "best_effort" else ""
    return declared, f"as declared{note}"
