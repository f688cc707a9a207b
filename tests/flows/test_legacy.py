"""
Old programs through aliases: the official client's completions against an upstream that has chat alone, and today's manners.

The scripted upstream is strict: in chat it refuses `max_tokens` and a temperature of one's own, as today's models do.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterable
from typing import Any

import httpx2
import pytest
from openai import APIError, APIStatusError, AsyncOpenAI, BadRequestError, RateLimitError

from daemon.demo.refusals import Limited, ServerError
from daemon.demo.steps import Answer, Comments, CutStream, EncodedGzip, ErrorInStream, Raw, Step
from proxy.alias import Alias, Aliases
from proxy.callers import Caller
from proxy.reception import GatewaySettings
from tests.flows.conftest import TOKEN, Bench, Start

OLD = "text-davinci-003"
ALIASES = Aliases({OLD: Alias("gpt-5", as_chat=True), "gpt-4": Alias("gpt-5")})
SETTINGS = GatewaySettings(queue_seconds=0, aliases=ALIASES)
RAISED = (APIError, httpx2.HTTPError)  # the client's own error, or its transport's for a body that was broken off
CUTS = {
    "ends early without its terminal": CutStream(2, "clean"),
    "is cut inside an event": CutStream(2, "inside_event"),
    "loses its connection": CutStream(2, "close"),
    "is reset": CutStream(2, "reset"),
    "has an error inside": ErrorInStream(after_pieces=2),
}


def client_of(bench: Bench) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=TOKEN, base_url=f"{bench.url}/v1", max_retries=0)


async def taken(stream: AsyncIterable[Any], into: list[Any]) -> None:
    async for event in stream:
        into.append(event)  # noqa: PERF401 - what came before an exception counts


def questions(bench: Bench) -> list[dict[str, Any]]:
    """The bodies that came upstream, which has seen nothing but chat."""
    assert {received.path for received in bench.upstream.requests} == {"/v1/chat/completions"}
    return [received.json for received in bench.upstream.requests]


# --- completions


async def test_a_completion_is_answered_by_a_chat_model_and_says_so_nowhere(start: Start) -> None:
    bench = await start([Answer("换马的地方。")], settings=SETTINGS)
    async with client_of(bench) as client:
        answer = await client.completions.create(model=OLD, prompt="驿站是什么？", stop=["\n", "Q:"], user="u")
    assert (answer.object, answer.model, answer.choices[0].text) == ("text_completion", OLD, "换马的地方。")
    assert (answer.choices[0].finish_reason, answer.choices[0].logprobs) == ("stop", None)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    (question,) = questions(bench)
    assert question == {
        "model": "gpt-5",
        "messages": [{"role": "user", "content": "驿站是什么？"}],
        "stop": ["\n", "Q:"],
        "user": "u",
    }


async def test_two_answers_are_two_choices_streamed_and_not(start: Start) -> None:
    bench = await start([Answer("one two", pieces=3)], settings=SETTINGS)
    async with client_of(bench) as client:
        answer = await client.completions.create(model=OLD, prompt="hi", n=2, best_of=2)
        stream = await client.completions.create(model=OLD, prompt="hi", n=2, stream=True)
        said = {0: "", 1: ""}
        async for chunk in stream:
            for choice in chunk.choices:
                said[choice.index] += choice.text
    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "one two"), (1, "one two")]
    assert said == {0: "one two", 1: "one two"}


async def test_a_streamed_completion_comes_chunk_by_chunk_with_its_usage_and_its_end(start: Start) -> None:
    bench = await start([Comments(2, then=Answer("一二三四", pieces=4))], settings=SETTINGS)
    chunks: list[Any] = []
    async with client_of(bench) as client:
        stream = await client.completions.create(
            model=OLD, prompt="hi", stream=True, stream_options={"include_usage": True}
        )
        await taken(stream, chunks)
    assert {(chunk.object, chunk.model) for chunk in chunks} == {("text_completion", OLD)}
    assert [chunk.choices[0].text for chunk in chunks if chunk.choices] == ["", "一", "二", "三", "四", ""]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.completion_tokens) == ([], 4)


async def test_a_chunk_does_not_wait_for_the_next(start: Start) -> None:
    bench = await start([Answer("one two", pieces=2, chunk_seconds=60)], settings=SETTINGS)
    async with client_of(bench) as client, asyncio.timeout(10):
        async with await client.completions.create(model=OLD, prompt="hi", stream=True) as stream:
            async for chunk in stream:
                if chunk.choices[0].text:
                    break
        await bench.upstream.until(lambda upstream: upstream.requests[0].disconnected)


async def test_comments_and_the_end_pass_as_they_came(start: Start) -> None:
    bench = await start([Comments(1, then=Answer("x"))], settings=SETTINGS)
    body = {"model": OLD, "prompt": "hi", "stream": True}
    async with bench.session.post(f"{bench.url}/v1/completions", json=body, headers=bench.headers) as response:
        received = await response.read()
    assert received.startswith(b": keep-alive\n\n")
    assert received.endswith(b"data: [DONE]\n\n")
    assert b"chat.completion" not in received


async def test_a_request_as_openai_0_28_wrote_it(start: Start) -> None:
    bench = await start([Answer("well")], settings=SETTINGS)
    body = b'{"engine": null, "model": "text-davinci-003", "prompt": ["Say: \\u9a7f"], "max_tokens": 7, "stop": null}'
    headers = {**bench.headers, "Content-Type": "application/json", "User-Agent": "OpenAI/v1 PythonBindings/0.28.1"}
    async with bench.session.post(f"{bench.url}/v1/completions", data=body, headers=headers) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
        answer = await response.json()
    assert answer["choices"] == [{"text": "well", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    *_, question = questions(bench)
    said = [{"role": "user", "content": "Say: 驿"}]
    assert question == {"model": "gpt-5", "messages": said, "max_completion_tokens": 7}


# --- refused parameters


async def test_parameters_that_the_model_refuses_are_asked_about_once_and_then_known(start: Start) -> None:
    bench = await start([Answer("well")], settings=SETTINGS)
    async with client_of(bench) as client:
        for _ in range(2):
            answer = await client.completions.create(model=OLD, prompt="hi", max_tokens=9, temperature=0.1)
            assert answer.choices[0].text == "well"
    told = [
        {name: question[name] for name in question if name not in ("model", "messages")}
        for question in questions(bench)
    ]
    once = {"max_completion_tokens": 9}
    assert told == [{"max_tokens": 9, "temperature": 0.1}, {**once, "temperature": 0.1}, once, once]
    (key,) = bench.pool.snapshot()
    assert (key.state, key.in_flight) == ("ready", 0)


async def test_a_key_with_room_for_one_request_is_asked_again_all_the_same(start: Start) -> None:
    bench = await start([Answer("well")], settings=SETTINGS, keys={"k1": {"max_concurrency": 1}})
    async with client_of(bench) as client:
        answer = await client.completions.create(model=OLD, prompt="hi", max_tokens=9)
    assert answer.choices[0].text == "well"


async def test_a_limited_key_still_rotates_with_what_was_learned(start: Start) -> None:
    bench = await start([Limited()], [Answer("well")], settings=SETTINGS)
    async with client_of(bench) as client:
        answer = await client.completions.create(model=OLD, prompt="hi", max_tokens=9, temperature=0.1)
    assert answer.choices[0].text == "well"
    assert bench.state("k1") == "cooling"


async def test_a_caller_s_own_body_is_never_changed(start: Start) -> None:
    bench = await start([Answer()], settings=SETTINGS)
    body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
    for model in ("gpt-5", "gpt-4"):
        async with bench.session.post(
            f"{bench.url}/v1/chat/completions", json={**body, "model": model}, headers=bench.headers
        ) as response:
            assert (response.status, (await response.json())["error"]["param"]) == (400, "max_tokens")
    assert questions(bench) == [body, body]


# --- honesty


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
async def test_a_stream_that_is_not_whole_makes_the_official_client_raise(start: Start, cut: Step) -> None:
    bench = await start([cut], settings=SETTINGS)
    chunks: list[Any] = []
    async with client_of(bench) as client:
        stream = await client.completions.create(model=OLD, prompt="hi", stream=True)
        with pytest.raises(RAISED):
            await taken(stream, chunks)
    assert any(chunk.choices[0].text for chunk in chunks), "what came before the cut reaches the caller"
    assert not any(chunk.choices[0].finish_reason for chunk in chunks)


async def test_an_answer_that_breaks_off_is_told_and_not_asked_for_again(start: Start) -> None:
    bench = await start([CutStream(0, "close")], settings=SETTINGS)
    async with AsyncOpenAI(api_key=TOKEN, base_url=f"{bench.url}/v1", max_retries=2) as client:
        with pytest.raises(APIStatusError) as raised:
            await client.completions.create(model=OLD, prompt="hi")
    assert (raised.value.status_code, raised.value.code) == (502, "upstream_outcome_unknown")
    assert len(bench.upstream.requests) == 1


@pytest.mark.parametrize("streams", [True, False])
async def test_an_answer_that_comes_compressed_all_the_same_is_refused(start: Start, streams: bool) -> None:
    bench = await start([EncodedGzip()], settings=SETTINGS)
    async with client_of(bench) as client:
        with pytest.raises(APIStatusError, match="could not be translated"):
            await client.completions.create(model=OLD, prompt="hi", stream=streams)
    assert bench.pool.snapshot()[0].in_flight == 0


async def test_errors_of_the_upstream_and_of_ours_are_told_in_their_own_words(start: Start) -> None:
    too_long = {"error": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"}}
    raw = Raw(400, {"content-type": "application/json"}, json.dumps(too_long).encode())
    bench = await start([raw, Limited(), Limited()], settings=SETTINGS)
    async with client_of(bench) as client:
        with pytest.raises(BadRequestError, match="too long"):
            await client.completions.create(model=OLD, prompt="hi")
        with pytest.raises(RateLimitError, match="Every key is resting"):
            await client.completions.create(model=OLD, prompt="hi", stream=True)


async def test_an_error_in_the_first_event_still_rotates(start: Start) -> None:
    bench = await start([ErrorInStream(refusal=ServerError())], [Answer("well", pieces=1)], settings=SETTINGS)
    async with client_of(bench) as client:
        stream = await client.completions.create(model=OLD, prompt="hi", stream=True)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == "well"


@pytest.mark.parametrize(
    ("name", "value"),
    [("suffix", "x"), ("echo", True), ("logprobs", 1), ("best_of", 3), ("prompt", [1, 2]), ("prompt", ["a", "b"])],
)
async def test_what_cannot_be_translated_is_refused_by_name_and_asked_of_nobody(
    start: Start, name: str, value: Any
) -> None:
    bench = await start([Answer()], settings=SETTINGS)
    async with client_of(bench) as client:
        with pytest.raises(BadRequestError) as raised:
            await client.completions.create(**{"model": OLD, "prompt": "hi", name: value})
    assert (raised.value.code, raised.value.param) == ("invalid_request", name)
    assert bench.upstream.requests == []


# --- what is counted and remembered


@pytest.mark.parametrize(("streams", "kind"), [(False, "reported"), (True, "estimated")])
async def test_what_a_translated_answer_used_is_counted_for_the_model_that_was_asked(
    start: Start, streams: bool, kind: str
) -> None:
    bench = await start([Answer("word " * 80, pieces=8)], settings=SETTINGS)
    async with client_of(bench) as client:
        answer: Any = await client.completions.create(model=OLD, prompt="hi", max_tokens=900, stream=streams)
        if streams:
            await taken(answer, [])
    (used,) = bench.book.unsaved()
    assert (used.caller, used.key, used.model, used.kind, used.requests) == ("test", "k1", "gpt-5", kind, 1)
    assert 50 < used.completion_tokens < 500


async def test_the_same_prompt_meets_the_same_key_again(start: Start) -> None:
    bench = await start([Answer()], [Answer()], settings=SETTINGS)
    async with client_of(bench) as client:
        for _ in range(4):
            await client.completions.create(model=OLD, prompt="a long document, and a question")
    assert sorted((bench.asked("k1"), bench.asked("k2"))) == [0, 4]


# --- names


async def test_an_alias_is_judged_by_its_own_name_and_served_by_keys_of_the_other(start: Start) -> None:
    caller = Caller("test", hashlib.sha256(TOKEN.encode()).digest(), models=("gpt-4", OLD))
    bench = await start(
        [Answer("one")], [Answer("two")], settings=SETTINGS, callers=[caller],
        keys={"k1": {"models": ("gpt-4*",)}, "k2": {"models": ("gpt-5",)}},
    )  # fmt: skip
    body = b'{ "max_tokens" : null,\n "model" : "gpt-4",\t"messages" : [ {"role":"user","content":"\xe9\xa9\xbf"} ] }'
    headers = {**bench.headers, "Content-Type": "application/json"}
    url = f"{bench.url}/v1/chat/completions"
    bench.upstream.is_strict = False
    async with bench.session.post(url, data=body, headers=headers) as response:
        answer = await response.json()
    assert (response.status, answer["model"], answer["choices"][0]["message"]["content"]) == (200, "gpt-5", "two")
    assert bench.upstream.requests[0].body == body.replace(b'"gpt-4"', b'"gpt-5"'), "nothing else has changed"
    async with bench.session.post(url, data=body.replace(b"gpt-4", b"gpt-5"), headers=headers) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (403, "model_not_allowed")


async def test_the_list_of_models_has_aliases_too_and_each_can_be_asked_for(start: Start) -> None:
    bench = await start([Answer()], settings=SETTINGS)
    async with client_of(bench) as client:
        models = [model async for model in client.models.list()]
        asked = len(bench.upstream.requests)
        old = await client.models.retrieve(OLD)
        assert len(bench.upstream.requests) == asked, "no upstream knows it"
        assert (await client.models.with_raw_response.list()).headers["x-posthouse-request"]
        assert (await client.models.with_raw_response.retrieve(OLD)).headers["x-posthouse-request"]
    assert [model.id for model in models if model.owned_by == "posthouse"] == [OLD, "gpt-4"]
    assert {"gpt-5.2", "gpt-5.2-mini"} < {model.id for model in models}
    assert (old.id, old.object, old.owned_by) == (OLD, "model", "posthouse")


async def test_nobody_hears_of_an_alias_without_a_token(start: Start) -> None:
    bench = await start([Answer()], settings=SETTINGS)
    async with bench.session.get(f"{bench.url}/v1/models/{OLD}") as response:
        assert response.status == 401


async def test_names_are_the_pool_s_and_a_caller_with_its_own_key_is_passed_on_as_it_came(start: Start) -> None:
    settings = GatewaySettings(queue_seconds=0, passthrough=True, aliases=ALIASES)
    bench = await start([Answer("well")], settings=settings)
    async with AsyncOpenAI(api_key="sk-1", base_url=f"{bench.url}/v1", max_retries=0) as client:
        answer = await client.completions.create(model=OLD, prompt="hi")
        assert [model.owned_by async for model in client.models.list()] == ["system", "system"]
        await client.models.retrieve(OLD)
        assert bench.upstream.requests[-1].path == f"/v1/models/{OLD}"
    assert answer.model == OLD
    assert (bench.upstream.requests[0].path, bench.upstream.requests[0].json["model"]) == ("/v1/completions", OLD)
