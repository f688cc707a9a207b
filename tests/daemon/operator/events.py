"""A viewer of `/status/events`, as a browser is one."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from aiohttp.client import ClientResponse

from tests.daemon.operator.house import PASSWORD, Visitor

BASIC = {"Authorization": "Basic " + base64.b64encode(f"program:{PASSWORD}".encode()).decode()}
NEVER = 3600.0
PATIENCE = 10.0  # seconds; no test waits so long unless it fails
MOST_BYTES = 1 << 24  # of a line


class Stream:
    def __init__(self, response: ClientResponse) -> None:
        self.response = response

    async def event(self) -> tuple[str, str]:
        """The next one's name and data; ("", "") at the end of the stream."""
        name = data = ""
        async with asyncio.timeout(PATIENCE):
            while line := await self.response.content.readline(max_line_length=MOST_BYTES):
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data = value
                elif name:
                    return name, data
        return "", ""

    async def main(self) -> dict[str, Any]:
        """The next <main>."""
        while (event := await self.event())[0] == "beat":
            pass
        assert event[0] == "main", event
        return dict(json.loads(event[1]))

    async def main_with(self, words: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while words not in (shown := await self.main())["main"]:
                pass
        return shown

    async def end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self.event())[0]:
                pass


async def watch(visitor: Visitor, query: str = "lang=en", **options: Any) -> Stream:
    response = await visitor.get(f"/status/events?{query}", **options)
    assert response.status == 200, await response.text()
    return Stream(response)
