"""Streams of pictures, speech and transcripts: complete with the terminal of their path, and never ended without it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

import httpx2
import pytest
from aiohttp import ClientPayloadError
from openai import APIError, AsyncOpenAI

from daemon.demo.dialects import event
from daemon.demo.steps import CutStream, Events, Raw
from tests.flows.conftest import TOKEN, Bench, Start

PIECE = base64.b64encode(bytes(range(256)) * 300).decode()  # lines of more than 64 KiB are routine
USAGE = {"total_tokens": 30, "input_tokens": 10, "output_tokens": 20}


def named(kind: str, **fields: Any) -> bytes:
    """Pictures name their events twice: in the line `event:`, and as `type`."""
    return event({"type": kind, **fields}, kind)


def picture(kind: str) -> list[bytes]:
    frame = {"b64_json": PIECE, "created_at": 1, "size": "1024x1024", "quality": "high", "background": "opaque"}
    partial = [named(f"{kind}.partial_image", partial_image_index=n, output_format="png", **frame) for n in range(2)]
    return [*partial, named(f"{kind}.completed", output_format="png", usage=USAGE, **frame)]


# By path: what the upstream streams, its last event being the terminal.
# Source: platform.openai.com/docs/api-reference (images-streaming, audio/speech-audio-delta-event, audio/transcript-text-…).
STREAMS: dict[str, list[bytes]] = {
    "/v1/images/generations": picture("image_generation"),
    "/v1/images/edits": picture("image_edit"),
    "/v1/audio/speech": [
        *(event({"type": "speech.audio.delta", "audio": PIECE}) for _ in range(2)),
        event({"type": "speech.audio.done", "usage": USAGE}),
    ],
    "/v1/audio/transcriptions": [
        *(event({"type": "transcript.text.delta", "delta": word}) for word in ("驿", "站")),
        event({"type": "transcript.text.done", "text": "驿站", "usage": {"type": "tokens", **USAGE}}),
    ],
}
CUTS = ("clean", "inside_event", "close", "reset")
RAISED = (APIError, httpx2.HTTPError)  # the client's own error, or its transport's for a body that was broken off
Taken = Callable[[AsyncOpenAI], Awaitable[list[str]]]


async def generated(client: AsyncOpenAI) -> list[str]:
    stream = await client.images.generate(model="gpt-image-1", prompt="驿站", stream=True, partial_images=2)
    return [part.type async for part in stream]


async def edited(client: AsyncOpenAI) -> list[str]:
    file = ("a.png", b"\x89PNG", "image/png")
    stream = await client.images.edit(model="gpt-image-1", prompt="驿站", image=file, stream=True)
    return [part.type async for part in stream]


async def transcribed(client: AsyncOpenAI) -> list[str]:
    file = ("a.wav", b"RIFF")
    stream = await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file, stream=True)
    return [part.type async for part in stream]


async def spoken(client: AsyncOpenAI) -> list[str]:
    """The client hands out a speech's bytes as they come, and reads no event of it."""
    asked = client.audio.speech.with_streaming_response
    async with asked.create(model="tts", voice="alloy", input="驿站", stream_format="sse") as response:
        lines = [line async for line in response.iter_lines()]
    return [json.loads(line.removeprefix("data: "))["type"] for line in lines if line.startswith("data: ")]


CLIENTS: dict[str, Taken] = {
    "/v1/images/generations": generated,
    "/v1/images/edits": edited,
    "/v1/audio/speech": spoken,
    "/v1/audio/transcriptions": transcribed,
}
READING = [path for path in CLIENTS if CLIENTS[path] is not spoken]


def client_of(bench: Bench) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=TOKEN, base_url=f"{bench.url}/v1", max_retries=0)


async def taken(chunks: AsyncIterable[bytes], into: list[bytes]) -> None:
    async for chunk in chunks:
        into.append(chunk)  # noqa: PERF401 - what came before an exception counts


@pytest.mark.parametrize("path", STREAMS)
async def test_a_whole_stream_passes_byte_for_byte_and_ends_properly(start: Start, path: str) -> None:
    bench = await start([Events(STREAMS[path])])
    async with bench.session.post(f"{bench.url}{path}", json={"model": "m"}, headers=bench.headers) as response:
        assert await response.read() == b"".join(STREAMS[path])


@pytest.mark.parametrize("path", STREAMS)
async def test_the_official_client_reads_a_whole_stream_to_its_terminal(start: Start, path: str) -> None:
    bench = await start([Events(STREAMS[path])])
    async with client_of(bench) as client:
        types = await CLIENTS[path](client)
    assert len(types) == 3
    assert types[-1].endswith((".completed", ".done"))


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("path", READING)
async def test_the_official_client_raises_for_a_stream_that_is_cut_in_whatever_way(
    start: Start, path: str, how: Any
) -> None:
    bench = await start([CutStream(2, how, then=Events(STREAMS[path]))])
    async with client_of(bench) as client:
        with pytest.raises(RAISED):
            await CLIENTS[path](client)


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("path", STREAMS)
async def test_a_cut_stream_is_forwarded_as_far_as_it_came_and_gets_no_invented_end(
    start: Start, path: str, how: Any
) -> None:
    """Between two events it is told by an error event and a body without an end; inside one by the latter alone."""
    bench = await start([CutStream(2, how, then=Events(STREAMS[path]))])
    chunks: list[bytes] = []
    async with bench.session.post(f"{bench.url}{path}", json={"model": "m"}, headers=bench.headers) as response:
        with pytest.raises(ClientPayloadError):
            await taken(response.content.iter_any(), chunks)
    received = b"".join(chunks)
    whole = b"".join(STREAMS[path][:2])
    assert received.startswith(whole) or how == "reset", "a reset may overtake what was sent before it"
    added = received.removeprefix(whole)
    assert b"[DONE]" not in added
    if how in ("clean", "close"):
        assert json.loads(added.removeprefix(b"data: "))["error"]["code"] == "upstream_stream_truncated"


@pytest.mark.parametrize("path", READING)
async def test_an_error_event_in_place_of_the_terminal_makes_the_official_client_raise(start: Start, path: str) -> None:
    told = event({"error": {"message": "moderated", "type": "image_generation_user_error", "param": None, "code": "x"}})
    bench = await start([Events([*STREAMS[path][:2], told])])
    async with client_of(bench) as client:
        with pytest.raises(APIError, match="moderated"):
            await CLIENTS[path](client)


@pytest.mark.parametrize("path", STREAMS)
async def test_an_answer_of_such_a_path_that_is_no_stream_needs_no_terminal(start: Start, path: str) -> None:
    bench = await start([Raw(200, {"content-type": "audio/mpeg"}, b"\xff\xf3 any bytes")])
    async with bench.session.post(f"{bench.url}{path}", json={"model": "m"}, headers=bench.headers) as response:
        assert await response.read() == b"\xff\xf3 any bytes"
