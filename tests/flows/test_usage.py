"""What callers and the bot use is counted beside the stream, kept over a kill, and shown by `posthouse usage`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientSession
from openai import APIError, AsyncOpenAI

from daemon.demo.steps import Answer, CutStream, Raw
from daemon.demo.upstream import ScriptedUpstream
from daemon.sqlite.database import Database
from daemon.sqlite.reader import read_usage
from daemon.sqlite.usage import SqliteUsage
from proxy.reception import GatewaySettings
from proxy.usage_book import Days
from proxy.usage_ledger import Usage
from tests.flows.conftest import TOKEN, Bench, Start
from tests.flows.daemon_bench import TOKEN as DAEMON_TOKEN
from tests.flows.daemon_bench import town

ROOT = Path(__file__).parents[2]
ASKED: Any = [{"role": "user", "content": "a question"}]  # ten tokens: the scripted upstream counts characters
ANSWER = "an answer"  # nine


def client_of(bench: Bench) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=TOKEN, base_url=f"{bench.url}/v1", max_retries=0)


def counted(bench: Bench) -> Usage:
    [row] = bench.book.unsaved()
    assert (row.caller, row.key, row.model, row.requests) == ("test", "k1", "gpt-5", 1)
    return row


async def test_a_whole_answer_counts_what_it_says(start: Start) -> None:
    bench = await start([Answer(ANSWER)])
    async with client_of(bench) as client:
        await client.chat.completions.create(model="gpt-5", messages=ASKED)

    used = counted(bench)
    assert (used.kind, used.prompt_tokens, used.completion_tokens) == ("reported", 10, 9)


async def test_a_stream_with_include_usage_counts_what_it_says(start: Start) -> None:
    bench = await start([Answer(ANSWER)])
    async with client_of(bench) as client:
        stream = await client.chat.completions.create(
            model="gpt-5", messages=ASKED, stream=True, stream_options={"include_usage": True}
        )
        *_, last = [chunk async for chunk in stream]

    used = counted(bench)
    assert last.usage is not None
    assert (used.kind, used.prompt_tokens, used.completion_tokens) == ("reported", 10, 9)
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (10, 9)


async def test_a_stream_that_does_not_say_is_estimated_and_nothing_is_added_to_the_request(start: Start) -> None:
    bench = await start([Answer("word " * 400, pieces=40)])
    async with client_of(bench) as client:
        stream = await client.chat.completions.create(model="gpt-5", messages=ASKED, stream=True)
        _ = [chunk async for chunk in stream]

    used = counted(bench)
    assert used.kind == "estimated"
    assert used.completion_tokens == pytest.approx(500, rel=0.1)
    assert used.prompt_tokens == pytest.approx(len(bench.upstream.requests[0].body) / 4, abs=1)
    assert b"stream_options" not in bench.upstream.requests[0].body


@pytest.mark.parametrize("streams", [True, False])
async def test_a_response_counts_what_it_says(start: Start, streams: bool) -> None:
    bench = await start([Answer(ANSWER)])
    async with client_of(bench) as client:
        if streams:
            _ = [event async for event in await client.responses.create(model="gpt-5", input="a question", stream=True)]
        else:
            await client.responses.create(model="gpt-5", input="a question")

    used = counted(bench)
    assert (used.kind, used.prompt_tokens, used.completion_tokens) == ("reported", 10, 9)


async def test_embeddings_count_what_they_say(start: Start) -> None:
    answer = json.dumps({"object": "list", "data": [], "usage": {"prompt_tokens": 7, "total_tokens": 7}}).encode()
    bench = await start([Raw(200, {"content-type": "application/json"}, answer)])
    async with client_of(bench) as client:
        await client.embeddings.create(model="gpt-5", input="a question", encoding_format="float")

    used = counted(bench)
    assert (used.kind, used.prompt_tokens, used.completion_tokens) == ("reported", 7, 0)


@pytest.mark.parametrize("how", ["clean", "inside_event", "close", "reset"])
async def test_a_cut_stream_counts_what_came(start: Start, how: Any) -> None:
    bench = await start([CutStream(after_pieces=2, how=how, then=Answer("word " * 80, pieces=4))])
    async with client_of(bench) as client:
        stream = await client.chat.completions.create(model="gpt-5", messages=ASKED, stream=True)
        with pytest.raises((APIError, OSError)):
            _ = [chunk async for chunk in stream]

    used = counted(bench)
    assert used.kind == "estimated"
    assert 30 < used.completion_tokens < 90  # two of four pieces are 200 bytes


async def test_a_caller_that_leaves_has_used_what_came(start: Start) -> None:
    bench = await start([Answer("word " * 80, pieces=2, chunk_seconds=60)])
    async with client_of(bench) as client, asyncio.timeout(10):
        async with await client.chat.completions.create(model="gpt-5", messages=ASKED, stream=True) as stream:
            async for chunk in stream:
                if chunk.choices[0].delta.content:
                    break
        await bench.upstream.until(lambda upstream: upstream.requests[0].disconnected)

    assert 30 < counted(bench).completion_tokens < 90


async def test_an_error_and_a_caller_with_a_key_of_its_own_use_nothing(start: Start) -> None:
    bench = await start([Raw(400, {}, b"{}"), Answer()], settings=GatewaySettings(passthrough=True))
    url, body = f"{bench.url}/v1/chat/completions", {"model": "gpt-5", "messages": ASKED}
    for token, status in ((TOKEN, 400), ("sk-1", 200)):
        headers = {"Authorization": f"Bearer {token}"}
        async with bench.session.post(url, json=body, headers=headers) as response:
            assert response.status == status

    assert bench.book.unsaved() == ()


async def test_a_request_that_rotated_is_counted_once_with_the_key_that_answered(start: Start) -> None:
    bench = await start([Raw(429, {"retry-after": "9"}, b"{}")], [Answer(ANSWER)])
    async with client_of(bench) as client:
        await client.chat.completions.create(model="gpt-5", messages=ASKED)

    [row] = bench.book.unsaved()
    assert (row.key, row.requests) == ("k2", 1)


# --- the daemon


async def ask(url: str, *, model: str = "gpt-5") -> int:
    body = {"model": model, "messages": ASKED}
    async with (
        ClientSession(headers={"Authorization": f"Bearer {DAEMON_TOKEN}"}) as session,
        session.post(f"{url}/v1/chat/completions", json=body) as response,
    ):
        return response.status


async def test_the_questions_of_subscribers_are_the_bots(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer(ANSWER)]}) as place:
        [side] = place.sides.values()
        await side.say("o-1", "a question")

    [row] = read_usage(tmp_path / "posthouse.db")
    assert (row.caller, row.key, row.model, row.kind) == ("bot", "k1", "gpt-5", "reported")
    assert row.completion_tokens == 9


async def test_what_was_used_is_written_when_the_daemon_ends_and_models_nobody_named_are_one(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer(ANSWER)]}, ()) as place:
        for model in ("gpt-5", "gpt-5", "invented-1", "invented-2"):
            assert await ask(place.daemon.url, model=model) == 200

    rows = read_usage(tmp_path / "posthouse.db")
    assert [(row.model, row.requests, row.prompt_tokens, row.completion_tokens) for row in rows] == [
        ("gpt-5", 2, 20, 18),
        ("other", 2, 20, 18),
    ]


async def test_what_was_used_long_ago_is_forgotten(tmp_path: Path) -> None:
    """It was kept for good."""
    days, file = Days(ZoneInfo("Asia/Shanghai"), time.time), tmp_path / "posthouse.db"
    async with Database(file) as database:
        await SqliteUsage(database).add(
            [Usage(days.ago(back), "laptop", "k1", "gpt-5", "reported", 1) for back in (390, 410)]
        )
    async with town(tmp_path, {"sk-1": [Answer(ANSWER)]}, ()), asyncio.timeout(10):
        while len(read_usage(file)) == 2:
            await asyncio.sleep(0.01)  # the database is the only sign
    [row] = read_usage(file)
    assert days.ago(400) < row.day < days.today()


@asynccontextmanager
async def daemon(folder: Path, base_url: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A daemon as a process of its own, and its URL. Nineteen tokens a question; twenty a day."""
    (folder / "posthouse.toml").write_text(f"""
[server]
listen = ["127.0.0.1:0"]
[upstreams.openai]
base_url = "{base_url}"
[[keys]]
name = "k1"
secret = "sk-1"
models = ["gpt-5"]
[[proxy.callers]]
name = "laptop"
token = "{DAEMON_TOKEN}"
tokens_per_day = 20
""")
    (folder / "posthouse.toml").chmod(0o600)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "daemon", "serve", cwd=folder, env=environ, stderr=asyncio.subprocess.PIPE
    )
    assert child.stderr is not None
    try:
        started = await anext(line async for line in child.stderr if b"daemon.started" in line)
        yield child, json.loads(started)["url"]
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def test_a_kill_does_not_give_a_caller_its_day_back_and_the_command_shows_what_it_used(tmp_path: Path) -> None:
    async with ScriptedUpstream({"sk-1": [Answer(ANSWER)]}) as upstream, asyncio.timeout(60):
        async with daemon(tmp_path, upstream.base_url) as (child, url):
            assert [await ask(url), await ask(url), await ask(url)] == [200, 200, 429]
            while sum(row.requests for row in read_usage(tmp_path / "posthouse.db")) < 2:
                await asyncio.sleep(0.05)  # the database is the only sign: within a second it is there
            child.kill()

        async with daemon(tmp_path, upstream.base_url) as (_, url):
            assert await ask(url) == 429

            command = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "daemon", "usage", "--json"),
                cwd=tmp_path,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.PIPE,
            )
            shown, _ = await command.communicate()

    [row] = json.loads(shown)
    assert (row.pop("day")[:2], command.returncode) == ("20", 0)
    assert row == {
        "caller": "laptop",
        "key": "k1",
        "model": "gpt-5",
        "kind": "reported",
        "requests": 2,
        "prompt_tokens": 20,
        "completion_tokens": 18,
        "cached_tokens": 0,
    }
