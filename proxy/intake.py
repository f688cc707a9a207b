"""
Reads a request's body, bounded, once: whole where it can be sent again, as a stream where it is too large for that.

Rule 1: up to `replay_bytes` are kept, so that a rotation can send them again; what is larger gets one attempt.
Rule 2: more than `max_body_bytes` is refused, at once where Content-Length says so, else when they have come.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

from aiohttp import web

from proxy.refusal import invalid_request, request_too_large


class Stream:
    """A body too large to keep. `failure` is why it broke off on its way in: too large after all, or its sender stopped."""

    def __init__(self, request: web.Request, first: bytes, most_bytes: int) -> None:
        self._request, self._first, self._most_bytes = request, first, most_bytes
        self.failure: BaseException | None = None

    async def pieces(self) -> AsyncIterator[bytes]:
        size, chunk = 0, self._first or await self._next()
        while chunk:
            size += len(chunk)
            if size > self._most_bytes:
                self.failure = request_too_large(self._most_bytes)
                raise self.failure  # breaks the upload off: its end is never sent
            yield chunk
            chunk = await self._next()

    async def _next(self) -> bytes:
        try:
            return await self._request.content.readany()
        finally:
            self.failure = self._request.content.exception()


Body: TypeAlias = bytes | Stream | None


async def body_of(request: web.Request, *, replay_bytes: int, max_body_bytes: int) -> Body:
    """The body: None where there is none, bytes where it is whole. Raises a Refusal."""
    if not request.body_exists or not request.can_read_body:
        return None
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise invalid_request("Send the body unencoded: an encoded one cannot be checked.")
    length = request.content_length
    if length is not None and length > max_body_bytes:
        raise request_too_large(max_body_bytes)
    if length is not None and length > replay_bytes:
        return Stream(request, b"", max_body_bytes)
    pieces, size = [], 0
    while chunk := await request.content.readany():
        pieces.append(chunk)
        size += len(chunk)
        if size > max_body_bytes:
            raise request_too_large(max_body_bytes)
        if size > replay_bytes:
            return Stream(request, b"".join(pieces), max_body_bytes)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
