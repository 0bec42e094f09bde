"""All reference pages."""

from tools.reference import api_page, command_page, file_page, plugin_page
from tools.reference.markdown import NOTE

INDEX = f"""\
# Reference

{NOTE}
Made from the code, so what stands here is what runs.

- [The pipeline file](file.md): every word of the YAML
- [Plugins](plugins/index.md): what comes along, each with its options and an example
- [The command line](cli.md): every command
- [`streamweaver`](api.md): what a plugin imports
- [`streamweaver.testing`](testing.md): what its tests import, and the behaviours of the conformance kit
- [`streamweaver.views`](views.md): live views of records, for plugins that show them
- [Errors](errors.md) and [hooks](hooks.md)
"""


def pages() -> dict[str, str]:
    """Return the text of every page, by its path below docs/reference."""
    return {
        "index.md": INDEX,
        "file.md": file_page.page(),
        "cli.md": command_page.page(),
        "api.md": api_page.facade(),
        "testing.md": api_page.testing_page(),
        "views.md": api_page.views(),
        "errors.md": api_page.errors(),
        "hooks.md": api_page.hooks(),
        **dict(plugin_page.pages()),
    }
