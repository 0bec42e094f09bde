"""`completion` and what its scripts call."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(sys.executable).parent / "streamweaver"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_each_shell(run, shell: str) -> None:
    """The script asks the program through the variable that it answers to."""
    said = run("completion", shell)
    assert said.status == 0
    assert f"_STREAMWEAVER_COMPLETE={shell}_complete" in said.out


def test_the_program_answers_the_script(shop: Path) -> None:
    """Asked as bash's script asks, it completes the topics of the file."""
    words = "streamweaver topic tail shop.yaml pr"
    env = {**os.environ, "_STREAMWEAVER_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "4"}
    done = subprocess.run([PROGRAM], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plain,priced"]
