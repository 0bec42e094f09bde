"""Names of the files that the file sink writes."""

import re
from datetime import UTC, datetime
from pathlib import Path

import attrs


@attrs.frozen
class Names:
    """Where the file that is being written stands, and what it is called once it is finished.

    A plain path is the file being written, so that it can be followed; finished parts stand beside it with a number
    (`orders-000001.ndjson`). With `{part}` or `{date}` in the path the finished part has that name and the one being
    written the same with `.partial`.
    """

    path: Path

    @property
    def dated(self) -> bool:
        """Whether each UTC day has its own file."""
        return "{date}" in str(self.path)

    @property
    def numbered(self) -> bool:
        """Whether the path itself holds the number."""
        return "{part}" in str(self.path)

    @property
    def pattern(self) -> bool:
        """Whether the path holds any placeholder."""
        return self.dated or self.numbered

    def date(self, now: int) -> str:
        """Return the UTC day of a time in ms, where names need it."""
        return datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%d") if self.dated else ""

    def final(self, part: int, date: str) -> Path:
        """Return the name of a finished part."""
        number = f"{part:06d}"
        if self.pattern:
            return Path(str(self.path).replace("{part}", number).replace("{date}", date))
        return self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}")

    def active(self, part: int, date: str) -> Path:
        """Return the name of a part while it is written."""
        if not self.pattern:
            return self.path
        final = self.final(part, date)
        return final.with_name(final.name + ".partial")


def unknown_placeholder(path: Path) -> str | None:
    """Return a placeholder in a path that there is not."""
    return next((name for name in re.findall(r"\{[^{}]*\}", str(path)) if name not in ("{date}", "{part}")), None)
