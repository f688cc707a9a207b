"""
Drives an errand over aiohttp's client: it awaits, the errand decides.

Rule 1: no redirect is followed, nothing is decompressed, and the only host contacted is the lease's upstream.
Rule 2: when whoever reads `drive()` stops, for whatever reason, the upstream connection is closed at once.
Rule 3: only a failure to connect counts as "not sent": of everything later the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import io
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeAlias

import structlog
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
)
from multidict import CIMultiDict
from yarl import URL

from proxy.command import ERROR_BYTES, Begin, Command, Cut, End, Hold, Part, ReadError, Send
from proxy.errand import Errand
from proxy.headers import authorization
from proxy.intake import Body, Stream
from proxy.key import Upstream
from proxy.lease import Change
from proxy.line import Line
from proxy.refusal import Refusal

log = structlog.get_logger()

SessionTowards: TypeAlias = Callable[[Upstream], ClientSession]

NOT_SENT = (ClientConnectorError, ConnectionTimeoutError)
FAILED = (ClientError, OSError, TimeoutError)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
LARGE = 1 << 20  # bytes; above it aiohttp wants a file, so that one write does not hold up the loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened(Begin):
    """What an upgrade came to. Whoever drives has the connection, whatever was answered, until it stops driving."""

    response: ClientResponse


@dataclass(frozen=True, slots=True)
class Road:
    """What every errand goes by: the line before the keys, and the session towards an upstream."""

    line: Line
    session_towards: SessionTowards


async def drive(errand: Errand, road: Road, body: Body) -> AsyncGenerator[Part]:
    """
    Carry out the errand. Gives a Refusal, or a Begin that is whole, or a Begin, chunks, and an End or a Cut; of an upgrade that
    is not refused, Opened alone.

    Close it (`contextlib.aclosing`) when the caller leaves.
    """
    try:
        command = await road.line.begin(errand)
        while isinstance(command, Send):
            report(errand.take_changes())
            if command.pause_seconds:
                await asyncio.sleep(command.pause_seconds)
            response: ClientResponse | None = None
            idle = command.lease.key.upstream.idle_seconds
            try:
                try:
                    response = await _request(errand, road, command, body)
                    command = await _until_decided(errand, response, idle)
                except FAILED as failure:
                    command = errand.lost(was_sent=not isinstance(failure, NOT_SENT))
                if isinstance(command, Begin):
                    if response is None or command.is_whole:
                        yield command
                    elif errand.call.is_upgrade:
                        yield Opened(command.status, command.headers, response=response)
                    else:
                        yield command
                        async for part in _rest(errand, response, idle):
                            yield part
            finally:
                if response is not None:
                    response.close()
        if isinstance(command, Refusal):
            yield command
    finally:
        errand.gone()
        report(errand.take_changes())


def report(changes: list[Change]) -> None:
    """One log event for each change of a key."""
    for change in changes:
        facts = {} if change.seconds is None else {"seconds": round(change.seconds, 1)}
        log.info(change.event, key=change.key, rule=change.rule, **facts)


async def _request(errand: Errand, road: Road, send: Send, body: Body) -> ClientResponse:
    key, call = send.lease.key, errand.call
    headers = CIMultiDict([*call.headers, *authorization(key)])
    upstream = key.upstream
    # An upload may take as long as it takes; what bounds it is how long its sender may be silent.
    limit = None if isinstance(body, Stream) else upstream.connect_seconds + upstream.first_byte_seconds
    async with asyncio.timeout(limit):
        return await road.session_towards(upstream).request(
            call.method,
            URL(call.target.url(upstream), encoded=True),
            headers=headers,
            data=_data(call.draft.body if call.draft else body),
            allow_redirects=False,
            timeout=ClientTimeout(total=None, connect=upstream.connect_seconds),
        )


def _data(body: Body) -> bytes | io.BytesIO | AsyncIterator[bytes] | None:
    if isinstance(body, Stream):
        return body.pieces()
    return io.BytesIO(body) if body is not None and len(body) > LARGE else body


async def _until_decided(errand: Errand, response: ClientResponse, idle: float) -> Command:
    """Tell the errand what comes until it says what the caller gets, or that the request goes out again."""
    if _is_unspeakable(response, errand):
        return errand.lost()
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers]
    command = errand.head(response.status, pairs)
    if isinstance(command, ReadError):
        body, is_whole = await _error_body(response, idle)
        return errand.error_body(body, is_whole=is_whole)
    while isinstance(command, Hold):
        if command.until is None:
            chunk = await _read(response, idle)
        else:
            try:
                chunk = await _read(response, max(0.0, command.until - errand.now))
            except TimeoutError:
                return errand.hold_is_over()
        command = errand.data(chunk) if chunk else errand.end()
    return command


def _is_unspeakable(response: ClientResponse, errand: Errand) -> bool:
    """Whether the head is one that aiohttp's lenient parser takes, and that no server may send."""
    if response.status < 200 and not errand.call.is_upgrade:
        return True
    return any(_CONTROL.search(name) or _CONTROL.search(value) for name, value in response.raw_headers)


async def _rest(errand: Errand, response: ClientResponse, idle: float) -> AsyncGenerator[Part]:
    while True:
        last: Command | None = None
        try:
            chunk = await _read(response, idle)
        except FAILED:
            last = errand.lost()
        else:
            last = errand.data(chunk) if chunk else errand.end()
        if isinstance(last, End | Cut):
            yield last
            return
        yield chunk


async def _read(response: ClientResponse, seconds: float) -> bytes:
    """The next bytes as they came, b"" at the end."""
    async with asyncio.timeout(seconds):
        return await response.content.readany()


async def _error_body(response: ClientResponse, idle: float) -> tuple[bytes, bool]:
    """Up to ERROR_BYTES of an error's body, decoded, and whether that is all of it."""
    body = b""
    try:
        while len(body) <= ERROR_BYTES and (chunk := await _read(response, idle)):
            body += chunk
    except FAILED:
        return body[:ERROR_BYTES], False  # the head alone tells the rule
    is_whole = len(body) <= ERROR_BYTES
    match response.headers.get("Content-Encoding", "identity").lower():
        case "gzip" | "deflate":
            return _inflated(body, is_whole=is_whole)
        case "identity":
            return body[:ERROR_BYTES], is_whole
    return b"", False


def _inflated(body: bytes, *, is_whole: bool) -> tuple[bytes, bool]:
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = inflater.decompress(body, ERROR_BYTES)
    except zlib.error:
        return b"", False
    return plain, is_whole and inflater.eof
