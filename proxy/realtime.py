"""
The gateway's edge for WebSockets: a caller's connection joined to the upstream's, message by message, until either ends.

Rule 1: the caller hears 101 after the upstream has said it. Until then an upgrade is a request like any other: it may wait in
        line, a refusal rotates it, and the last refusal is a plain HTTP answer. From then on the key stays.
Rule 2: a message is read when the one before it has gone out, so that whoever does not read holds up the other end, and
        not our memory. Pings are answered here, on either side.
Rule 3: whatever ends one side ends the other: at once where it is noticed, else by the limit on silence of both.
Rule 4: nothing of a message is kept or logged; only an event that ends an answer is looked into, for what it used.
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Callable
from contextlib import aclosing

from aiohttp import ClientResponse, ClientWebSocketResponse, ClientWSTimeout, WSMsgType, web
from aiohttp._websocket.reader import WebSocketDataQueue
from aiohttp.http import WebSocketReader, WebSocketWriter
from multidict import CIMultiDict

from proxy.command import Begin
from proxy.errand import Errand
from proxy.headers import REQUEST_ID, Pairs
from proxy.objects import NameWatch
from proxy.peek import Peek, must_be_readable
from proxy.realtime_words import (
    CALLER_GONE,
    PROTOCOLS,
    SHUTTING_DOWN,
    SILENT,
    UPSTREAM_GONE,
    Parting,
    agreed,
    handshake,
    model_of,
    parting,
    passable_with_101,
    spoken,
    tokens_of,
)
from proxy.refusal import Refusal, invalid_request, upstream_unreachable
from proxy.road import Road
from proxy.target import Target
from proxy.upgrade import Opened
from proxy.upstream import drive
from proxy.usage_book import UsageBook
from proxy.value import value_type

MESSAGE_BYTES = 16 << 20  # the largest message, and a little more; OpenAI takes events of audio up to 15 MiB
QUEUE_BYTES = 65_536  # of messages that have come and cannot go out yet; above it we stop reading
CLOSE_SECONDS = 0.4  # for the other end to answer a close frame

Socket = web.WebSocketResponse[bool] | ClientWebSocketResponse[bool]


class Traffic:
    """What went through one connection: messages, and when anything was last heard (the loop's clock)."""

    def __init__(self) -> None:
        self.is_open = False
        self.up = self.down = 0
        self.heard_at = 0.0

    def facts(self) -> dict[str, int]:
        """Keywords for the request's line in the log; none where nothing was opened."""
        return {"messages_up": self.up, "messages_down": self.down} if self.is_open else {}


@value_type
class _End:
    """
    One end of a relay. `gone` is what the other hears when it is lost; `came` is told every message from here, and may raise
    a Refusal of it.
    """

    socket: Socket
    gone: Parting
    came: Callable[[bytes], None]


def is_upgrade(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").strip().lower() == "websocket"


def plain(request: web.Request) -> web.Request:
    """The same request, with what a browser had to say in subprotocols in its headers. Raises a Refusal."""
    if not is_upgrade(request) or PROTOCOLS not in request.headers:
        return request
    return _with_headers(request, spoken(request.headers.items()))


def opening(request: web.Request, target: Target) -> tuple[Peek, Pairs]:
    """What an upgrade asks for, and the headers that ask the upstream for it. Raises a Refusal."""
    protocols = request.headers.get(PROTOCOLS, "")
    if request.method != "GET" or not web.WebSocketResponse().can_prepare(_speaking(request, "")).ok:
        raise invalid_request("The WebSocket handshake is not whole: see RFC 6455, 4.1.")
    nonce = b64encode(secrets.token_bytes(16)).decode()
    return Peek(model_of(target)), handshake(nonce, protocols)


async def relay(
    request: web.Request,
    errand: Errand,
    road: Road,
    book: UsageBook,
    traffic: Traffic,
    names: NameWatch | None,
) -> web.StreamResponse:
    """
    Carry out an errand that is an upgrade, to the end of the connection. Raises a Refusal.

    `names` looks at what the caller says for objects that are another's; None where it may name any.
    """
    async with aclosing(drive(errand, road, None)) as parts:
        async for part in parts:
            match part:
                case Refusal():
                    raise part
                case Opened():
                    return await _joined(request, errand, part, book, traffic, names)
                case Begin():
                    answer = web.Response(status=part.status, body=part.data, headers=CIMultiDict(part.headers))
                    answer.headers[REQUEST_ID] = errand.call.id
                    return answer
    raise AssertionError("an errand that ends says how")


async def _joined(
    request: web.Request,
    errand: Errand,
    opened: Opened,
    book: UsageBook,
    traffic: Traffic,
    names: NameWatch | None,
) -> web.StreamResponse:
    protocol = agreed(opened.status, opened.response.headers, errand.call.headers)
    far = _socket_over(opened.response)
    near = web.WebSocketResponse[bool](
        timeout=CLOSE_SECONDS,
        autoclose=False,
        autoping=False,
        protocols=[protocol] if protocol else [],
        compress=False,
        max_msg_size=MESSAGE_BYTES,
        decode_text=False,
    )
    near.headers.extend(passable_with_101(opened.headers))
    near.headers[REQUEST_ID] = errand.call.id
    await near.prepare(_speaking(request, protocol))
    traffic.is_open, traffic.heard_at = True, asyncio.get_running_loop().time()
    key, call = errand.served_by, errand.call
    assert key is not None  # noqa: S101 - whoever opened this

    def went_up(message: bytes) -> None:
        traffic.up += 1
        if names is not None:
            must_be_readable(message)
            names.feed(message)

    def went_down(message: bytes) -> None:
        traffic.down += 1
        if call.caller and (tokens := tokens_of(message)):
            book.add(call.caller, key.name, call.model, tokens)

    caller, upstream = _End(near, CALLER_GONE, went_up), _End(far, UPSTREAM_GONE, went_down)
    up = asyncio.create_task(_pass(caller, upstream, traffic))
    down = asyncio.create_task(_pass(upstream, caller, traffic))
    last = SHUTTING_DOWN  # or the caller is cut off: then the upstream alone hears it
    try:
        last = await _first_of(up, down, traffic, key.upstream.idle_seconds)
    finally:
        try:
            # The caller's end last: with its connection gone, this request is cancelled.
            await _close(far, opened.response.connection and opened.response.connection.transport, last)
            await _close(near, request.transport, last)
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
    return near


async def _pass(source: _End, sink: _End, traffic: Traffic) -> Parting:
    """Hand on what comes from `source`, until one of the two is no more."""
    loop = asyncio.get_running_loop()
    while True:
        message = await source.socket.receive()
        traffic.heard_at = loop.time()
        try:
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    source.came(message.data)
                    await sink.socket.send_frame(message.data, message.type)
                case WSMsgType.PING:
                    await source.socket.pong(message.data)
                case WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE:
                    return parting(message.data, message.extra or "")
                case _:
                    return source.gone
        except ConnectionError:
            return source.gone if message.type is WSMsgType.PING else sink.gone
        except Refusal as refusal:
            return Parting(1008, refusal.code)


async def _first_of(up: asyncio.Task[Parting], down: asyncio.Task[Parting], traffic: Traffic, idle: float) -> Parting:
    """Why it ends: what one of the two directions says, or that both have been silent for `idle` seconds."""
    loop = asyncio.get_running_loop()
    while (left := traffic.heard_at + idle - loop.time()) > 0:
        done, _ = await asyncio.wait((up, down), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return done.pop().result()
    return SILENT


async def _close(socket: Socket, transport: asyncio.BaseTransport | None, last: Parting) -> None:
    """Say the last word and hear the other end's, or do without that: nobody can hold up a parting."""
    try:
        async with asyncio.timeout(2 * CLOSE_SECONDS):
            await socket.close(code=last.code, message=last.reason.encode())
    except TimeoutError:
        if isinstance(transport, asyncio.Transport):
            transport.abort()  # it does not even read; what is written for it would stay with us


def _socket_over(response: ClientResponse) -> ClientWebSocketResponse[bool]:
    """
    What `ClientSession.ws_connect` makes of its answer. That itself follows redirects with the key, and drops the body of a
    refusal, without which nobody knows whom to blame.

    Like it, this uses what aiohttp keeps to itself: `WebSocketDataQueue`, and `_parser`, which keeps the reader alive.
    """
    connection = response.connection
    if connection is None or connection.protocol is None or connection.transport is None:
        raise upstream_unreachable("The upstream closed the WebSocket as soon as it had opened it.")
    loop = asyncio.get_running_loop()
    queue = WebSocketDataQueue(connection.protocol, QUEUE_BYTES, loop=loop)
    writer = WebSocketWriter(connection.protocol, connection.transport, use_mask=True)
    timeout = ClientWSTimeout(ws_close=CLOSE_SECONDS)
    socket = ClientWebSocketResponse[bool](
        queue, writer, None, response, timeout, autoclose=False, autoping=False, loop=loop
    )
    socket._parser = reader = WebSocketReader(queue, MESSAGE_BYTES, compress=False, decode_text=False)
    connection.protocol.set_parser(reader, queue)
    return socket


def _speaking(request: web.Request, protocol: str) -> web.Request:
    """The request as if `protocol` alone had been offered: aiohttp logs an offer that comes to nothing, word for word."""
    offered = [(name, value) for name, value in request.headers.items() if name.lower() != PROTOCOLS.lower()]
    return _with_headers(request, [*offered, (PROTOCOLS, protocol)] if protocol else offered)


def _with_headers(request: web.Request, headers: Pairs) -> web.Request:
    try:
        return request.clone(headers=CIMultiDict(headers))
    except UnicodeEncodeError:
        raise invalid_request("A header is not text.") from None
