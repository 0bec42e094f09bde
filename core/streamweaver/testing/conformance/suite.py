"""What is tested and how: a plugin with its options, the behaviours it must show, and what came of each."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import attrs

from streamweaver.config import parse, structure
from streamweaver.contracts import Delivery
from streamweaver.plugin import Plugin
from streamweaver.testing.single import as_yaml

Hook: TypeAlias = Callable[[], Any]
"""Called in the behaviour's folder, plain or `async`."""


def numbered(number: int) -> dict[str, Any]:
    """Make the value of the `number`-th record, where the author does not say how."""
    return {"n": number, "text": f"record {number}"}


@attrs.frozen(kw_only=True)
class Suite:
    """A plugin under test, with what its author says about it; the functions of `conformance` explain each part."""

    plugin: Plugin
    targets: tuple[object, ...] = ()
    """The decorated class or function, if it is not to be found by its name."""
    options: Mapping[str, Any] = attrs.field(factory=dict)
    prepare: Hook | None = None
    records: Sequence[Any] = ()
    record: Callable[[int], Any] = numbered
    read: Callable[[Any], Any] | None = None
    bad: Any = ...
    fail: Hook | None = None
    restore: Hook | None = None
    more: Hook | None = None
    patience_seconds: float = 10.0
    """After so long, something that must happen is taken to have failed."""

    @property
    def values(self) -> Sequence[Any]:
        """The values of its author, or some of ours."""
        return self.records or [numbered(number) for number in range(3)]

    def chosen(self) -> Any:
        """Return the plugin's options as its own class has them; ConfigError when they are wrong."""
        return structure(parse(as_yaml(self.options), "options"), self.plugin.options)

    def build(self) -> Any:
        """Make a running plugin of its own."""
        return self.plugin.build(self.chosen())


Check: TypeAlias = Callable[[Suite, Path], Awaitable[None] | None]
"""Raises AssertionError when the behaviour is not shown; gets an empty folder, which is also the working folder."""


@attrs.frozen
class Need:
    """Something without which a behaviour cannot be asked for."""

    why: str
    """Why it is not, as a fragment."""
    met: Callable[[Suite], bool]


@attrs.frozen
class Behaviour:
    """One promise, and the check that it is kept."""

    name: str
    promise: str
    check: Check
    needs: tuple[Need, ...] = ()
    guards: Delivery | None = None
    """The guarantee that nobody may claim whose plugin does not behave so."""

    def left_out(self, suite: Suite) -> str | None:
        """Return why the behaviour is not asked of a plugin; None when it is."""
        return next((need.why for need in self.needs if not need.met(suite)), None)


class Behaviours(list[Behaviour]):
    """The behaviours of one subject, in the order in which they are written down."""

    def promise(self, *needs: Need, guards: Delivery | None = None) -> Callable[[Check], Check]:
        """Add a check; its name is the behaviour's, its docstring the promise."""

        def add(check: Check) -> Check:
            promise = (check.__doc__ or "").strip()
            self.append(Behaviour(check.__name__, promise, check, needs, guards))
            return check

        return add


Outcome = Literal["passed", "failed", "not applicable"]


@attrs.frozen
class Verdict:
    """What came of one behaviour."""

    behaviour: Behaviour
    outcome: Outcome
    reason: str = ""
