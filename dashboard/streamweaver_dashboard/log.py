"""How the dashboard says something to whoever runs it."""

from collections.abc import Callable

Log = Callable[..., None]
"""Called with a level, an event and fields."""
