"""Cutting the rows of one partition into parts, and joining such parts again. Pure."""

from collections.abc import Sequence

from streamweaver.contracts import Fetched


def joined(parts: Sequence[Fetched]) -> Fetched:
    """Return rows of one partition, which follow each other, as one; at least one part."""
    if len(parts) == 1:
        return parts[0]
    last = parts[-1]
    headers = None
    if any(part.headers for part in parts):
        headers = [found for part in parts for found in part.headers or [()] * len(part)]
    return Fetched(
        [key for part in parts for key in part.keys],
        [value for part in parts for value in part.values],
        [time for part in parts for time in part.timestamps],
        headers,
        last.topic,
        last.partition,
        [offset for part in parts for offset in part.offsets],
        last.next_offset,
        sum(part.lost for part in parts),
    )


def split(rows: Fetched, most: int | None) -> list[Fetched]:
    """Cut rows into parts of at most so many; at least one part, and together they cover what the whole covers."""
    count = len(rows)
    if most is None or count <= most:
        return [rows]
    parts = []
    for start in range(0, count, most):
        end = start + most
        parts.append(
            Fetched(
                rows.keys[start:end],
                rows.values[start:end],
                rows.timestamps[start:end],
                rows.headers[start:end] if rows.headers else None,
                rows.topic,
                rows.partition,
                rows.offsets[start:end],
                rows.offsets[end] if end < count else rows.next_offset,
                rows.lost if start == 0 else 0,
            )
        )
    return parts
