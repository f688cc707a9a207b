"""
The HTTP server: an application on its listeners, from the first accepted connection to the last answer.

Rule 1: a request that is not plain HTTP/1 for this server is refused before any handler sees it.
Rule 2: `request.remote` and `request.scheme` are what the peer or a trusted proxy says; whoever wants them reads them there.
Rule 3: stopping loses nothing that was accepted: the listeners close first, what comes on open connections is still
        answered, and only what outlasts `drain_seconds` is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence, Sized
from types import MappingProxyType
from typing import Any

import structlog
from aiohttp import HttpVersion10, HttpVersion11, StreamReader, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from daemon.addresses import Network, caller_address, is_trusted
from daemon.connections import Connection, Connections, Limits, is_last
from daemon.door import Door
from daemon.doors import Doors
from daemon.errors import answer
from daemon.listeners import (
    BACKLOG,
    CannotListen,
    can_speak_tls,
    inherited_sockets,
    let_go_of_the_silent,
    name_of,
    open_sockets,
    remove_file,
)
from daemon.loop_faults import reporting_faults
from daemon.push_passage import Posts, Receiver
from daemon.tls import Handshakes
from proxy.visit import House

__all__ = ["CannotListen", "Limits", "serving"]

log = structlog.get_logger()

GRACE_SECONDS = 0.5  # for requests on connections that were accepted but not yet read when the listeners closed
CANCEL_SECONDS = 1.0  # for a cancelled handler to end its answer honestly
OWN_FILES = 40  # database, logs, listeners, the event loop, and callers who are about to be turned away
ACCEPTED_AT_ONCE = 8  # by asyncio, before it looks at any of them; each has a file that no limit counts yet


@contextlib.asynccontextmanager
async def serving(
    app: web.Application,
    listen: Sequence[str],
    limits: Limits,
    *,
    trusted_proxies: Sequence[Network] = (),
    exempt: Collection[Network] = (),
    tls: Callable[[], ssl.SSLContext] | None = None,
    fast_lane: House | None = None,
    pushes: Mapping[str, Receiver] = MappingProxyType({}),
    drain_seconds: float = 2.0,
) -> AsyncIterator[tuple[str, ...]]:
    """
    Serves `app` inside the block; the value is the bound addresses. Raises CannotListen.

    `exempt` networks have no limit per address. They are asked at every new connection, so the set may grow. `tls` is asked at
    every handshake of the listeners that can speak TLS; None: all are plain. `fast_lane`: whose requests may come by the door,
    and then `pushes` may, too: what goes to these paths.
    """
    connections = Connections(affordable(limits.connections), limits.connections_per_address, exempt, trusted_proxies)
    names: tuple[str, ...] = ()
    with reporting_faults():
        async with _started(app) as server:
            doors = Doors()
            gate = Gate(server, doors, trusted_proxies, limits.head_bytes)
            take_over = functools.partial(Connection, server, connections, limits)
            connect: Callable[..., Connection | Door] = take_over
            if fast_lane is not None:
                posts = Posts(pushes, trusted_proxies)
                connect = functools.partial(Door, fast_lane, doors, connections, limits, posts, take_over)
            handshakes = Handshakes(connections, connect, tls, limits.head_seconds) if tls else None
            try:
                async with (
                    handshakes or contextlib.nullcontext(),
                    gate.draining(connections, drain_seconds),
                    _listening(listen, limits.body_idle_seconds) as listeners,
                    _accepting(listeners, connect, handshakes),
                ):
                    names = tuple(name_of(listener) for listener in listeners)
                    log.info("server.started", listen=names)
                    if handshakes and not any(map(can_speak_tls, names)):
                        log.warning("certificate.unused", advice="port 80 stays plain http; add 443 to server.listen")
                    yield names
            finally:
                if names:  # else nothing was started
                    log.info("server.stopped", cancelled=gate.cancelled)


class _Request(web.Request):
    """Nobody needs to know which version of what answers it; an application's own hook is not asked about every answer."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        await super()._prepare_hook(response)
        response.headers.pop(hdrs.SERVER, None)


