"""
Drives an errand over a connection to its upstream: it awaits, the errand decides.

Rule 1: no redirect is followed, nothing is decompressed, and the only host contacted is the lease's upstream.
Rule 2: when whoever reads `drive()` stops, for whatever reason, the upstream connection is closed at once.
Rule 3: only what failed before a byte was written counts as "not sent": of everything later the outcome is unknown.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Protocol, TypeAlias

import structlog

from proxy.command import ERROR_BYTES, Begin, Call, Command, Cut, End, Hold, Part, ReadError, Send
from proxy.errand import Errand
from proxy.headers import authorization
from proxy.intake import Body, Stream
from proxy.key import Key, Upstream
from proxy.lease import Change
from proxy.line import Line
from proxy.refusal import Refusal
from proxy.target import Target
from proxy.upgrade import Opened, SessionTowards, Upgrading, upgrading
from proxy.value import value_type
from proxy.wire.connection import Connection, NotSent
from proxy.wire.exchange import Lost
from proxy.wire.request import Request, opening, request
from proxy.wire.response import Head

log = structlog.get_logger()


class Answer(Protocol):
    """An answer that is on its way. Both waits raise Lost, or TimeoutError when nothing has come for `seconds`."""

    async def head(self, seconds: float) -> Head:
        """`seconds` count from when the request has gone out."""

    async def read(self, seconds: float) -> bytes:
        """The next bytes of the body as they came, b"" at its end."""

    def close(self) -> None:
        """Hang up, unless it is over; may be told twice."""


ConnectionTowards: TypeAlias = Callable[[Upstream], Awaitable[Connection]]
ConnectionAtHand: TypeAlias = Callable[[Upstream], Connection | None]

FAILED = (Lost, TimeoutError)


@value_type
class Road:
    """
    What every errand goes by: the line before the keys, a connection towards an upstream, which may be at hand; for an upgrade,
    a session.
    """

    line: Line
    connection_towards: ConnectionTowards
    session_towards: SessionTowards
    connection_at_hand: ConnectionAtHand


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
            answer: Answer | None = None
            upstream = command.lease.key.upstream
            try:
                try:
                    answer = await _asked(errand, road, command, body)
                    command = await _until_decided(errand, answer, upstream)
                except NotSent:
                    command = errand.lost(was_sent=False)
                except FAILED:
                    command = errand.lost()
                if isinstance(command, Begin):
                    if answer is None or command.is_whole:
                        yield command
                    elif isinstance(answer, Upgrading):
                        yield Opened(command.status, command.headers, response=answer.response)
                    else:
                        yield command
                        async for part in _rest(errand, answer, upstream.idle_seconds):
                            yield part
            finally:
                if answer is not None:
                    answer.close()
        if isinstance(command, Refusal):
            yield command
    finally:
        errand.gone()
        report(errand.take_changes())


def report(changes: Sequence[Change]) -> None:
    """One log event for each change of a key."""
    for change in changes:
        facts = {} if change.seconds is None else {"seconds": round(change.seconds, 1)}
        log.info(change.event, key=change.key, rule=change.rule, **facts)


async def _asked(errand: Errand, road: Road, send: Send, body: Body) -> Answer:
    key, call = send.lease.key, errand.call
    if call.is_upgrade:
        return await upgrading(road.session_towards(key.upstream), call, key)
    given = call.draft.body if call.draft else body
    asked = request_of(call, key, None if isinstance(given, Stream) else len(given or b""))
    content = given.pieces() if isinstance(given, Stream) else given or b""
    connection = await road.connection_towards(key.upstream)
    return connection.send(asked, content, idle_seconds=key.upstream.idle_seconds)


def request_of(call: Call, key: Key, length: int | None) -> Request:
    """What goes upstream with this key. `length` is the body's, None where nobody knows it."""
    # A key that a caller brought is not remembered.
    opened = _known_opening if key.fingerprint else _opening
    return request(call.method, opened(call.method, call.target, key), call.headers, length)


def _opening(method: str, target: Target, key: Key) -> bytes:
    return opening(method, target.url(key.upstream), authorization(key))


_known_opening = lru_cache(maxsize=256)(_opening)
forget = _known_opening.cache_clear  # keys stand in openings


async def _until_decided(errand: Errand, answer: Answer, upstream: Upstream) -> Command:
    """Tell the errand what comes until it says what the caller gets, or that the request goes out again."""
    head = await answer.head(upstream.first_byte_seconds)
    command = errand.head(head.status, head.headers)
    if isinstance(command, ReadError):
        body, is_whole = await _error_body(answer, head, upstream.idle_seconds)
        return errand.error_body(body, is_whole=is_whole)
    while isinstance(command, Hold):
        if command.until is None:
            chunk = await answer.read(upstream.idle_seconds)
        else:
            try:
                chunk = await answer.read(max(0.0, command.until - errand.now))
            except TimeoutError:
                return errand.hold_is_over()
        command = errand.data(chunk) if chunk else errand.end()
    return command


async def _rest(errand: Errand, answer: Answer, idle: float) -> AsyncGenerator[Part]:
    while True:
        last: Command | None = None
        try:
            chunk = await answer.read(idle)
        except FAILED:
            last = errand.lost()
        else:
            last = errand.data(chunk) if chunk else errand.end()
        if isinstance(last, End | Cut):
            yield last
            return
        yield chunk


async def _error_body(answer: Answer, head: Head, idle: float) -> tuple[bytes, bool]:
    """Up to ERROR_BYTES of an error's body, decoded, and whether that is all of it."""
    body = b""
    try:
        while len(body) <= ERROR_BYTES and (chunk := await answer.read(idle)):
            body += chunk
    except FAILED:
        return body[:ERROR_BYTES], False  # the head alone tells the rule
    return plain_error(head, body)


def plain_error(head: Head, body: bytes) -> tuple[bytes, bool]:
    """Up to ERROR_BYTES of an error's body, decoded, and whether that is all of it. `body` is all that was read."""
    is_whole = len(body) <= ERROR_BYTES
    codings = (value.lower() for name, value in head.headers if name.lower() == "content-encoding")
    match next(codings, "identity"):
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
