"""The registry: every way in which a plugin can be broken, on real distributions in a child process."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import attrs
import pytest

from streamweaver import option, transform
from streamweaver.config.model import FlowConfig, ProducerConfig, SinkConfig, StepConfig
from streamweaver.errors import PluginLoadError, PluginNotFoundError
from streamweaver.plugin import option_fields
from streamweaver.registry import KINDS, RESERVED, Registry

GOOD = """
from streamweaver import Record, transform

@transform
def shout(record: Record, *, field: str = "x") -> Record:
    "Loud."
    return record
"""


class Site:
    """A folder of distributions, and what a fresh interpreter sees of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}

    def add(
        self,
        name: str,
        points: dict[str, str],
        *,
        version: str = "1.0",
        group: str = "streamweaver.transforms",
        extras: str = "",
        **modules: str,
    ) -> None:
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        provides = f"Provides-Extra: {extras}\n" if extras else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{provides}")
        lines = "\n".join(f"{point} = {target}" for point, target in points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
        for module, code in modules.items():
            (self.folder / f"{module}.py").write_text(textwrap.dedent(code))

    def run(self, code: str, **environ: str) -> Any:
        """Run code that ends with `say(value)` in a fresh interpreter; return the value."""
        script = "import json, sys\nfrom streamweaver.registry import *\nfrom streamweaver.errors import *\n"
        script += "import attrs\nsay = lambda value: print(json.dumps(value))\n" + textwrap.dedent(code)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def load(self, name: str = "shout", kind: str = "transform", **environ: str) -> str:
        """Load a plugin; return its name, or the class and text of the error."""
        return str(
            self.run(
                f"""
                try:
                    say(Registry().load({kind!r}, {name!r}).name)
                except PluginError as error:
                    say(type(error).__name__ + ": " + str(error))
                """,
                **environ,
            )
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_plugin_is_found_by_name(site: Site) -> None:
    """It is imported when it is named, and its distribution is known."""
    site.add("loud", {"shout": "loud:shout"}, loud=GOOD)
    assert site.load() == "shout"
    assert site.run("say(attrs.astuple(Registry().origin('transform', 'shout')))") == [
        *("transform", "shout", "loud", "1.0", "loud:shout")
    ]


def test_listing_imports_nothing(site: Site) -> None:
    """Names and origins of all kinds are known without a single plugin's module, or any client library."""
    site.add("loud", {"shout": "loud:shout"}, loud="raise RuntimeError('imported')")
    found = site.run(
        """
        before = set(sys.modules)
        registry = Registry()
        names = {kind: registry.names(kind) for kind in KINDS}
        origins = [registry.origins(kind) for kind in KINDS]
        new = set(sys.modules) - before
        wrong = [name for name in new if name.partition(".")[0] in
                 ("loud", "aiokafka", "websockets", "yaml", "streamweaver_sinks", "streamweaver_brokers",
                  "streamweaver_producers", "streamweaver_transforms")]
        say([names, wrong])
        """
    )
    assert "shout" in found[0]["transform"]
    assert "embedded" in found[0]["broker"]
    assert found[1] == []


TAKES = "(record) or (record, context)"

BROKEN: dict[str, tuple[str, str, str]] = {
    "import fails": ("loud:shout", "1 / 0", "cannot be imported: ZeroDivisionError: division by zero"),
    "exits": ("loud:shout", "raise SystemExit(3)", "cannot be imported: it called sys.exit(3)"),
    "client missing": (
        *("loud:shout", "import no_such_client"),
        "needs the module 'no_such_client': install it, or reinstall loud",
    ),
    "module missing": (
        *("nowhere:shout", GOOD),
        "needs the module 'nowhere': reinstall loud, its entry point 'nowhere:shout' leads nowhere",
    ),
    "submodule missing": (
        *("loud.deep:shout", GOOD),
        "needs the module 'loud.deep': reinstall loud, its entry point 'loud.deep:shout' leads nowhere",
    ),
    "attribute missing": (
        *("loud:whisper", GOOD),
        "cannot be imported: AttributeError: module 'loud' has no attribute 'whisper'",
    ),
    "not decorated": (
        *("loud:shout", "def shout(record): ..."),
        "shout is no plugin: decorate it with @producer, @transform, @sink, @broker or @codec",
    ),
    "wrong kind": (
        *("loud:shout", "from streamweaver import sink, Record\n@sink\ndef shout(record: Record) -> None: ..."),
        "it is a sink: its entry point stands in the wrong group",
    ),
    "other name": (
        *("loud:shout", GOOD.replace("@transform", "@transform('scream')")),
        "it calls itself 'scream': entry point and decorator must agree",
    ),
    "newer": (
        *("loud:shout", GOOD.replace("@transform", "@transform(api=2)")),
        "it was made for plugin API 2, this streamweaver offers 1: upgrade streamweaver",
    ),
    "older": (
        *("loud:shout", GOOD.replace("@transform", "@transform(api=0)")),
        "it was made for plugin API 0, this streamweaver offers 1: upgrade the plugin",
    ),
    "reserved option": (
        *("loud:shout", GOOD.replace("field:", "timeout:")),
        "its option 'timeout' is a word of the pipeline file: rename it",
    ),
    "groups by nothing": (
        *("loud:shout", GOOD.replace("@transform", '@transform(groups_by="by")')),
        "it groups by the option 'by', which it does not have",
    ),
    "wrong decorators": (
        *("loud:shout", GOOD.replace("record: Record, *", "a: int, b: int, record: Record, *")),
        f"transform shout: got 3 positional parameters, expected {TAKES}; options are keyword-only",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_said(site: Site, case: str) -> None:
    """Which plugin of which distribution, what is wrong, and what to do."""
    target, code, text = BROKEN[case]
    site.add("loud", {"shout": target}, loud=code)
    between = " " if text.startswith(("needs", "cannot")) else ": "
    assert site.load() == f"PluginLoadError: transform 'shout' of loud 1.0{between}{text}"


@pytest.mark.parametrize("extra", ["csv-file", "csv_file"])
def test_a_missing_client_names_the_extra(site: Site, extra: str) -> None:
    """An extra of the plugin's name is what to install, however the two are spelt."""
    code = "import no_such_client"
    site.add("loud", {"csv_file": "loud:csv_file"}, extras=extra, loud=code)
    assert site.load("csv_file") == (
        "PluginLoadError: transform 'csv_file' of loud 1.0 needs the module 'no_such_client': "
        f"pip install 'loud[{extra}]'"
    )


def test_two_that_offer_a_name_are_told_apart_by_hand(site: Site) -> None:
    """Neither is guessed; naming one in the environment imports that one only."""
    site.add("loud", {"shout": "loud:shout"}, loud=GOOD)
    site.add("noisy", {"shout": "noisy:shout"}, version="2.0", noisy="raise RuntimeError('imported')")
    assert site.load() == (
        "DuplicatePluginError: transform 'shout' is offered by loud 1.0 and noisy 2.0: uninstall one, or name the "
        "wanted one in STREAMWEAVER_PLUGINS"
    )
    assert site.load(STREAMWEAVER_PLUGINS="streamweaver, LOUD") == "shout"
    assert site.load(STREAMWEAVER_PLUGINS="noisy") == (
        "PluginLoadError: transform 'shout' of noisy 2.0 cannot be imported: RuntimeError: imported"
    )


def test_two_that_agree_on_the_target_are_still_two(site: Site) -> None:
    """The cache of stevedore sees one entry point there; the metadata is asked when one distribution must be named."""
    site.add("loud", {"shout": "loud:shout"}, loud=GOOD)
    site.add("loud-fork", {"shout": "loud:shout"})
    assert site.load(STREAMWEAVER_PLUGINS="loud,loud_fork").startswith("DuplicatePluginError: transform 'shout'")


def test_one_distribution_found_twice_is_one(site: Site, tmp_path: Path) -> None:
    """As for an import the first counts: an editable install beside an older copy is no conflict."""
    site.add("loud", {"shout": "loud:shout"}, loud=GOOD)
    older = Site(tmp_path / "older")
    older.add("Loud", {"shout": "elsewhere:shout"}, version="0.9")
    both = os.pathsep.join([str(site.folder), str(older.folder)])
    assert site.load(PYTHONPATH=both) == "shout"
    assert site.run(
        "say([o.version for o in Registry().origins('transform') if o.name == 'shout'])", PYTHONPATH=both
    ) == ["1.0"]


def test_the_environment_limits_what_may_be_used(site: Site) -> None:
    """What is left out is not listed, and asking for it says why; names compare as packaging tools compare them."""
    site.add("very-loud", {"shout": "loud:shout"}, loud=GOOD)
    assert site.run("say(Registry().names('transform'))", STREAMWEAVER_PLUGINS="Very_Loud") == ["shout"]
    assert site.load(STREAMWEAVER_PLUGINS="streamweaver") == (
        "PluginNotFoundError: transform 'shout' is offered by very-loud, which STREAMWEAVER_PLUGINS leaves out: "
        "add it there"
    )
    assert site.run(
        "say([Registry().allows('very.loud'), Registry().allows('x')])", STREAMWEAVER_PLUGINS="very_loud"
    ) == [*(True, False)]
    assert site.run("say([Registry().allows('x')])") == [True]


def test_a_stale_cache_hides_nothing(site: Site) -> None:
    """An entry point that was added to an installed distribution a moment ago is found, whatever stevedore cached."""
    site.add("loud", {"other": "loud:other"}, loud=GOOD)
    assert site.load().startswith("PluginNotFoundError")
    points = site.folder / "loud-1.0.dist-info/entry_points.txt"
    before = points.stat()
    points.write_text("[streamweaver.transforms]\nshout = loud:shout\n")
    os.utime(points, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert site.load() == "shout"


def test_a_distribution_without_a_name_is_passed_over(site: Site) -> None:
    """Half-removed distributions do not break the list of the others."""
    site.add("loud", {"shout": "loud:shout"}, loud=GOOD)
    (site.folder / "loud-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.4\n")
    origins = site.run("say([origin.name for origin in Registry().origins('transform')])")
    assert "shout" not in origins
    assert "stamp" in origins


# -- in this process ------------------------------------------------------------------------------


@transform
def nothing(record: Any) -> Any:
    """Do nothing."""
    return record


def test_what_was_added_is_found_first() -> None:
    """Tests and notebooks need no distribution."""
    registry = Registry()
    registry.add([nothing])
    assert registry.load("transform", "nothing").name == "nothing"
    assert "nothing" in registry.names("transform")


def test_what_is_added_is_checked() -> None:
    """An option with a word of the file as its name would never be seen."""

    @transform("bad")
    @attrs.define
    class Bad:
        concurrency: int = option(help="x", default=1)

    with pytest.raises(PluginLoadError, match="its option 'concurrency' is a word of the pipeline file: rename it"):
        Registry().add([Bad])
    with pytest.raises(PluginLoadError, match="is no plugin"):
        Registry().add([object()])


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("producer", "stock_trade", "no producer is named 'stock_trade'; did you mean 'stock_trades'?"),
        ("sink", "stock_trades", "no sink is named 'stock_trades', but a producer is"),
        ("codec", "zzz", "no codec is named 'zzz'; installed: bytes, json, msgpack, text"),
    ],
)
def test_an_unknown_name_gets_a_hint(kind: Any, name: str, text: str) -> None:
    """The nearest name, another kind of that name, or all there are."""
    with pytest.raises(PluginNotFoundError) as caught:
        Registry().load(kind, name)
    assert str(caught.value) == text


def test_reserved_are_the_words_of_the_file() -> None:
    """Every word that may stand beside a plugin's options, and no other."""
    words = {"from", "steps"}
    for config in (ProducerConfig, FlowConfig, SinkConfig, StepConfig):
        words |= option_fields(config).keys()
    assert words == RESERVED


@pytest.mark.parametrize("kind", KINDS)
def test_every_first_party_plugin_loads(kind: Any) -> None:
    """They come by the same road as everybody's."""
    registry = Registry()
    for origin in registry.origins(kind):
        if origin.distribution == "streamweaver":
            assert registry.load(kind, origin.name).kind == kind
