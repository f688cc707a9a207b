"""The gateway's own connections upstream: what becomes of a request on one that has served before."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows.daemon_bench import TOKEN, Town, town

pytestmark = pytest.mark.usefixtures("both_lanes")

CHAT = b'{"model":"gpt-5","messages":[]}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def before(folder: Path, serve: Serve) -> AsyncIterator[Town]:
    """The daemon before an upstream whose connections `serve` each gets."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)

    def amend(document: dict[str, Any]) -> None:
        port = server.sockets[0].getsockname()[1]
        document["upstreams"]["openai"] |= {"base_url": f"http://127.0.0.1:{port}/v1"}
        document["proxy"]["queue_seconds"] = 0

    async with server, town(folder, {"sk-1": []}, (), amend=amend) as place:
        yield place


async def post(place: Town, body: bytes = CHAT) -> tuple[int, str]:
    """Status, and the code where it is an error."""
    url = f"{place.daemon.url}/v1/chat/completions"
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with place.session.post(url, data=body, headers=headers) as response:
        return response.status, json.loads(await response.read()).get("error", {}).get("code", "")


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request. Raises IncompleteReadError where there is none."""
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))


async def test_connections_that_end_behind_every_answer_cost_no_request_and_send_none_twice(tmp_path: Path) -> None:
    """Their upstream does not say that it closes: aiohttp's server and many others do so when they stop."""
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await request_of(reader))
        writer.write(ANSWER)
        writer.close()

    bodies = [CHAT[:-1] + b',"n":%d}' % number for number in range(20)]
    async with before(tmp_path, serve) as place:
        assert [await post(place, body) for body in bodies] == [(200, "")] * 20
    assert asked == bodies


async def test_what_is_lost_on_a_connection_that_has_served_before_may_have_been_answered(tmp_path: Path) -> None:
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            asked.append(await request_of(reader))
            writer.write(ANSWER)
            asked.append(await request_of(reader))
        writer.close()

    async with before(tmp_path, serve) as place:
        assert [await post(place) for _ in range(3)] == [(200, ""), (502, "upstream_outcome_unknown"), (200, "")]
    assert len(asked) == 3
