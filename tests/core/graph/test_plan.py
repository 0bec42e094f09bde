"""What a plan makes."""

import attrs

from streamweaver import Batch, option, sink
from streamweaver.graph.plan import PluginUse
from streamweaver.plugin import plugin_of


@sink("keep")
@attrs.define
class Keep:
    """Keeps what it opened on itself."""

    path: str = option(help="x")
    _file: object = attrs.field(default=None, init=False)

    def write(self, batch: Batch) -> None: ...


def test_each_build_is_fresh() -> None:
    """A restarted stage does not find the resources of the one before; the options are the same."""
    use = PluginUse(plugin_of(Keep), Keep(path="p"))
    first = use.build()
    first._file = object()
    second = use.build()
    assert second is not first
    assert (second.path, second._file) == ("p", None)
