"""What tests of commits share."""

import asyncio

from streamweaver import Broker
from streamweaver.testing.broker import PATIENCE, append, rows


async def come_out(broker: Broker, target: str) -> list[bytes | None]:
    """Return the values that a `read_committed` reader sees now and that stay."""
    await append(broker, target, 0, rows([b"end"]))
    reader = await broker.reader({(target, 0): 0})
    found: list[bytes | None] = []
    async with asyncio.timeout(PATIENCE):
        while b"end" not in found:
            for item in await reader.poll():
                found += item.values
    await reader.close()
    return found[:-1]
