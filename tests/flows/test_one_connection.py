"""
What a connection has said before, its caller's or its upstream's, decides nothing about the next request on it.

Tokens, limits, keys and lengths change between two requests that are otherwise alike, byte for byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from daemon.demo.steps import Answer
from proxy.callers import Caller as Issued
from tests.flows import several
from tests.flows.conftest import Start
from tests.flows.raw import (
    CALLERS,
    LANES,
    Caller,
    FarEnd,
    Heard,
    House,
    RawUpstream,
    Told,
    chat,
    echo,
    head,
    house,
    post,
    until_heard,
)

ANNA, BERT = CALLERS.values()
EXPIRED = date(2020, 1, 1)


@pytest.fixture(params=LANES)
def fast_lane(request: pytest.FixtureRequest) -> bool:
    return LANES[request.param]


@pytest.fixture
async def at(tmp_path: Path, fast_lane: bool) -> AsyncIterator[House]:
    async with house(tmp_path, fast_lane=fast_lane, keys=2) as opened:
        yield opened


async def ask(caller: Caller, data: bytes) -> Told:
    await caller.say(data)
    return await caller.told()


# --- who asks


async def test_each_request_of_a_connection_is_its_own_token_s(at: House) -> None:
    """The tokens are of one length, and the heads alike but for them."""
    tokens = [
        ANNA,
        BERT,
        ANNA,
        "ph-evil-token",
        BERT,
        ANNA[:-1] + "m",
        ANNA,
        ANNA.upper(),
        ANNA.replace("anna", "annb"),
        BERT,
    ]
    async with at.caller() as caller:
        statuses = [(await ask(caller, post(chat("x"), token=token))).status for token in tokens]
    assert statuses == [200 if token in (ANNA, BERT) else 401 for token in tokens]


async def test_what_one_caller_made_is_not_another_s_on_the_same_connection(tmp_path: Path, fast_lane: bool) -> None:
    """Who asks is not only whether it may ask: what a request names is looked up for its own caller."""
    made = "resp_0123456789Abcdef"

    async def play(heard: Heard, end: FarEnd) -> None:
        body = json.dumps({"id": made, "object": "response"}).encode()
        end.say(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    body = json.dumps({"model": "gpt-5", "input": "go on", "previous_response_id": made}).encode()
    first = json.dumps({"model": "gpt-5", "input": "x"}).encode()
    path = "POST /v1/responses HTTP/1.1"

    def of(token: str, said: bytes) -> bytes:
        return head(f"Content-Length: {len(said)}", token=token, first=path) + said

    async with house(tmp_path, play, fast_lane=fast_lane) as at, at.caller() as caller:
        statuses = [
            (await ask(caller, of(token, said))).status
            for token, said in ((ANNA, first), (ANNA, body), (BERT, body), (ANNA, body), (BERT, body))
        ]
    assert statuses == [200, 200, 404, 200, 404]


CHANGES: dict[str, tuple[dict[str, Any], int, str]] = {
    "its token is taken away": ({"callers": [{"name": "bert", "token": BERT}]}, 401, "invalid_api_key"),
    "its token expires": (
        {"callers": [{"name": "anna", "token": ANNA, "expires": EXPIRED}, {"name": "bert", "token": BERT}]},
        401,
        "invalid_api_key",
    ),
    "it may not use the model any more": (
        {"callers": [{"name": "anna", "token": ANNA, "models": ["gpt-4*"]}, {"name": "bert", "token": BERT}]},
        403,
        "model_not_allowed",
    ),
    "the path is denied": ({"deny": ["/v1/chat/*"]}, 403, "path_not_allowed"),
}


@pytest.mark.parametrize(("change", "status", "code"), CHANGES.values(), ids=CHANGES.keys())
async def test_a_reload_holds_from_the_next_request_on_also_on_a_connection_that_is_open(
    at: House, change: dict[str, Any], status: int, code: str
) -> None:
    before = {name: at.written["proxy"].get(name) for name in change}
    async with at.caller() as caller:
        assert [(await ask(caller, post(chat("x")))).status for _ in range(3)] == [200] * 3
        at.reload(**change)
        for _ in range(2):
            told = await ask(caller, post(chat("x")))
            assert (told.status, told.code) == (status, code)
        at.reload(**{name: value if value is not None else [] for name, value in before.items()})
        assert (await ask(caller, post(chat("x")))).status == 200
    assert len(at.upstream.heard) == 4


async def test_a_key_that_was_replaced_goes_upstream_no_more_on_any_connection(at: House) -> None:
    """The caller's connection and the upstream's are both the same as before."""
    async with at.caller() as caller:
        keys = {(await ask(caller, post(chat(f"x{number}")))).json["key"] for number in range(4)}
        assert keys <= {"sk-k1", "sk-k2"}
        at.written["keys"] = [several.key("n1", "openai")]
        at.reload()
        assert {(await ask(caller, post(chat(f"y{number}")))).json["key"] for number in range(4)} == {"sk-n1"}
    assert len(at.upstream.ends) == 1


async def test_an_upstream_that_was_replaced_gets_nothing_more(at: House) -> None:
    other = RawUpstream()
    async with other.listening() as url, at.caller() as caller:
        assert (await ask(caller, post(chat("x")))).status == 200
        at.written["upstreams"]["openai"]["base_url"] = url
        at.reload()
        assert (await ask(caller, post(chat("y")))).status == 200
        assert (len(at.upstream.heard), len(other.heard)) == (1, 1)
        assert url.removeprefix("http://").removesuffix("/v1").encode() in other.heard[0].head


@pytest.mark.parametrize(
    ("limit", "answers"),
    [({"requests_per_minute": 2}, [200, 200, 429, 200, 429]), ({"models": ["gpt-5-mini"]}, [403, 403, 403, 200, 403])],
    ids=["requests", "models"],
)
async def test_a_limit_is_its_caller_s_and_met_at_every_request(
    tmp_path: Path, fast_lane: bool, limit: dict[str, Any], answers: list[int]
) -> None:
    callers: list[dict[str, Any]] = [{"name": "anna", "token": ANNA, **limit}, {"name": "bert", "token": BERT}]
    async with house(tmp_path, fast_lane=fast_lane, callers=callers) as at, at.caller() as caller:
        requests = [post(chat("x"), token=token) for token in (ANNA, ANNA, ANNA, BERT, ANNA)]
        assert [(await ask(caller, data)).status for data in requests] == answers
        async with at.caller() as another:
            await another.say(b"".join(requests))
            limited = [(await another.told()).status for _ in requests]
        assert [status == 200 for status in limited] == [False] * 3 + [True, False]


async def test_tokens_spent_by_one_answer_are_missing_at_the_next_request_of_its_connection(
    tmp_path: Path, fast_lane: bool
) -> None:
    async def play(heard: Heard, end: FarEnd) -> None:
        told = json.dumps({"usage": {"prompt_tokens": 60, "completion_tokens": 60, "total_tokens": 120}}).encode()
        end.say(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told)
        )

    callers: list[dict[str, Any]] = [
        {"name": "anna", "token": ANNA, "tokens_per_day": 100},
        {"name": "bert", "token": BERT},
    ]
    async with house(tmp_path, play, fast_lane=fast_lane, callers=callers) as at, at.caller() as caller:
        statuses = [(await ask(caller, post(chat("x"), token=token))).status for token in (ANNA, ANNA, BERT, ANNA)]
    assert statuses == [200, 429, 200, 429]


async def test_time_that_passes_holds_on_a_connection_that_stays_open(start: Start) -> None:
    """Its token expires, and its minute is over, without a word to anybody."""
    now = [1_000.0]
    callers = [
        Issued("anna", hashlib.sha256(ANNA.encode()).digest(), expires_at=2_000.0),
        Issued("bert", hashlib.sha256(BERT.encode()).digest(), requests_per_minute=2),
    ]
    bench = await start([Answer()], callers=callers, wall_clock=lambda: now[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", int(bench.url.rpartition(":")[2]))
    caller = Caller(reader, writer)
    before = [(await ask(caller, post(chat("x"), token=token))).status for token in (ANNA, BERT, BERT, BERT)]
    now[0] = 2_000.0
    bench.let_pass(61.0)
    after = [(await ask(caller, post(chat("x"), token=token))).status for token in (ANNA, BERT, ANNA)]
    writer.close()
    assert (before, after) == ([200, 200, 200, 429], [401, 200, 401])


# --- what is asked


async def test_the_same_head_before_bodies_of_other_lengths_is_another_request_each_time(at: House) -> None:
    words = ["", "x", "x" * 8, "x" * 40, "x" * 940, "x", "x" * 9_940, "", "x" * 60_000, "x" * 70_000, "x"]
    async with at.caller() as caller:
        for word in words:
            assert (await ask(caller, post(chat(word)))).json["asked"] == chat(word).decode()
    assert [heard.body for heard in at.upstream.heard] == [chat(word) for word in words]


ALIKE: dict[str, tuple[list[str], list[str]]] = {
    "the case of a name": (["X-Ab: 1"], ["x-aB: 1"]),
    "the case of a value": (["X-A: one"], ["X-A: One"]),
    "one byte": (["X-A: 1"], ["X-A: 2"]),
    "the order": (["X-A: 1", "X-B: 2"], ["X-B: 2", "X-A: 1"]),
    "a line more": (["X-A: 1"], ["X-A: 1", "X-B: 2"]),
    "whose value is whose": (["X-A: 1", "X-B: 2"], ["X-A: 2", "X-B: 1"]),
    "where a line ends": (["X-A: 1", "X-B: 2"], ["X-A: 1X-B: 2"]),
    "whether it repeats another": (["Idempotency-Key: 1"], ["Idempotency-Key: 2"]),
}


@pytest.mark.parametrize(("lines", "others"), ALIKE.values(), ids=ALIKE.keys())
async def test_two_heads_that_are_almost_alike_are_each_passed_on_as_they_are(
    at: House, lines: list[str], others: list[str]
) -> None:
    async with at.caller() as caller:
        for given in (lines, others, lines, others):
            assert (await ask(caller, post(chat("x"), *given))).status == 200
    assert [own_lines(heard) for heard in at.upstream.heard] == [lines, others] * 2


def own_lines(heard: Heard) -> list[str]:
    return [line for line in heard.head.decode().split("\r\n") if line.lower().startswith(("x-", "idempotency"))]


async def test_what_connection_names_is_taken_off_that_request_alone(at: House) -> None:
    kept, named = ["X-A: 1", "Connection: keep-alive"], ["X-A: 1", "Connection: keep-alive, x-a"]
    async with at.caller() as caller:
        for given in (kept, named, kept):
            assert (await ask(caller, post(chat("x"), *given))).status == 200
    assert [own_lines(heard) for heard in at.upstream.heard] == [["X-A: 1"], [], ["X-A: 1"]]


async def test_the_path_and_the_model_of_each_request_are_its_own(at: House) -> None:
    paths = ["chat/completions", "embeddings", "chat/completions", "responses", "embeddings"]
    async with at.caller() as caller:
        for path in paths:
            body = json.dumps({"model": path.replace("/", "-"), "input": "x"}).encode()
            first = f"POST /v1/{path} HTTP/1.1"
            assert (await ask(caller, head(f"Content-Length: {len(body)}", first=first) + body)).status == 200
    assert [heard.head.split(b" ")[1].decode() for heard in at.upstream.heard] == [f"/v1/{path}" for path in paths]


# --- several at once


async def test_callers_who_share_the_connections_upstream_get_each_their_own_answer(at: House) -> None:
    """Sixty at once, in waves, each with its own words: every answer says whose question it is."""

    async def play(heard: Heard, end: FarEnd) -> None:
        for _ in range(len(heard.body) % 7):
            await asyncio.sleep(0)
        await echo(heard, end)

    at.upstream.play = play

    async def one(number: int) -> None:
        async with at.caller() as caller:
            for turn in range(5):
                word = "x" * (number % 13) + f"{number}-{turn}"
                told = await ask(caller, post(chat(word), token=(ANNA, BERT)[number % 2]))
                assert told.json["asked"] == chat(word).decode()

    await asyncio.gather(*(one(number) for number in range(60)))
    assert len({heard.body for heard in at.upstream.heard}) == len(at.upstream.heard) == 300
    assert len(at.upstream.ends) <= 60


async def test_a_caller_s_own_key_and_the_pool_s_never_meet(tmp_path: Path, fast_lane: bool) -> None:
    """`passthrough`: they share the connections upstream, and on one caller's connection both kinds alternate."""

    async def one(at: House, number: int) -> None:
        async with at.caller() as caller:
            for turn in range(6):
                own = f"sk-own-{number}-{turn}"
                is_own = (number + turn) % 2 == 0
                lines = ["OpenAI-Organization: org-mine", "OpenAI-Project: proj-mine"]
                told = await ask(caller, post(chat(own), *lines, token=own if is_own else ANNA))
                assert told.json["asked"] == chat(own).decode()
                assert told.json["key"] == (own if is_own else "sk-k1")

    async with house(tmp_path, fast_lane=fast_lane, passthrough=True) as at:
        await asyncio.gather(*(one(at, number) for number in range(20)))
    for heard in at.upstream.heard:
        has_mine = b"org-mine" in heard.head or b"proj-mine" in heard.head
        assert has_mine == heard.key.startswith("sk-own-")
        assert ANNA.encode() not in heard.head


