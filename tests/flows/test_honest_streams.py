"""A stream is passed on as it comes, and never ended as if it were whole when it is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterable
from typing import Any

import httpx2
import pytest
from aiohttp import ClientError, ClientPayloadError
from openai import APIError, AsyncOpenAI
from structlog.testing import capture_logs

from daemon.demo.refusals import Limited
from daemon.demo.steps import Answer, Comments, CutStream, ErrorInStream, Raw, Step
from tests.flows.conftest import TOKEN, Bench, Start

CUTS = {
    "ends early without its terminal": CutStream(2, "clean"),
    "is cut inside an event": CutStream(2, "inside_event"),
    "loses its connection": CutStream(2, "close"),
    "is reset": CutStream(2, "reset"),
    "has an error inside": ErrorInStream(after_pieces=2),
}
RAISED = (APIError, httpx2.HTTPError)  # the client's own error, or its transport's for a body that was broken off
BODY = {"model": "gpt-5", "stream": True, "messages": []}


def client_of(bench: Bench) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=TOKEN, base_url=f"{bench.url}/v1", max_retries=0)


async def taken(stream: AsyncIterable[Any], into: list[Any]) -> None:
    async for event in stream:
        into.append(event)  # noqa: PERF401 - what came before an exception counts


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
async def test_a_chat_stream_that_is_not_whole_makes_the_official_client_raise(start: Start, cut: Step) -> None:
    bench = await start([cut])
    chunks: list[Any] = []
    async with client_of(bench) as client:
        said = [{"role": "user", "content": "hi"}]
        stream = await client.chat.completions.create(model="gpt-5", stream=True, messages=said)
        with pytest.raises(RAISED):
            await taken(stream, chunks)
    assert any(chunk.choices[0].delta.content for chunk in chunks), "what came before the cut reaches the caller"


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
async def test_a_legacy_stream_that_is_not_whole_makes_the_official_client_raise(start: Start, cut: Step) -> None:
    bench = await start([cut])
    async with client_of(bench) as client:
        stream = await client.completions.create(model="davinci", prompt="hi", stream=True)
        with pytest.raises(RAISED):
            await taken(stream, [])


@pytest.mark.parametrize("cut", list(CUTS.values())[:4], ids=list(CUTS)[:4])
async def test_a_responses_stream_that_is_not_whole_makes_the_official_client_raise(start: Start, cut: Step) -> None:
    bench = await start([cut])
    async with client_of(bench) as client:
        stream = await client.responses.create(model="gpt-5", input="hi", stream=True)
        with pytest.raises(RAISED):
            await taken(stream, [])


async def test_an_error_event_inside_a_responses_stream_is_passed_on_as_it_came(start: Start) -> None:
    """The client gives it out as an event of type "error": the upstream was honest, and nothing of ours is added."""
    bench = await start([ErrorInStream(after_pieces=2)])
    events: list[Any] = []
    async with client_of(bench) as client:
        await taken(await client.responses.create(model="gpt-5", input="hi", stream=True), events)
    assert [event.type for event in events].count("error") == 1


async def test_an_early_end_at_an_event_boundary_is_told_by_an_error_event_without_done(start: Start) -> None:
    bench = await start([CutStream(2, "clean")])
    chunks: list[bytes] = []
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=BODY, headers=bench.headers) as response:
        with pytest.raises(ClientPayloadError):
            await taken(response.content.iter_any(), chunks)
    received = b"".join(chunks)
    last = received.rstrip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == "upstream_stream_truncated"
    assert b"[DONE]" not in received


async def test_a_body_that_is_no_stream_is_never_finished_when_it_was_cut(start: Start) -> None:
    bench = await start([CutStream(0, "close")])
    body = {"model": "gpt-5", "messages": []}
    with pytest.raises(ClientError):
        async with bench.session.post(f"{bench.url}/v1/chat/completions", json=body, headers=bench.headers) as response:
            await response.read()


async def test_a_stream_passes_byte_for_byte(start: Start) -> None:
    odd = b'\xef\xbb\xbf: hello\r\n\r\ndata:{"choices":[{"index":0,"delta":{"content":"\xe9\xa9\xbf"}}]}\r\n\r\n' + (
        b"data: " + b"x" * 200_000 + b"\n\n" + b"data: [DONE]\n\n"
    )
    bench = await start([Raw(200, {"content-type": "text/event-stream"}, odd)])
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=BODY, headers=bench.headers) as response:
        assert await response.read() == odd
        assert response.headers["X-Accel-Buffering"] == "no"


async def test_a_stream_that_falls_silent_is_told_to_the_caller(start: Start) -> None:
    bench = await start([Answer("one two", pieces=2, chunk_seconds=30)], upstream_settings={"idle_seconds": 0.2})
    async with client_of(bench) as client:
        stream = await client.chat.completions.create(
            model="gpt-5", stream=True, messages=[{"role": "user", "content": "hi"}]
        )
        with pytest.raises(APIError, match="ended early"):
            await taken(stream, [])


async def test_the_hold_ends_two_seconds_after_a_first_comment(start: Start) -> None:
    bench = await start([Comments(1, seconds=30, then=ErrorInStream(refusal=Limited()))], [Answer()])
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=BODY, headers=bench.headers) as response:
        assert await response.content.readany() == b": keep-alive\n\n"
        response.close()
    assert bench.asked("k2") == 0


@pytest.mark.parametrize(("step", "was_cut"), [(CutStream(2, "clean"), True), (Answer(), False)], ids=["cut", "whole"])
async def test_the_log_tells_an_answer_that_broke_off_from_a_whole_one(start: Start, step: Step, was_cut: bool) -> None:
    bench = await start([step])
    with capture_logs() as logs:
        async with bench.session.post(f"{bench.url}/v1/chat/completions", json=BODY, headers=bench.headers) as response:
            with contextlib.suppress(ClientPayloadError):
                await response.read()
        async with asyncio.timeout(5):
            while not (finished := [event for event in logs if event["event"] == "request.finished"]):
                await asyncio.sleep(0)
    assert [event["was_cut"] for event in finished] == [was_cut]
