"""A caller reaches a limit of its own: what it hears, what its client then does, and that nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientError
from openai import APIError, AsyncOpenAI, RateLimitError
from yarl import URL

from daemon.demo.refusals import ServerError
from daemon.demo.steps import Answer, CutStream, Hang, Step
from proxy.callers import Caller
from tests.flows.conftest import TOKEN, Bench, Start

EVENING = datetime(2026, 11, 22, 22, 0, tzinfo=ZoneInfo("Asia/Shanghai")).timestamp()
ASKED: Any = [{"role": "user", "content": "hi"}]
CHAT = {"model": "gpt-5", "messages": ASKED}
TEAM = Caller("team", hashlib.sha256(b"ph-team").digest())


def limited(**limits: Any) -> list[Caller]:
    return [Caller("test", hashlib.sha256(TOKEN.encode()).digest(), **limits), TEAM]


def client_of(bench: Bench, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=TOKEN, base_url=f"{bench.url}/v1", **options)


async def asked(bench: Bench, token: str = TOKEN) -> tuple[int, str, dict[str, str]]:
    """Status, error code and the headers that a client obeys."""
    headers = {"Authorization": f"Bearer {token}"}
    async with bench.session.post(f"{bench.url}/v1/chat/completions", json=CHAT, headers=headers) as response:
        said = await response.json()
        assert response.headers["x-posthouse-request"]
        obeyed = ("retry-after", "retry-after-ms", "x-should-retry")
        told = {name.lower(): value for name, value in response.headers.items() if name.lower() in obeyed}
        return response.status, said.get("error", {}).get("code", ""), told


WELL: tuple[int, str, dict[str, str]] = (200, "", {})


async def test_one_more_request_than_a_minute_allows_is_told_when_to_come_again(start: Start) -> None:
    bench = await start([Answer()], callers=limited(requests_per_minute=2))
    assert [await asked(bench), await asked(bench)] == [WELL, WELL]

    bench.let_pass(20.0)
    status, code, told = await asked(bench)

    assert (status, code) == (429, "caller_limit_exceeded")
    assert told.keys() == {"retry-after", "retry-after-ms"}
    assert 39_000 < int(told["retry-after-ms"]) <= 40_000
    assert int(told["retry-after"]) == 40
    assert bench.asked("k1") == 2
    assert await asked(bench, "ph-team") == WELL

    bench.let_pass(40.0)
    assert await asked(bench) == WELL


async def test_the_official_client_waits_for_a_short_limit_and_comes_through(start: Start) -> None:
    bench = await start([Answer("hello")], callers=limited(requests_per_minute=1))
    async with client_of(bench, max_retries=1) as client:
        await client.chat.completions.create(model="gpt-5", messages=ASKED)
        bench.let_pass(59.7)

        answer = await client.chat.completions.create(model="gpt-5", messages=ASKED)

    assert answer.choices[0].message.content == "hello"
    assert bench.asked("k1") == 2


async def test_over_the_days_tokens_everything_waits_for_midnight_and_the_official_client_does_not_retry(
    start: Start,
) -> None:
    bench = await start([Answer("12345")], callers=limited(tokens_per_day=14), wall_clock=lambda: EVENING)
    for _ in range(2):  # seven tokens each: two of "hi", five of the answer
        assert await asked(bench) == WELL

    assert await asked(bench) == (
        429,
        "caller_limit_exceeded",
        {"retry-after": "7200", "retry-after-ms": "7200000", "x-should-retry": "false"},
    )
    async with client_of(bench, max_retries=5) as client:
        with pytest.raises(RateLimitError) as refused:
            await client.chat.completions.create(model="gpt-5", messages=ASKED)

    assert refused.value.code == "caller_limit_exceeded"
    assert bench.asked("k1") == 2
    assert await asked(bench, "ph-team") == WELL


async def test_the_next_day_a_caller_may_ask_again(start: Start) -> None:
    wall = [EVENING]
    bench = await start([Answer()], callers=limited(tokens_per_day=1), wall_clock=lambda: wall[0])
    assert (await asked(bench), (await asked(bench))[0]) == (WELL, 429)

    wall[0] += 7_200.0

    assert await asked(bench) == WELL


async def test_a_wall_clock_that_jumps_opens_no_minute(start: Start) -> None:
    wall = [EVENING]
    bench = await start([Answer()], callers=limited(requests_per_minute=1), wall_clock=lambda: wall[0])
    await asked(bench)

    for jump in (3_600.0, -7_200.0, 86_400.0):
        wall[0] += jump
        assert (await asked(bench))[0] == 429


async def test_one_more_request_at_once_is_told_to_come_again_in_a_second(start: Start) -> None:
    bench = await start([Hang()], callers=limited(max_concurrency=1))
    waiting = asyncio.create_task(asked(bench))
    async with asyncio.timeout(5):
        await bench.upstream.until(lambda upstream: len(upstream.requests) == 1)

    assert await asked(bench) == (
        429,
        "caller_limit_exceeded",
        {"retry-after": "1", "retry-after-ms": "1000"},
    )
    waiting.cancel()


CHAT_PATH = "/v1/chat/completions"
ENDINGS: dict[str, tuple[Step, str]] = {
    "answered": (Answer(), CHAT_PATH),
    "refused by the upstream": (ServerError(), CHAT_PATH),
    "cut": (CutStream(), CHAT_PATH),
    "reset": (CutStream(how="reset"), CHAT_PATH),
    "a path that is none": (Answer(), "/v1//x"),
    "a path that is denied": (Answer(), "/v1/projects"),
}


@pytest.mark.parametrize(("step", "path"), ENDINGS.values(), ids=ENDINGS.keys())
async def test_however_a_request_ends_its_place_is_free_for_the_next(start: Start, step: Step, path: str) -> None:
    bench = await start([step], callers=limited(max_concurrency=1))
    url = URL(f"{bench.url}{path}", encoded=True)
    for _ in range(3):
        async with bench.session.post(url, json={**CHAT, "stream": True}, headers=bench.headers) as response:
            assert response.status != 429
            with contextlib.suppress(ClientError):
                await response.read()


async def test_the_place_of_a_caller_that_left_is_free(start: Start) -> None:
    bench = await start([Answer("slow", pieces=2, chunk_seconds=60), Answer()], callers=limited(max_concurrency=1))
    async with client_of(bench, max_retries=0) as client, asyncio.timeout(10):
        async with await client.chat.completions.create(model="gpt-5", stream=True, messages=ASKED) as stream:
            await anext(aiter(stream))
            assert (await asked(bench))[0] == 429
        await bench.upstream.until(lambda upstream: upstream.requests[0].disconnected)

        assert await asked(bench) == WELL


async def test_a_caller_over_its_limit_that_expects_100_continue_gets_its_429_and_no_100(start: Start) -> None:
    bench = await start([Answer()], callers=limited(requests_per_minute=1))
    await asked(bench)
    host, port = bench.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/chat/completions HTTP/1.1\nHost: x\nAuthorization: Bearer {TOKEN}\nContent-Length: 99999"

    writer.write(f"{head}\nExpect: 100-continue\n\n".replace("\n", "\r\n").encode())
    async with asyncio.timeout(5):
        line = await reader.readline()
    writer.close()

    assert line.startswith(b"HTTP/1.1 429 ")


async def test_a_request_that_expects_100_continue_uses_up_one_place_of_the_minute_and_not_two(start: Start) -> None:
    bench = await start([Answer()], callers=limited(requests_per_minute=2))
    url = f"{bench.url}/v1/chat/completions"
    async with bench.session.post(url, json=CHAT, headers=bench.headers, expect100=True) as response:
        assert response.status == 200

    assert [await asked(bench), (await asked(bench))[0]] == [WELL, 429]


async def test_a_cut_stream_counts_towards_the_day(start: Start) -> None:
    """Whoever leaves early, or is left, has used what came."""
    bench = await start([CutStream(after_pieces=3)], callers=limited(tokens_per_day=5))
    async with client_of(bench, max_retries=0) as client:
        stream = await client.chat.completions.create(model="gpt-5", stream=True, messages=ASKED)
        with pytest.raises(APIError):
            _ = [chunk async for chunk in stream]

    assert (await asked(bench))[0] == 429
