"""
Bodies larger than what a gateway should ever hold, and a stream that lasts an hour: byte for byte, in constant memory.

The daemon is a process of its own, so that its memory is nobody else's. An hour is 100,000 events, as fast as they go.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import ClientSession, web

if not sys.platform.startswith("linux"):
    pytest.skip("a process's memory is read from /proc", allow_module_level=True)

from bench.machine import memory
from bench.program import free_port, python, running

TOKEN = "ph-large-token"
BLOCK = Random(1).randbytes(1 << 20)
MEGABYTES = 64
EVENTS = 100_000
MOST_GROWTH = 20.0  # MB; sockets' buffers in both directions, and what an allocator keeps

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
[upstreams.openai]
base_url = "http://127.0.0.1:{upstream}/v1"
[[keys]]
name = "k1"
secret = "sk-large"
[[proxy.callers]]
name = "test"
token = "{token}"
"""


def blocks(megabytes: int) -> Iterator[bytes]:
    """Each differs from the others, so that one which is lost, doubled or out of its place shows."""
    for number in range(megabytes):
        yield number.to_bytes(8, "big") + BLOCK[8:]


def digest_of(megabytes: int) -> str:
    whole = hashlib.sha256()
    for block in blocks(megabytes):
        whole.update(block)
    return whole.hexdigest()


def event(number: int, finish_reason: str = "null") -> bytes:
    choice = f'{{"index":0,"delta":{{"content":"word {number} "}},"logprobs":null,"finish_reason":{finish_reason}}}'
    return f'data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{choice}]}}\n\n'.encode()


@dataclass(slots=True)
class Warehouse:
    """An upstream that keeps nothing: it tells what came, or sends what it is asked for. `got` is sizes and digests."""

    got: list[tuple[int, str]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        size, whole = 0, hashlib.sha256()
        async for chunk in request.content.iter_any():
            size += len(chunk)
            whole.update(chunk)
        self.got.append((size, whole.hexdigest()))
        return web.json_response({"id": "file-1", "bytes": size})

    async def give(self, request: web.Request) -> web.StreamResponse:
        megabytes = int(request.match_info["megabytes"])
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        if request.query.get("framing") != "chunked":
            response.content_length = megabytes << 20
        await response.prepare(request)
        for block in blocks(megabytes):
            await response.write(block)
        return response

    async def talk(self, request: web.Request) -> web.StreamResponse:
        events = (await request.json())["events"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number in range(events):
            await response.write(event(number))
        await response.write(event(events, '"stop"') + b"data: [DONE]\n\n")
        return response


@dataclass(slots=True)
class Place:
    warehouse: Warehouse
    session: ClientSession = field(repr=False)
    url: str
    pid: int
    before: float = 0.0

    def begin_to_measure(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # forget the highest so far. Source: proc(5)
        self.before = memory(self.pid).resident

    def grown(self) -> float:
        """How many MB the daemon had at most since then, beyond what it had then."""
        return memory(self.pid).most - self.before


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    warehouse = Warehouse()
    house = web.Application(client_max_size=0)
    house.add_routes(
        [
            web.post("/v1/files", warehouse.take),
            web.get(r"/v1/files/{megabytes:\d+}/content", warehouse.give),
            web.post("/v1/chat/completions", warehouse.talk),
        ]
    )
    runner = web.AppRunner(house, access_log=None, shutdown_timeout=0.1)
    async with contextlib.AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        upstream, port = free_port(), free_port()
        await web.TCPSite(runner, "127.0.0.1", upstream).start()
        config = tmp_path / "posthouse.toml"
        config.touch(mode=0o600)
        config.write_text(CONFIG.format(port=port, upstream=upstream, token=TOKEN))
        arguments = python("-m", "daemon", "serve", "--config", str(config))
        daemon = await stack.enter_async_context(running("daemon", arguments, port=port, core=None, folder=tmp_path))
        headers = {"Authorization": f"Bearer {TOKEN}"}
        session = await stack.enter_async_context(ClientSession(headers=headers))
        found = Place(warehouse, session, f"http://127.0.0.1:{port}/v1", daemon.pid)
        # What code and buffers the first requests need is no growth.
        await upload(found, 9, is_chunked=False)
        await download(found, 1, framing="length")
        await stream(found, 1_000)
        yield found


async def upload(place: Place, megabytes: int, *, is_chunked: bool) -> None:
    boundary = "----large"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{boundary}\r\n'
        'Content-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    async def body() -> AsyncIterator[bytes]:
        yield head
        for block in blocks(megabytes):
            yield block
        yield tail

    whole = hashlib.sha256(head)
    for block in blocks(megabytes):
        whole.update(block)
    whole.update(tail)
    size = len(head) + (megabytes << 20) + len(tail)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    if not is_chunked:
        headers["Content-Length"] = str(size)
    async with place.session.post(f"{place.url}/files", data=body(), headers=headers) as response:
        assert (response.status, (await response.json())["bytes"]) == (200, size)
    assert place.warehouse.got.pop() == (size, whole.hexdigest())


async def download(place: Place, megabytes: int, *, framing: str) -> None:
    size, whole = 0, hashlib.sha256()
    url = f"{place.url}/files/{megabytes}/content?framing={framing}"
    async with place.session.get(url) as response:
        assert response.status == 200
        assert response.content_length == (megabytes << 20 if framing == "length" else None)
        async for chunk in response.content.iter_any():
            size += len(chunk)
            whole.update(chunk)
    assert (size, whole.hexdigest()) == (megabytes << 20, digest_of(megabytes))


async def stream(place: Place, events: int) -> None:
    asked: Any = {"model": "gpt-5", "stream": True, "events": events, "messages": []}
    seen, last = 0, b""
    async with place.session.post(f"{place.url}/chat/completions", data=json.dumps(asked)) as response:
        assert response.status == 200
        async for chunk in response.content.iter_any():
            seen += chunk.count(b"data: ")
            last = (last + chunk)[-64:]
    assert last.endswith(b"data: [DONE]\n\n")
    assert seen > events * 0.9, "all but those whose name two chunks share"


@pytest.mark.parametrize("is_chunked", [False, True], ids=["Content-Length", "chunked"])
async def test_an_upload_arrives_byte_for_byte_in_constant_memory(place: Place, is_chunked: bool) -> None:
    place.begin_to_measure()
    await upload(place, MEGABYTES, is_chunked=is_chunked)
    assert place.grown() < MOST_GROWTH


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_download_arrives_byte_for_byte_in_constant_memory(place: Place, framing: str) -> None:
    place.begin_to_measure()
    await download(place, MEGABYTES, framing=framing)
    assert place.grown() < MOST_GROWTH


async def test_a_stream_of_a_hundred_thousand_events_leaves_memory_flat(place: Place) -> None:
    place.begin_to_measure()
    await stream(place, EVENTS)
    assert place.grown() < MOST_GROWTH