async def test_a_rotation_takes_the_first_key_s_credentials_off(tmp_path: Path, fast_lane: bool) -> None:
    async def play(heard: Heard, end: FarEnd) -> None:
        if heard.key == "sk-k1":
            end.say(b"HTTP/1.1 429 X\r\nRetry-After: 60\r\nContent-Length: 2\r\n\r\n{}")
        else:
            await echo(heard, end)

    async with house(tmp_path, play, fast_lane=fast_lane, keys=3) as at, at.caller() as caller:
        for number in range(4):
            told = await ask(caller, post(chat(str(number))))
            assert (told.status, told.json["asked"]) == (200, chat(str(number)).decode())
    assert [heard.key for heard in at.upstream.heard].count("sk-k1") == 1
    assert all(heard.head.count(b"Authorization") == 1 for heard in at.upstream.heard)


# --- callers who leave


LEAVINGS = {
    "closes": lambda caller: caller.writer.close(),
    "closes its half": lambda caller: caller.writer.write_eof(),
    "resets": lambda caller: caller.reset(),
}
HEAD_OF_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
STAGES = {
    "before an answer": b"",
    "within its head": HEAD_OF_ANSWER[:30],
    "behind its head": HEAD_OF_ANSWER,
    "within a stream": HEAD_OF_ANSWER + b"%x\r\n%b\r\n" % (len(EVENT), EVENT),
}


