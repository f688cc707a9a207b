"""
The way in over TLS: accepts callers, shakes hands with them, and hands over each whose handshake is done.

asyncio's own way (`create_server` with a context) tells nobody of a caller before the handshake has ended, nor of one whose
handshake fails, so that no limit could count them.

Rule 1: a caller has a place among the connections from the moment they are accepted. Whoever finds none is closed at once: to
        say why would cost us the handshake.
Rule 2: a handshake has `head_seconds`. How it failed is a debug line, since anyone on the Internet can have it fail.
Rule 3: every handshake belongs to `Handshakes`, and none outlives it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Self

import structlog

from daemon.connections import Connection, Connections
from daemon.door import Door
from daemon.listeners import CannotListen, name_of

log = structlog.get_logger()

ACCEPTED_AT_ONCE = 8  # before others have their turn
REST_SECONDS = 1.0  # after a failed accept: out of files, the next one would fail as well
FAREWELL_SECONDS = 30.0  # for the rest of an answer to be read, and for the caller's own end of the conversation


class Handshakes:
    """`connect` makes the protocol for a caller who was admitted; `context` is asked at each handshake."""

    def __init__(
        self,
        connections: Connections,
        connect: Callable[[str], Connection | Door],
        context: Callable[[], ssl.SSLContext],
        head_seconds: float,
    ) -> None:
        self._connections = connections
        self._connect = connect
        self._context = context
        self._head_seconds = head_seconds
        self._running: set[asyncio.Task[None]] = set()
        self._listeners: dict[socket.socket, asyncio.TimerHandle | None] = {}  # with a timer: it rests

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        # `shut` was at least a tick ago: one that had not taken its first step could not give its place back.
        for handshake in self._running:
            handshake.cancel()
        if self._running:
            await asyncio.wait(self._running)

    def open(self, listeners: Iterable[socket.socket]) -> None:
        """Raises CannotListen."""
        for listener in listeners:
            listener.setblocking(False)
            try:
                self._watch(listener)
            except NotImplementedError:  # Windows's loop
                advice = "leave server.tls_certificate empty, and put a reverse proxy in front"
                raise CannotListen(name_of(listener), "there is no TLS on this system", advice) from None

    def shut(self) -> None:
        """Nobody is accepted any more; handshakes go on."""
        for listener, timer in self._listeners.items():
            self._loop.remove_reader(listener)
            if timer:
                timer.cancel()
        self._listeners.clear()

    def _watch(self, listener: socket.socket) -> None:
        self._loop.add_reader(listener, self._accept, listener)
        self._listeners[listener] = None

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                caller, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._rest(listener, error)
                return
            self._receive(caller, str(address[0]))

    def _receive(self, caller: socket.socket, address: str) -> None:
        if not self._connections.admit(address):
            caller.close()
            return
        caller.setblocking(False)
        handshake = self._loop.create_task(self._shake_hands(caller, self._connect(address)))
        self._running.add(handshake)
        handshake.add_done_callback(self._running.discard)

    async def _shake_hands(self, caller: socket.socket, connection: Connection | Door) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                caller,
                ssl=self._context(),
                ssl_handshake_timeout=self._head_seconds,
                ssl_shutdown_timeout=FAREWELL_SECONDS,
            )
        except OSError as error:
            connection.leave()
            log.debug("handshake.failed", why=getattr(error, "reason", None) or type(error).__name__)
        except asyncio.CancelledError:
            connection.leave()
            raise

    def _rest(self, listener: socket.socket, error: OSError) -> None:
        self._loop.remove_reader(listener)
        self._listeners[listener] = self._loop.call_later(REST_SECONDS, self._watch, listener)
        self._loop.call_exception_handler({"message": "accept() failed", "exception": error})
