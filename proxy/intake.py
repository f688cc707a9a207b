"""
Reads a request's body, bounded, once: whole where it can be sent again, as a stream where it is too large for that.

Rule 1: up to `replay_bytes` are kept, so that a rotation can send them again; what is larger gets one attempt.
Rule 2: what is too large to keep is watched for the names of objects on its way: another caller's breaks it off.
Rule 3: more than `max_body_bytes` is refused, at once where Content-Length says so, else when they have come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable
from typing import TypeAlias

from aiohttp import web

from proxy.objects import NameWatch
from proxy.refusal import Refusal, invalid_request, request_too_large


class Stream:
    """
    A body too large to keep. `length` is what its sender says, None where it does not. `failure` is why it broke off on its way
    in: too large after all, or its sender stopped.
    """

    def __init__(self, request: web.Request, most_bytes: int, first: Iterable[bytes] = ()) -> None:
        """`first` is what has been read of it already."""
        self._request, self._most_bytes, self._first = request, most_bytes, deque(first)
        self.length = request.content_length
        self.failure: BaseException | None = None
        self.names: NameWatch | None = None

    async def pieces(self) -> AsyncGenerator[bytes]:
        size = 0
        while chunk := self._first.popleft() if self._first else await self._next():
            size += len(chunk)
            try:
                if size > self._most_bytes:
                    raise request_too_large(self._most_bytes)
                if self.names is not None:
                    self.names.feed(chunk)
            except Refusal as refusal:
                self.failure = refusal
                raise  # breaks the upload off: its end is never sent
            yield chunk

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
    if any(coding.strip().lower() != "identity" for coding in request.headers.getall("Content-Encoding", ())):
        raise invalid_request("Send the body unencoded: an encoded one cannot be checked.")
    length = request.content_length
    if length is not None and length > max_body_bytes:
        raise request_too_large(max_body_bytes)
    if length is not None and length > replay_bytes:
        return Stream(request, max_body_bytes)
    pieces, size = [], 0
    while chunk := await request.content.readany():
        pieces.append(chunk)
        size += len(chunk)
        if size > max_body_bytes:
            raise request_too_large(max_body_bytes)
        if size > replay_bytes:
            return Stream(request, max_body_bytes, pieces)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
