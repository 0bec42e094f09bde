"""The live WebSocket: one task hears the client, one sends its frames."""

import asyncio
import time
from typing import Any

import msgspec

from streamweaver_dashboard.access import Access
from streamweaver_dashboard.client import Client
from streamweaver_dashboard.describe import PROTOCOL
from streamweaver_dashboard.gate import Receive, Scope, Send
from streamweaver_dashboard.hub import Hub, now_ms
from streamweaver_dashboard.wish import Ping, Watch, parse

STALL_SECONDS = 30.0
SESSION_CHECK_SECONDS = 5.0
MISTAKES = 5
MESSAGES_PER_SECOND = 10.0
MESSAGES_AT_ONCE = 30.0

GOING_AWAY = 1001
NO_TEXT = 1003
VIOLATION = 1008


class _EndError(Exception):
    """The connection is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class Live:
    """The endpoint."""

    def __init__(self, hub: Hub, access: Access) -> None:
        self._hub = hub
        self._access = access
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one client until it goes."""
        if (await receive())["type"] != "websocket.connect":
            return
        await send({"type": "websocket.accept"})
        client = Client(role=scope["role"])
        connection = _Connection(self._hub, self._access, scope["session"], client, receive, send)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await connection.run()
        finally:
            self._tasks.discard(task)

    async def close_all(self) -> None:
        """Send every client away."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2)


class _Connection:
    def __init__(
        self, hub: Hub, access: Access, session: str | None, client: Client, receive: Receive, send: Send
    ) -> None:
        self._hub = hub
        self._access = access
        self._session = session
        self._client = client
        self._receive = receive
        self._send = send
        self._mistakes = 0
        self._credit = MESSAGES_AT_ONCE
        self._credited = time.monotonic()
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        hub, client = self._hub, self._client
        tasks = []
        end: _EndError | None = None
        try:
            await self._say(
                type="hello",
                protocol=PROTOCOL,
                epoch=hub.epoch,
                pipeline=hub.plan.name,
                time=now_ms(),
                tick_ms=hub.tick_ms,
                role=client.role,
            )
            hub.join(client)
            tasks = [asyncio.create_task(work()) for work in (self._hear_all, self._send_frames, self._check_session)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            errors = [error for task in done if (error := task.exception()) is not None]
            end = next((error for error in errors if isinstance(error, _EndError)), None)
            if end is None and errors and not isinstance(errors[0], OSError | TimeoutError):
                raise errors[0]
        except asyncio.CancelledError:
            end = _EndError(GOING_AWAY, "the server goes away")
        finally:
            hub.leave(client)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if end is not None:
            await self._close(end)

    async def _close(self, end: _EndError) -> None:
        try:
            async with asyncio.timeout(1):
                await self._send({"type": "websocket.close", "code": end.code, "reason": end.reason})
        except (OSError, TimeoutError):
            return

    async def _say(self, **message: Any) -> None:
        await self._out(msgspec.json.encode(message))

    async def _out(self, message: bytes) -> None:
        async with self._sending:
            await self._send({"type": "websocket.send", "text": message.decode()})

    # -- the three tasks --------------------------------------------------------------------------

    async def _send_frames(self) -> None:
        client = self._client
        while True:
            await client.waiting.wait()
            client.waiting.clear()
            if client.frame is None:
                continue
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await self._out(client.frame)
            except TimeoutError:
                raise _EndError(VIOLATION, "nothing was taken for 30 seconds") from None
            client.sent()

    async def _check_session(self) -> None:
        while True:
            if not self._access.is_open(self._session):
                raise _EndError(VIOLATION, "the session has ended")
            await asyncio.sleep(SESSION_CHECK_SECONDS)

    async def _hear_all(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                raise _EndError(NO_TEXT, "expected text")
            self._pay()
            try:
                await self._hear(parse(text))
            except ValueError as error:
                self._mistakes += 1
                if self._mistakes > MISTAKES:
                    raise _EndError(VIOLATION, "too many wrong messages") from None
                await self._say(type="error", message=str(error)[:500])

    async def _hear(self, said: Watch | Ping) -> None:
        if isinstance(said, Ping):
            await self._say(type="pong", id=said.id, time=now_ms())
        else:
            await self._hub.watch(self._client, said)

    def _pay(self) -> None:
        now = time.monotonic()
        self._credit = min(MESSAGES_AT_ONCE, self._credit + (now - self._credited) * MESSAGES_PER_SECOND)
        self._credited = now
        if self._credit < 1:
            raise _EndError(VIOLATION, "too many messages")
        self._credit -= 1
