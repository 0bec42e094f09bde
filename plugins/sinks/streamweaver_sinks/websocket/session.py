"""One connected client: what it says is done, what waits for it is sent."""

import asyncio
from collections.abc import Mapping
from typing import Any

import attrs
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from streamweaver import SinkContext
from streamweaver_sinks.websocket import admission, protocol
from streamweaver_sinks.websocket.channel import Channel, Subscription
from streamweaver_sinks.websocket.outbox import Outbox
from streamweaver_sinks.websocket.views import Views

AUTH_SECONDS = 5.0
HISTORY_SECONDS = 5.0

UNSEEN_MS = 10_000
"""For how long after joining live records are compared with the history."""

MISTAKES = 5
"""How many messages of one client may be wrong: each gets an error, one more closes the connection."""

MESSAGES_PER_SECOND = 10.0
MESSAGES_AT_ONCE = 30


@attrs.frozen(kw_only=True)
class Offer:
    """What all clients share."""

    context: SinkContext
    channels: Mapping[str, Channel]
    views: Views
    token: str | None
    history: int
    """Records of the past that a client may ask for, at most."""
    stall_seconds: float
    reads: asyncio.Semaphore
    """How many histories are read at a time."""


@attrs.define(eq=False)
class Client:
    """One connected client, from its handshake on."""

    connection: ServerConnection
    outbox: Outbox
    task: "asyncio.Task[Any]"
    offer: Offer
    implicit: bool = False
    """Whether it named nothing and so gets everything, until it asks for something."""
    mistakes: int = 0
    credit: float = MESSAGES_AT_ONCE
    credited: float = 0.0
    sent: float = 0.0
    """When it was last sent something, on the loop's clock."""

    def __attrs_post_init__(self) -> None:
        self.credited = self.sent = asyncio.get_running_loop().time()

    async def authenticate(self) -> bool:
        """Wait for the token as the first message; without it, end the connection."""
        connection, token = self.connection, self.offer.token
        shown: Any = None
        try:
            async with asyncio.timeout(AUTH_SECONDS):
                shown = protocol.parse(_as_text(await connection.recv()))
        except (TimeoutError, ValueError):
            pass
        if isinstance(shown, protocol.Auth) and token is not None and admission.same_token(shown.token, token):
            return True
        self.offer.context.count("refused")
        await connection.close(CloseCode.POLICY_VIOLATION, "authentication failed")
        return False

    async def serve(self, wish: admission.Wish) -> None:
        """Greet the client, send it what it wished for, and do what it says, until it goes."""
        channels = self.offer.channels
        hello = protocol.say("hello", protocol=protocol.VERSION, channels=list(channels), subscribed=wish.channels)
        await self.connection.send(hello, text=True)
        sender = asyncio.get_running_loop().create_task(self._send())
        try:
            for name in wish.channels:
                await self._join(channels[name], protocol.Subscribe(name, history=wish.history))
            self.implicit = wish.implicit
            async for message in self.connection:
                await self._hear(message)
        finally:
            self._leave_all()
            self.offer.views.leave(self)
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            self.outbox.clear()

    # -- what it says -----------------------------------------------------------------------------

    async def _hear(self, message: str | bytes) -> None:
        """Do what a message asks for; a wrong one is answered with an error."""
        if not self._pays():
            await self.connection.close(CloseCode.POLICY_VIOLATION, "too many messages")
            return
        try:
            await self._do(protocol.parse(_as_text(message)))
        except ValueError as wrong:
            self.mistakes += 1
            if self.mistakes > MISTAKES:
                await self.connection.close(CloseCode.POLICY_VIOLATION, "too many wrong messages")
                return
            await self._answer("error", message=str(wrong)[:500])

    def _pays(self) -> bool:
        now = asyncio.get_running_loop().time()
        self.credit = min(MESSAGES_AT_ONCE, self.credit + (now - self.credited) * MESSAGES_PER_SECOND)
        self.credited = now
        if self.credit < 1:
            return False
        self.credit -= 1
        return True

    async def _do(self, wanted: protocol.Said) -> None:
        match wanted:
            case protocol.Subscribe():
                channel = self._channel(wanted.channel)
                self._choose()
                await self._answer("subscribed", channel=channel.name)
                await self._join(channel, wanted)
            case protocol.Unsubscribe():
                self.implicit = False
                self._channel(wanted.channel).subscriptions.pop(self, None)
                await self._answer("unsubscribed", channel=wanted.channel)
            case protocol.View():
                channel = self._channel(wanted.channel)
                panel = self.offer.views.look(self, self.outbox, wanted)
                self._choose()
                await self.connection.send(protocol.viewing(wanted.id, panel), text=True)
            case protocol.Unview():
                self.offer.views.unlook(self, wanted.id)
                await self._answer("unviewed", id=wanted.id)
            case protocol.Ping():
                await self._answer("pong", id=wanted.id)
            case protocol.Auth():
                raise ValueError("auth: expected only as the first message, of a server with a token")

    async def _answer(self, kind: str, **fields: Any) -> None:
        await self.connection.send(protocol.say(kind, **fields), text=True)

    def _channel(self, name: str) -> Channel:
        channel = self.offer.channels.get(name)
        if channel is None:
            raise ValueError(f"no channel {name[:100]!r}: there are {', '.join(self.offer.channels)}")
        return channel

    def _choose(self) -> None:
        """Who asks for something gets no more of what it was given unasked."""
        if self.implicit:
            self._leave_all()

    def _leave_all(self) -> None:
        self.implicit = False
        for channel in self.offer.channels.values():
            channel.subscriptions.pop(self, None)

    async def _join(self, channel: Channel, wanted: protocol.Subscribe) -> None:
        subscription = Subscription(self.outbox, protocol.matcher(wanted.where))
        limit = min(wanted.history, self.offer.history)
        # What waits belongs to those who were there before.
        channel.flush()
        channel.subscriptions[self] = subscription
        if not limit:
            return
        subscription.start_joining()
        history = []
        try:
            async with asyncio.timeout(HISTORY_SECONDS), self.offer.reads:
                history = await self.offer.context.history(channel.name, limit)
        except Exception as error:  # a view without its past is better than none
            self.offer.context.log("no history for a client", level="warning", channel=channel.name, error=repr(error))
        channel.send_history(subscription, history, self.offer.context.now() + UNSEEN_MS)

    async def _send(self) -> None:
        """Send what is in the outbox, as fast as the client takes it."""
        connection, outbox, stall = self.connection, self.outbox, self.offer.stall_seconds
        try:
            while True:
                message = outbox.take()
                if message is None:
                    await outbox.waiting.wait()
                    continue
                async with asyncio.timeout(stall):
                    await connection.send(message, text=True)
                self.sent = asyncio.get_running_loop().time()
        except TimeoutError:
            self.cut_off()
        except ConnectionClosed:
            pass

    def cut_off(self) -> None:
        """Drop the connection: the client is too slow to be told anything."""
        self.offer.context.count("disconnected")
        self.outbox.overflowed = False
        self.connection.transport.abort()


def _as_text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise ValueError("got a binary message, expected JSON text")  # noqa: TRY004 - the client's mistake
    return message