class Gate:
    """Stands between aiohttp's protocol and the application, and knows which requests are running, by the doors too."""

    def __init__(
        self,
        server: web.Server,
        doors: Doors,
        trusted_proxies: Sequence[Network],
        head_bytes: int,
    ) -> None:
        self._make, self._handle = server.request_factory, server.request_handler
        server.request_factory, server.request_handler = self.make, self.handle
        self._doors = doors
        self._trusted_proxies = trusted_proxies
        self._head_bytes = head_bytes
        self._running: set[asyncio.Task[Any]] = set()
        self._is_draining = False
        self.cancelled = 0  # requests that outlasted the drain

    def make(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        if self._is_draining or is_last(message):  # aiohttp then answers with Connection: close
            message = message._replace(should_close=True)
        request = self._make(message, payload, protocol, writer, task)
        peer, headers = request.remote or "", request.headers
        hops = headers.getall(hdrs.X_FORWARDED_FOR) if hdrs.X_FORWARDED_FOR in headers else ()
        if (address := caller_address(peer, hops, self._trusted_proxies)) != peer:
            request = request.clone(remote=address)
        scheme = headers.get(hdrs.X_FORWARDED_PROTO)
        if scheme in ("http", "https") and is_trusted(peer, self._trusted_proxies):
            request = request.clone(scheme=scheme, remote=address)
        return request

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if task := asyncio.current_task():
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        if fault := refusal(request, self._head_bytes):
            return answer(request, *fault)
        return await self._handle(request)

    @contextlib.asynccontextmanager
    async def draining(self, connections: Sized, seconds: float) -> AsyncIterator[None]:
        """On the way out no request is running any more: each has ended, or was cancelled after `seconds`."""
        try:
            yield
        finally:
            self._is_draining = self._doors.is_draining = True
            loop = asyncio.get_running_loop()
            end = loop.time() + seconds
            if connections:
                await asyncio.sleep(min(GRACE_SECONDS, seconds))
            while (under_way := self._under_way()) and (left := end - loop.time()) > 0:
                await asyncio.wait(under_way, timeout=left)
            cancelled = tuple(self._running)
            for task in cancelled:
                task.cancel()
            self.cancelled = len(cancelled) + self._doors.break_off()
            if cancelled:
                await asyncio.wait(cancelled, timeout=CANCEL_SECONDS)
            await self._doors.tasks.end(0)
            self._doors.close()

    def _under_way(self) -> set[asyncio.Future[Any]]:
        quiet = self._doors.quiet()
        return {*self._running, quiet} if quiet else {*self._running}


def refusal(request: web.BaseRequest, head_bytes: int) -> tuple[int, str] | None:
    """Status and reason where a request that aiohttp's parser let pass is refused all the same."""
    target, encodings = (
        request.raw_path,
        [value.lower() for value in request.headers.getall(hdrs.TRANSFER_ENCODING, ())],
    )
    if request.version not in (HttpVersion10, HttpVersion11):
        return 505, "this server speaks HTTP/1.1"
    if request.method == hdrs.METH_CONNECT:
        return 405, "this server is no forward proxy"
    if not target.startswith("/") and not (target == "*" and request.method == hdrs.METH_OPTIONS):
        return 400, "the request target must be a path"
    if not (target.isascii() and target.isprintable()) or "#" in target:
        return 400, "the request target has characters that do not belong there"
    # A body that another server in front may measure differently from us is how requests are smuggled.
    if encodings and (
        encodings != ["chunked"] or request.version == HttpVersion10 or hdrs.CONTENT_LENGTH in request.headers
    ):
        return 400, "the length of the request's body is in doubt"
    if len(target) + sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > head_bytes:
        return 431, "the request's head is too large"
    return None


def affordable(connections: int) -> int:
    """
    `connections`, or as many as this process may have files for: each may need a second one, upstream.

    Raises the soft limit of open files where that is needed; 1,024 is what a shell and systemd start with.
    """
    if sys.platform == "win32":
        return connections
    import resource

    needed = 2 * connections + OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < needed:
        log.warning("connections.lowered", to=(soft - OWN_FILES) // 2, open_files=soft)
    return max(1, min(connections, (soft - OWN_FILES) // 2))


@contextlib.asynccontextmanager
async def _listening(listen: Sequence[str], patience_seconds: float) -> AsyncIterator[list[socket.socket]]:
    inherited = inherited_sockets(os.environ)
    listeners = await open_sockets(listen, inherited)
    own_names = [name_of(listener) for listener in listeners if listener not in inherited]
    for listener in listeners:
        let_go_of_the_silent(listener, patience_seconds)
    try:
        yield listeners
    finally:
        for name in own_names:
            remove_file(name)
        for listener in listeners:
            listener.close()


@contextlib.asynccontextmanager
async def _started(app: web.Application) -> AsyncIterator[web.Server]:
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=CANCEL_SECONDS)
    try:
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - what setup() is for
        runner.server.request_factory = functools.partial(app._make_request, _cls=_Request)
        yield runner.server
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _accepting(
    listeners: Sequence[socket.socket], connect: Callable[[], asyncio.BaseProtocol], handshakes: Handshakes | None
) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    servers = []
    over_tls = {listener for listener in listeners if can_speak_tls(name_of(listener))} if handshakes else set()
    plain = [listener for listener in listeners if listener not in over_tls]
    for listener in plain:
        # To asyncio, `backlog` is also how many it accepts in a row. Out of files, it would go on trying for a second, also on
        # a listener that is closed meanwhile.
        servers.append(await loop.create_server(connect, sock=listener, backlog=ACCEPTED_AT_ONCE))
        listener.listen(BACKLOG)
    if handshakes:
        handshakes.open(over_tls)
    try:
        yield
    finally:
        if handshakes:
            handshakes.shut()
        # A connection that is accepted in the tick in which its server closes is dropped (CPython gh-109564). So accepting
        # ends first, then what was accepted gets its tick. Windows's loop has no readers.
        with contextlib.suppress(NotImplementedError):
            for listener in plain:
                loop.remove_reader(listener)
        await asyncio.sleep(0)
        for server in servers:
            server.close()
