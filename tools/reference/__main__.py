"""Write the reference pages, or with `--check` say which of them are stale (exit status 1)."""

import argparse
import sys
from pathlib import Path

from tools.reference.pages import pages

FOLDER = Path(__file__).parents[2] / "docs/reference"


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(prog="python -m tools.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; name the pages that differ")
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder of the pages")
    asked = parser.parse_args()
    made = pages()
    there = {str(path.relative_to(asked.to)): path for path in asked.to.rglob("*.md")}
    stale = [name for name, text in made.items() if name not in there or there[name].read_text("utf-8") != text]
    left = sorted(there.keys() - made.keys())
    if asked.check:
        for name in (*stale, *left):
            sys.stdout.write(f"{name} is stale: make reference\n")
        sys.exit(1 if stale or left else 0)
    for name in stale:
        target = asked.to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(made[name], encoding="utf-8")
    for name in left:
        there[name].unlink()


if __name__ == "__main__":
    main()
