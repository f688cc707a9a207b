"""
One connection of a caller: how long it may take, how much it may send before it is understood, how many there may be.

aiohttp limits a line of a head and an idle connection, and nothing else: a head that never ends, a body that stops and any
number of connections are kept for ever. `Connection` is its protocol with these limits added.

Rule 1: whoever is admitted leaves exactly once, in `connection_lost`, or where no connection came of it (`daemon.tls`); a
        connection that is turned away is never counted.
Rule 2: the timer runs only while we wait for the caller: for the rest of a head, or for more of a body.
Rule 3: nothing is decided here about a request that is whole; that is the server's.
Rule 4: whoever is refused is listened to a little longer, and not heard: closing with bytes unread makes the kernel send a
        reset, and that takes our last word with it (RFC 2525, 2.17).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, cast

import structlog
from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from daemon.addresses import Network, household, is_within, parsed
from daemon.errors import BodyStalled, answer, answer_to, can_answer
from proxy.value import value_type

log = structlog.get_logger()

KEEPALIVE_SECONDS = 75  # longer than the 60 s that reverse proxies commonly wait, so that theirs close first
LINGERING_SECONDS = 2  # for what still comes after our last word
MOST_TURNED_AWAY = 8  # of them linger at once; each has a file that no limit counts

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
HEAD_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@value_type
class Limits:
    head_bytes: int = 16384
    head_seconds: float = 10
    body_idle_seconds: float = 60
    connections: int = 4000
    connections_per_address: int = 256


class Connections:
    """
    Who is connected now.

    No limit per address holds for loopback and the `exempt` networks. These are asked at every new connection, so a set
    that is handed in may grow (by the addresses whose pushes turned out to be signed, for example).
    """

    def __init__(self, most: int, most_per_address: int, *exempt: Collection[Network]) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._exempt = exempt
        self._households: Counter[str] = Counter()
        self.turned_away = 0  # who linger, and are not in

    def __len__(self) -> int:
        return self._households.total()

    def admit(self, address: str) -> bool:
        """Whether one more from `address` may come in; it counts until `leave`."""
        if len(self) >= self._most or self._is_crowded(address):
            return False
        self._households[household(address)] += 1
        return True

    def leave(self, address: str) -> None:
        home = household(address)
        self._households[home] -= 1
        if not self._households[home]:
            del self._households[home]

    def _is_crowded(self, address: str) -> bool:
        if self._households[household(address)] < self._most_per_address:
            return False
        caller = parsed(address)  # None behind a unix socket
        return not (caller is None or caller.is_loopback or any(is_within(caller, some) for some in self._exempt))


class Connection(web.RequestHandler):
    """
    Reads three attributes that its base keeps to itself: `_messages`, `_upgraded`, `_request_in_progress`.

    The beginning of a head that came in one piece with the end of the request before it is not seen here; until more of
    it comes, the limit of an idle connection holds.
    """

    __slots__ = (
        *("_address", "_body", "_connections", "_head_bytes", "_heard_at", "_is_parting", "_is_turned_away", "_limits"),
        *("_timer", "_waited_seconds"),
    )

    def __init__(
        self,
        server: web.Server,
        connections: Connections,
        limits: Limits,
        admitted: str | None = None,
        waited_seconds: float = 0.0,
    ) -> None:
        """
        `admitted` is the address of a caller who is already in, because there was a handshake before, or a door.

        `waited_seconds`: so long it has been there without asking anything.
        """
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
            auto_decompress=False,  # a small body must not become a large one; and upstreams get the bytes as they came
            access_log=cast(Any, None),  # aiohttp's way to have none, which its annotation forgets
        )
        self._connections = connections
        self._limits = limits
        self._address = admitted  # None: not in
        self._waited_seconds = waited_seconds
        self._is_turned_away = False
        self._is_parting = False  # our last word is out
        self._head_bytes = 0  # of a head that is not whole yet
        self._body: StreamReader | None = None  # of the last request, while more of it is to come
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._is_let_in(transport):
            super().connection_made(transport)
            self._wait(max(0.0, self._limits.head_seconds - self._waited_seconds), self._check_head)
        elif self._connections.turned_away < MOST_TURNED_AWAY:
            self._is_turned_away = True
            self._connections.turned_away += 1
            super().connection_made(transport)
            self._part(BUSY)
        else:
            _turn_away(cast(asyncio.Transport, transport))

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_waiting()
        self.leave()
        if self._is_turned_away:
            self._connections.turned_away -= 1
        super().connection_lost(exc)

    def leave(self) -> None:
        """Gives the place back, where there is one; for others to call only if no connection came of it."""
        if self._address is not None:
            self._connections.leave(self._address)
            self._address = None

    def data_received(self, data: bytes) -> None:
        if self._is_parting:
            return
        if self._upgraded:  # a WebSocket has its own framing and its own heartbeat
            super().data_received(data)
            return
        heads = len(self._messages)
        super().data_received(data)
        if len(self._messages) > heads:
            self._head_bytes = 0
            self._body = self._messages[-1][1]
            self._stop_waiting()
            self._hear_body()
        elif self._body is not None:
            self._hear_body()
        elif data:
            self._hear_head(len(data))

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """What aiohttp calls for a head that it cannot parse, and for exceptions that passed every middleware."""
        if not can_answer(request):
            raise ConnectionError("too late for an answer")
        if status == 400:
            return answer(request, 431 if isinstance(exc, LineTooLong) else 400, "the request is malformed")
        return answer_to(exc or TimeoutError(), request)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Instead of aiohttp's tracebacks, which anyone on the Internet could have it write by the thousand."""
        error = kw.get("exc_info")
        log.error("connection.crashed", error=type(error).__name__ if error else "NoAnswer")

    def _is_let_in(self, transport: asyncio.BaseTransport) -> bool:
        if self._address is None:
            peer = transport.get_extra_info("peername")
            address = str(peer[0]) if isinstance(peer, tuple) else ""
            if self._connections.admit(address):
                self._address = address
        return self._address is not None

    def _hear_head(self, more_bytes: int) -> None:
        self._head_bytes += more_bytes
        if self._head_bytes > self._limits.head_bytes:
            self._refuse(HEAD_TOO_LARGE)
        elif self._timer is None:
            self._wait(self._limits.head_seconds, self._check_head)

    def _hear_body(self) -> None:
        if self._body is None or self._body.is_eof():
            self._body = None
            self._stop_waiting()
            return
        self._heard_at = self._loop.time()
        if self._timer is None:
            self._wait(self._limits.body_idle_seconds, self._check_body)

    def _check_head(self) -> None:
        if self._is_busy():  # what was pipelined behind a request has time until that is answered
            self._wait(self._limits.head_seconds, self._check_head)
        elif self._head_bytes:
            self._refuse(HEAD_TOO_SLOW)
        else:
            self._hang_up()

    def _check_body(self) -> None:
        if self.transport is None or self._body is None:
            return
        if not self.transport.is_reading():  # the handler is the slow one
            self._heard_at = self._loop.time()
        left = self._heard_at + self._limits.body_idle_seconds - self._loop.time()
        if left > 0:
            self._wait(left, self._check_body)
        else:
            self._body.set_exception(BodyStalled())

    def _refuse(self, answer: bytes) -> None:
        if self._is_busy():
            self.force_close()
        else:
            self._part(answer)

    def _part(self, answer: bytes) -> None:
        """Say the last word; the connection ends when the caller has heard it, or a little later."""
        if self.transport is None:
            return
        self._is_parting = True
        self.transport.write(answer)
        if self.transport.can_write_eof():  # not over TLS, where the answer alone must say that it is the last
            self.transport.write_eof()
        self._stop_waiting()
        self._wait(LINGERING_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        """Closing would wait for the other end, where there is TLS."""
        if self.transport is not None:
            self.transport.abort()

    def _is_busy(self) -> bool:
        return self._request_in_progress or bool(self._messages)

    def _wait(self, seconds: float, check: Callable[[], None]) -> None:
        self._timer = self._loop.call_later(seconds, check)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def is_last(message: RawRequestMessage) -> bool:
    """
    Whether nothing may be read behind this request on the same connection. With aiohttp (3.14.5) the next one could be harmed.

    The last trailer of a body in chunks becomes the next request's first header, what came in one piece with a request for
    another protocol is dropped, and to HTTP/1.0 the end of an answer without a length is not told. Behind a proxy that shares
    connections the next request is another caller's.
    """
    is_other_protocol = message.upgrade and message.headers.get(hdrs.UPGRADE, "").lower() != "websocket"
    return message.chunked or is_other_protocol or message.version < HttpVersion11


def _turn_away(transport: asyncio.Transport) -> None:
    """In a crowd nobody can linger."""
    transport.set_protocol(asyncio.Protocol())  # nobody is there to be told of bytes or of the end
    transport.write(BUSY)
    transport.close()