@pytest.mark.parametrize("leave", LEAVINGS.values(), ids=LEAVINGS.keys())
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())
async def test_a_caller_who_leaves_ends_its_request_upstream_and_nothing_of_it_is_the_next_one_s(
    tmp_path: Path, fast_lane: bool, stage: bytes, leave: Callable[[Caller], object]
) -> None:
    async def play(heard: Heard, end: FarEnd) -> None:
        if b"leaves" not in heard.body:
            await echo(heard, end)
            return
        end.say(stage)
        await end.has_ended()
        end.writer.close()

    async with house(tmp_path, play, fast_lane=fast_lane) as at:
        async with at.caller() as caller:
            await caller.say(post(chat("leaves")))
            await at.upstream.until(lambda: len(at.upstream.heard) == 1)
            if stage == STAGES["within a stream"]:
                await caller.reader.readuntil(EVENT)
            leave(caller)
            async with asyncio.timeout(1):
                await at.upstream.until(lambda: at.upstream.closed == 1)
        await at.nobody_holds_a_key()
        told = await at.asked(post(chat("next"), token=BERT))
        assert told.json["asked"] == chat("next").decode()
    assert [heard.number for heard in at.upstream.heard] == [0, 1]


@pytest.mark.parametrize("leave", LEAVINGS.values(), ids=LEAVINGS.keys())
async def test_a_caller_who_leaves_within_its_request_asks_nothing(
    at: House, leave: Callable[[Caller], object]
) -> None:
    data = post(chat("leaves"))
    for cut in (1, 20, len(data) - len(chat("leaves")), len(data) - 1):
        async with at.caller() as caller:
            await caller.say(data[:cut])
            leave(caller)
            with contextlib.suppress(ConnectionError):
                await caller.rest()
    told = await at.asked(post(chat("next")))
    assert told.json["asked"] == chat("next").decode()
    assert [heard.body for heard in at.upstream.heard] == [chat("next")]
    await at.nobody_holds_a_key()


async def test_no_part_of_an_answer_waits_until_the_one_before_was_acknowledged(at: House) -> None:
    """Every answer but a connection's first took 44 ms: asyncio turned Nagle's algorithm off for none of our callers."""

    async def play(heard: Heard, end: FarEnd) -> None:
        end.say(HEAD_OF_ANSWER)
        for event in (EVENT, EVENT, b"data: [DONE]\n\n"):
            await until_heard()
            end.say(b"%x\r\n%b\r\n" % (len(event), event))
        end.say(b"0\r\n\r\n")

    at.upstream.play = play
    async with at.caller() as caller:
        for number in range(5):
            await caller.say(post(chat(f"x{number}")))
            told = asyncio.ensure_future(caller.told())
            while len(at.upstream.heard) == number:
                await asyncio.sleep(0)
            for _ in range(50):
                await asyncio.sleep(0)
            assert told.done()
            assert (await told).body == EVENT * 2 + b"data: [DONE]\n\n"
