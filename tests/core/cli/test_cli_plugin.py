"""`plugin list` and `plugin show`."""

import subprocess
import sys


def test_list_names_kind_and_distribution(run) -> None:
    """A line a plugin, with where it comes from."""
    lines = [line.split() for line in run("plugin", "list").out.splitlines()]
    assert lines[0] == ["kind", "name", "distribution", "version"]
    assert ["sink", "file", "streamweaver"] in [line[:3] for line in lines]


def test_list_of_a_kind_as_json(run) -> None:
    """Only that kind, one array of objects."""
    rows = run("plugin", "list", "codec", "--json").json
    assert {row["kind"] for row in rows} == {"codec"}
    assert {"json", "msgpack", "text", "bytes"} <= {row["name"] for row in rows}


def test_list_imports_no_plugin(fresh_env: dict[str, str]) -> None:
    """Not even the first-party plugins, or their clients."""
    code = (
        "import sys\n"
        "from streamweaver.cli.main import cli\n"
        "cli.main(['plugin', 'list', '--json'], standalone_mode=False)\n"
        "own = [name for name in sys.modules if name.startswith('streamweaver_')]\n"
        "print(own + sorted({'websockets', 'aiokafka', 'sqlite3'} & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=fresh_env, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_long_list_has_summaries(run) -> None:
    """--long adds what each plugin does."""
    rows = run("plugin", "list", "sink", "--long", "--json").json
    assert all(row["summary"] for row in rows)


def test_show_has_options_example_and_guarantee(run) -> None:
    """What the plugin does, each option with type, default and meaning, its example and its guarantee."""
    out = run("plugin", "show", "file").out
    assert out.startswith("sink file  (streamweaver ")
    assert "guarantee: exactly_once" in out
    assert "rotate_bytes" in out
    assert "\nexample:\n  use: file\n" in out


def test_show_fits_a_terminal(run) -> None:
    """No line of any first-party plugin is longer than 80 columns."""
    rows = run("plugin", "list", "--json").json
    shown = {row["name"]: run("plugin", "show", row["kind"], row["name"]).out for row in rows}
    assert [(name, line) for name, out in shown.items() for line in out.splitlines() if len(line) > 80] == []


def test_show_of_a_secret(run) -> None:
    """A secret that is not set has nothing to hide; options within an option are shown beside it."""
    assert "\n  password: text or nothing; default null\n" in run("plugin", "show", "kafka").out
    assert "\n  multiline.pattern: text; required\n" in run("plugin", "show", "file_tail").out


def test_show_as_json(run) -> None:
    """Programs get the options as rows."""
    found = run("plugin", "show", "transform", "moving_average", "--json").json
    assert found["groups_by"] == "by"
    assert {"name", "type", "required", "default", "help"} <= set(found["options"][0])


def test_show_suggests(run) -> None:
    """A misspelt name is answered with the one that may be meant."""
    said = run("plugin", "show", "moving_avrage")
    assert said.status == 2
    assert "did you mean 'moving_average'?" in said.err
