"""A caller whose stream ends while the daemon stops could not know that it was the connection's last answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

from daemon import app, config
from daemon.demo.steps import Answer
from daemon.demo.upstream import ScriptedUpstream
from daemon.secret import Sources
from tests.flows.daemon_bench import TOKEN, document


def request(*, stream: bool) -> bytes:
    body = json.dumps({"model": "gpt-5", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).encode()
    lines = ("POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}")
    head = "\r\n".join([*lines, "Content-Type: application/json", f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


async def test_the_request_behind_a_stream_that_ended_while_we_stop_is_still_answered(tmp_path: Path) -> None:
    """In thirty restarts under load every stream on a kept connection cost the request behind it: it was reset."""
    async with (
        ScriptedUpstream({"sk-1": [Answer(pieces=4, chunk_seconds=0.2), Answer()]}) as upstream,
        contextlib.AsyncExitStack() as inside,
    ):
        settings = config.parse(document(upstream.base_url, [], ["sk-1"]), Sources({}, tmp_path))
        daemon = await inside.enter_async_context(app.running(settings))
        reader, writer = await asyncio.open_connection("127.0.0.1", int(daemon.url.rpartition(":")[2]))
        writer.write(request(stream=True))
        assert b"connection: close" not in (await reader.readuntil(b"\r\n\r\n")).lower()
        stopping = asyncio.create_task(inside.aclose())

        await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.write(request(stream=False))
        async with asyncio.timeout(5):
            answer = await reader.read()
        await stopping
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in answer
