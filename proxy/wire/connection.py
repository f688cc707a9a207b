"""
One connection to an upstream: a request goes out, its answer comes in, then the next one may.

Rule 1: a connection serves one exchange at a time, and another only when the answer was read to its end, the request had gone
        out whole, and not a byte came that nobody asked for.
Rule 2: both ways are held up by whoever is slower: we stop reading while an answer is not taken, and stop taking a body while
        the upstream does not read.
Rule 3: it ends by being cut off: nobody waits for a good-bye, and nothing stays written for whom does not read.
"""

from __future__ import annotations

import asyncio
import select
import ssl
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import cast

from proxy.wire.exchange import Exchange
from proxy.wire.pieces import pieces_of
from proxy.wire.request import Request

# What one read takes. All connections read into the same memory, one after the other; event loops by themselves take 256 KiB
# at a time, which is then what waits for a caller who takes nothing.
_READ = memoryview(bytearray(32_768))
AT_ONCE = 65_536  # bytes of a body that go out together with the head


class NotSent(Exception):
    """Not a byte of the request has gone out: nobody was reached, or the connection was gone before."""


class Connection(asyncio.BufferedProtocol):
    """`is_new` until it has served once. `free` is told when it can serve again, `lost` when it has ended."""

    __slots__ = (
        *("_alarm", "_alarm_at", "_exchange", "_free", "_loop", "_look", "_lost", "_room", "_transport"),
        *("idle_since", "is_new"),
    )

    def __init__(self, free: Callable[[Connection], None], lost: Callable[[Connection], None]) -> None:
        self._free, self._lost = free, lost
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._loop = asyncio.get_running_loop()
        self._look: Callable[[], object] | None = None  # says whether there is something to read
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._room: asyncio.Future[None] | None = None  # there while the transport takes no more
        self.is_new = True
        self.idle_since = 0.0

    def __repr__(self) -> str:
        return f"<Connection {'open' if self.is_open else 'closed'}{' in use' if self._exchange else ''}>"

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def tls(self) -> ssl.SSLObject | None:
        return None if self._transport is None else self._transport.get_extra_info("ssl_object")

    def has_news(self) -> bool:
        """Whether bytes or an end have come that the event loop has not got to yet."""
        if self._look is None:
            socket = None if self._transport is None else self._transport.get_extra_info("socket")
            if socket is None:
                return True
            self._look = _looking_at(socket.fileno())
        return bool(self._look())

    def send(self, request: Request, body: bytes | AsyncGenerator[bytes], *, idle_seconds: float) -> Exchange:
        """
        Begin an exchange, to be closed by whoever asks. Raises NotSent.

        `body` is as long as the request says. `idle_seconds`: how long the upstream may take none of it.
        """
        if not self.is_open or self._exchange is not None:
            raise NotSent
        transport = cast(asyncio.Transport, self._transport)
        exchange = self._exchange = Exchange(self, request.method, self._loop)
        if isinstance(body, bytes) and len(body) <= AT_ONCE:
            transport.write(request.head + body)
        else:
            transport.write(request.head)
            pieces = pieces_of(body, AT_ONCE) if isinstance(body, bytes) else body
            exchange.upload(self._upload(pieces, request.length, idle_seconds))
        return exchange

    async def _upload(self, pieces: AsyncGenerator[bytes], length: int | None, idle_seconds: float) -> None:
        """Raises TimeoutError, and what `pieces` raises: then the end of the body is never sent."""
        transport = cast(asyncio.Transport, self._transport)
        left = length or 0
        async with aclosing(pieces):
            async for piece in pieces:
                left -= len(piece)
                if length is not None and left < 0:
                    raise ValueError("the body is longer than was said")
                if piece:  # an empty chunk would be the last one
                    transport.write(piece if length is not None else b"%x\r\n%b\r\n" % (len(piece), piece))
                if self._room is not None:
                    async with asyncio.timeout(idle_seconds):
                        await self._room
        if length is None:
            transport.write(b"0\r\n\r\n")
        elif left:
            raise ValueError("the body is shorter than was said")

    # --- what an exchange does to its connection

    def hold_up(self, *, is_held: bool) -> None:
        """Stop reading, or go on."""
        if self.is_open and self._transport is not None:
            if is_held:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def ring_at(self, due: float) -> None:
        """
        Tell the exchange that is on then, on the loop's clock.

        One alarm serves all exchanges: it rings early, finds that nothing is due, and is set anew; so that most set none.
        """
        if self._alarm is None or self._alarm_at > due:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at, self._alarm = due, self._loop.call_at(due, self._ring)

    def done(self, *, is_reusable: bool) -> None:
        """Its exchange is over."""
        self._exchange = None
        if is_reusable and self.is_open:
            self._free(self)
        else:
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _ring(self) -> None:
        self._alarm = None
        if self._exchange is not None:
            self._exchange.rang()

    # --- what the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _READ

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(_READ[:nbytes]))

    def data_received(self, data: bytes) -> None:
        if self._exchange is None:
            self.abort()  # nobody asked
        else:
            self._exchange.came(data)

    def eof_received(self) -> None:
        if self._exchange is not None:
            self._exchange.ended(is_in_order=self.tls is None or _has_said_goodbye(self.tls))

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange, self._transport, self._look = self._exchange, None, None, None
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if exchange is not None:
            exchange.ended(is_in_order=False)
        self.resume_writing()
        self._lost(self)

    def pause_writing(self) -> None:
        self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None


if sys.platform == "win32":

    def _looking_at(descriptor: int) -> Callable[[], object]:
        return lambda: select.select([descriptor], [], [], 0)[0]

else:

    def _looking_at(descriptor: int) -> Callable[[], object]:
        looking = select.poll()
        looking.register(descriptor, select.POLLIN)
        return partial(looking.poll, 0)


def _has_said_goodbye(tls: ssl.SSLObject) -> bool:
    """Whether the other end closed in order. Else anybody on the way may have cut the answer short. Source: RFC 9112, 9.8"""
    try:
        return not tls.read(1)
    except ssl.SSLError:
        return False
