"""What every errand goes by, and what both lanes say and hear there; how they wait is `ride`'s and `upstream`'s."""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import structlog

from proxy.command import ERROR_BYTES, Call
from proxy.headers import authorization
from proxy.key import Key, Upstream
from proxy.lease import Change
from proxy.line import Line
from proxy.target import Target
from proxy.upgrade import SessionTowards
from proxy.value import value_type
from proxy.wire.connection import Connection
from proxy.wire.request import Request, opening, request
from proxy.wire.response import Head

log = structlog.get_logger()

ConnectionTowards: TypeAlias = Callable[[Upstream], Awaitable[Connection]]
ConnectionAtHand: TypeAlias = Callable[[Upstream], Connection | None]


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


def report(changes: Sequence[Change]) -> None:
    """One log event for each change of a key."""
    for change in changes:
        facts = {} if change.seconds is None else {"seconds": round(change.seconds, 1)}
        log.info(change.event, key=change.key, rule=change.rule, **facts)


def request_of(call: Call, key: Key, length: int | None) -> Request:
    """What goes upstream with this key. `length` is the body's, None where nobody knows it."""
    # A key that a caller brought is not remembered.
    opened = _known_opening if key.fingerprint else _opening
    return request(call.method, opened(call.method, call.target, key), call.headers, length)


def _opening(method: str, target: Target, key: Key) -> bytes:
    return opening(method, target.url(key.upstream), authorization(key))


_known_opening = lru_cache(maxsize=256)(_opening)
forget = _known_opening.cache_clear  # keys stand in openings


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
