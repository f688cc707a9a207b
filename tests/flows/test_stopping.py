"""Told to end while a model hangs: callers and questions share one grace, and the question stays to be asked again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from aiohttp import ClientPayloadError, ClientSession

from bot.exchange import State
from daemon import app, config
from daemon.demo.steps import FOREVER, Answer
from daemon.demo.subscriber import WeChatSide
from daemon.demo.upstream import ScriptedUpstream
from daemon.secret import Sources
from daemon.sqlite.reader import read_pending
from tests.flows.daemon_bench import SAFE, TOKEN, document, path_of

DRAIN_SECONDS = 2.0


async def heard(session: ClientSession, url: str) -> tuple[bytes, bool]:
    """All that came of a stream, and whether it broke off."""
    body = {"model": "gpt-5", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
    told = b""
    try:
        async with session.post(url, headers={"Authorization": f"Bearer {TOKEN}"}, json=body) as response:
            while piece := await response.content.readany():
                told += piece
    except ClientPayloadError:
        return told, True
    return told, False


async def test_a_hung_stream_and_a_hung_question_wait_side_by_side_at_the_end(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream({"sk-1": [Answer(chunk_seconds=FOREVER)]}) as upstream,
        ClientSession() as session,
        contextlib.AsyncExitStack() as outside,
    ):
        settings = config.parse(document(upstream.base_url, [SAFE], ["sk-1"]), Sources({}, tmp_path))
        inside = await outside.enter_async_context(contextlib.AsyncExitStack())
        daemon = await inside.enter_async_context(app.running(settings, drain_seconds=DRAIN_SECONDS))
        side = await outside.enter_async_context(WeChatSide(f"{daemon.url}{path_of(SAFE)}", SAFE))
        asking = asyncio.create_task(side.say("o-1", "在吗"))
        reading = asyncio.create_task(heard(session, f"{daemon.url}/v1/chat/completions"))
        async with asyncio.timeout(5):
            await upstream.until(lambda seen: len(seen.requests) == 2)

        began = time.monotonic()
        await inside.aclose()
        took = time.monotonic() - began

        told, is_broken = await reading
        asking.cancel()
        await asyncio.wait([asking])

    assert DRAIN_SECONDS <= took < 1.75 * DRAIN_SECONDS, "one grace, and not one after another"
    assert is_broken
    assert b"upstream_stream_truncated" in told
    assert b"[DONE]" not in told
    assert [exchange.state for exchange in read_pending(settings.server.database, limit=5)] == [State.THINKING]
