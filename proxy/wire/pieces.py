"""A body that is at hand, in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator


async def pieces_of(body: bytes, size: int) -> AsyncGenerator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]
