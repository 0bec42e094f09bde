"""How blocks are found in a page and judged: the tests of the pages are as good as this."""

import pytest

from docs.blocks import Command, blocks, commands, fits
from docs.shell import missing

PAGE = """\
# A page

```yaml title="a.yaml"
name: a
```

<!-- not run: nobody is there -->

```console
$ streamweaver pipeline up \\
    a.yaml
stage  in
$ echo $?
0
```

    make test   # in a block without a fence

<!-- not run: forgotten -->
Text between takes the mark away.

```text
no code
```
"""


def test_blocks_of_a_page() -> None:
    """Language, file name, and the reason for not being run, each with the line where it begins."""
    found = list(blocks(PAGE))
    assert [(block.line, block.language, block.title, block.not_run) for block in found] == [
        (3, "yaml", "a.yaml", None),
        (9, "console", None, "nobody is there"),
        (17, "indented", None, None),
        (22, "text", None, None),
    ]
    assert found[0].text == "name: a\n"


def test_commands_of_a_block() -> None:
    """A command may go over several lines; what follows it is what it says."""
    found = list(blocks(PAGE))
    assert commands(found[1]) == [
        Command("streamweaver pipeline up      a.yaml", ["stage  in"]),
        Command("echo $?", ["0"]),
    ]
    assert [command.words for command in commands(found[2])] == ["make test   # in a block without a fence"]


@pytest.mark.parametrize(
    ("says", "said", "right"),
    [
        ([], "anything", True),
        (["a  b"], "x\na b\ny", True),
        (["a ... d"], "a b c\nd", True),
        (["a", "b"], "b a", False),
        (["1.5"], "125", False),
    ],
)
def test_what_a_command_says(says: list[str], said: str, right: bool) -> None:
    """The lines of the page must come in their order; `...` stands for anything."""
    assert fits(says, said) is right


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        ("streamweaver pipeline up a.yaml --until-idle", None),
        (".venv/bin/streamweaver dlq replay a.yaml --all --set=x=1 | head", None),
        ("streamweaver pipeline go a.yaml", "no command 'go'"),
        ("streamweaver pipeline up a.yaml --for-ever", "no option '--for-ever' of up"),
        ("make test --for-ever", None),
    ],
)
def test_commands_that_do_not_exist(command: str, wrong: str | None) -> None:
    """A command or option that is not there is named; other programs are not known here."""
    assert missing(command) == wrong
