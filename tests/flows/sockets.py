"""Callers of the gateway who talk over WebSockets: what the tests of that have in common."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientWebSocketResponse
from yarl import URL

from proxy.callers import Caller
from tests.flows.conftest import TOKEN, Bench

PATH = "/v1/realtime?model=gpt-realtime"
TEAM = Caller("team", hashlib.sha256(b"ph-team").digest())


def limited(**limits: Any) -> list[Caller]:
    return [Caller("test", hashlib.sha256(TOKEN.encode()).digest(), **limits), TEAM]


@asynccontextmanager
async def opened(bench: Bench, path: str = PATH, **options: Any) -> AsyncIterator[ClientWebSocketResponse]:
    """A connection that has heard its first event."""
    given: dict[str, Any] = {"headers": bench.headers, "max_msg_size": 0, "autoclose": False, **options}
    async with asyncio.timeout(20), bench.session.ws_connect(bench.url + path, **given) as socket:
        first = await socket.receive_json()
        assert first["type"] == "session.created"
        yield socket


async def refused(bench: Bench, path: str = PATH, **options: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, error and headers of an upgrade that is answered with a plain answer."""
    nonce = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    headers = {**nonce, "Sec-WebSocket-Key": "AQIDBAUGBwgJCgsMDQ4PEA==", **bench.headers, **options.pop("headers", {})}
    sent = {name: value for name, value in headers.items() if value}
    url = URL(bench.url + path, encoded=True)
    async with bench.session.request(options.pop("method", "GET"), url, headers=sent) as response:
        assert response.headers["x-posthouse-request"]
        fault = json.loads(await response.read())["error"]
        assert set(fault) == {"message", "type", "param", "code"}
        return response.status, fault, {name.lower(): value for name, value in response.headers.items()}


def in_flight(bench: Bench) -> int:
    return sum(view.in_flight for view in bench.pool.snapshot())


async def released(bench: Bench) -> None:
    """The pool gets its key back last, within a second of the end."""
    async with asyncio.timeout(1):
        while in_flight(bench):
            await asyncio.sleep(0.005)


async def said(socket: ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """The next event of this kind."""
    while (event := await socket.receive_json())["type"] != kind:
        pass
    return dict(event)


# --- byte by byte


@asynccontextmanager
async def raw_handshake(
    bench: Bench, more: str = "", *, limit: int = 1 << 16
) -> AsyncIterator[tuple[str, asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = bench.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=limit)
    head = (
        f"GET {PATH} HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}\nConnection: Upgrade\nUpgrade: websocket\n"
        f"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\n{more}\n"
    )
    try:
        async with asyncio.timeout(20):
            writer.write(head.replace("\n", "\r\n").encode())
            yield (await reader.readuntil(b"\r\n\r\n")).decode().strip(), reader, writer
    finally:
        writer.close()


async def goes_out(socket: ClientWebSocketResponse, message: bytes) -> bool:
    try:
        async with asyncio.timeout(0.5):
            await socket.send_bytes(message)
    except TimeoutError:
        return False
    return True


def masked(first: int, payload: bytes) -> bytes:
    assert len(payload) < 126
    return bytes([first, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def frame_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first, length = await reader.readexactly(2)
    if length == 126:
        length = int.from_bytes(await reader.readexactly(2), "big")
    return first, await reader.readexactly(length)
