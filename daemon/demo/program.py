"""
A program that calls the gateway as any caller would, with a token of its own.

Rule 1: it knows of its calls only what a caller sees; which keys were tried is the upstream's record.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Self

import aiohttp

from daemon.demo.scene import MODEL

KEPT = 6
TIMEOUT = aiohttp.ClientTimeout(total=90)


@dataclass(slots=True)
class Made:
    """One call. `status` is None until it is answered, 0 where the connection failed."""

    id: str
    began: float
    status: int | None = None
    seconds: float = 0.0
    words: str = ""


class Program:
    """`async with Program(url, token) as program:` `url` is the daemon's own."""

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._count = 0
        self.calls: deque[Made] = deque(maxlen=KEPT)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def call(self, question: str) -> None:
        self._count += 1
        call = Made(id=f"demo-{self._count}", began=time.monotonic())
        self.calls.appendleft(call)
        body = {"model": MODEL, "messages": [{"role": "user", "content": question}]}
        try:
            async with self._session.post(self._url, json=body, headers={"X-Client-Request-Id": call.id}) as answer:
                said = await answer.json()
                call.status = answer.status
                call.words = _words(said)
        except (aiohttp.ClientError, TimeoutError):
            call.status = 0
        call.seconds = time.monotonic() - call.began


def _words(said: object) -> str:
    match said:
        case {"choices": [{"message": {"content": str(words)}}, *_]} | {"error": {"message": str(words)}}:
            return words
        case _:
            return ""
