"""What the bot asks of models, by each of the three APIs and for a picture, over the pool as it is."""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from daemon import config
from daemon.demo.dialects import event
from daemon.demo.pictures import png
from daemon.demo.refusals import Limited, Moderated, NoQuota, ServerError, TooLarge
from daemon.demo.steps import (
    Answer,
    AsUrl,
    Comments,
    CutStream,
    EncodedGzip,
    ErrorInStream,
    Events,
    Hang,
    LyingLength,
    Raw,
    Reset,
    Step,
)
from daemon.demo.upstream import ScriptedUpstream
from daemon.gateway import open_gateway
from daemon.secret import Sources
from daemon.sqlite.database import Database
from proxy.chat import Chat
from proxy.dialect import TARGETS, Api, Message
from proxy.draft import Unsupported
from proxy.draw import MOST_BYTES, Drawing, Drawn
from proxy.refusal import Refusal
from proxy.sender import EmptyAnswer, Sender, TornAnswer
from tests.flows.conftest import Bench, Start

JSON = {"content-type": "application/json"}
APIS: Sequence[Api] = ("chat", "responses", "completions")
TALK: list[Message] = [
    {"role": "system", "content": "你是驿丞。"},
    {"role": "user", "content": "驿站是什么？"},
    {"role": "assistant", "content": "换马的地方。"},
    {"role": "user", "content": "几点关门？"},
]
PICTURE = b"\x89PNG not really"
SHOWN: Message = {
    "role": "user",
    "content": [
        {"type": "text", "text": "这是什么？"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(PICTURE).decode()}},
    ],
}
each_api = pytest.mark.parametrize("api", APIS)


def sender_of(bench: Bench) -> Sender:
    ids = itertools.count(1)
    return Sender(
        bench.pool,
        bench.road,
        bench.book,
        bench.tally,
        Unsupported(),
        clock=lambda: time.monotonic() + bench.later[0],
        jitter=lambda: 0.0,
        new_id=lambda: f"b{next(ids)}",
    )


def chat_of(bench: Bench, api: Api, **parameters: Any) -> Chat:
    return Chat(sender_of(bench), parameters, api)


async def ask(chat: Chat, talk: Sequence[Message] = TALK, *, into: list[str] | None = None) -> str:
    pieces = [] if into is None else into
    async for piece in chat.ask(talk, model="gpt-5"):
        pieces.append(piece)
    return "".join(pieces)


def sent(bench: Bench) -> list[dict[str, Any]]:
    return [received.json for received in bench.upstream.requests]


def is_idle(bench: Bench) -> bool:
    return all(view.in_flight == 0 for view in bench.pool.snapshot())


# --- questions


@each_api
async def test_an_answer_comes_in_pieces_as_it_is_said(start: Start, api: Api) -> None:
    bench = await start([Comments(1, then=Answer("一二三四", pieces=4, chunk_seconds=0.02))])
    pieces: list[str] = []
    assert await ask(chat_of(bench, api), into=pieces) == "一二三四"
    assert len(pieces) > 1
    assert [received.path for received in bench.upstream.requests] == [TARGETS[api].path]
    assert is_idle(bench)


@each_api
async def test_the_whole_conversation_reaches_the_model(start: Start, api: Api) -> None:
    bench = await start([Answer()])
    answer = await ask(chat_of(bench, api))
    if api == "completions":
        assert sent(bench)[0]["prompt"] in answer
    else:
        assert answer == "你问的是「几点关门？」。这次对话一共有 4 条消息。"


@pytest.mark.parametrize(("api", "seen"), [("chat", True), ("responses", True), ("completions", False)])
async def test_a_picture_goes_along_where_the_api_has_room_for_one(start: Start, api: Api, seen: bool) -> None:
    bench = await start([Answer()])
    answer = await ask(chat_of(bench, api), [SHOWN])
    assert "这是什么？" in answer
    assert (f"随信有 1 张图片，共 {len(PICTURE)} 字节。" in answer) == seen


@each_api
async def test_what_an_answer_used_is_counted_for_the_bot(start: Start, api: Api) -> None:
    bench = await start([Answer("an answer")])
    await ask(chat_of(bench, api), [{"role": "user", "content": "hi"}])
    (used,) = bench.book.unsaved()
    prompt_tokens = len("Q: hi\n A: ") if api == "completions" else len("hi")
    assert (used.caller, used.model, used.kind, used.requests) == ("bot", "gpt-5", "reported", 1)
    assert (used.prompt_tokens, used.completion_tokens) == (prompt_tokens, len("an answer"))


@each_api
async def test_a_429_is_never_seen_where_another_key_answers(start: Start, api: Api) -> None:
    bench = await start([Limited()], [Answer("well")])
    assert await ask(chat_of(bench, api)) == "well"
    assert (bench.state("k1"), bench.asked("k2")) == ("cooling", 1)


@each_api
async def test_a_429_within_the_stream_is_not_seen_either(start: Start, api: Api) -> None:
    bench = await start([ErrorInStream(refusal=Limited())], [Answer("well")])
    assert await ask(chat_of(bench, api)) == "well"


@each_api
async def test_when_every_key_rests_the_bot_hears_when_the_first_is_back(start: Start, api: Api) -> None:
    bench = await start([Limited(retry_after="40")], [Limited(retry_after="20")])
    with pytest.raises(Refusal) as caught:
        await ask(chat_of(bench, api))
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert 19 < (caught.value.retry_after_seconds or 0) <= 20


def refusing(status: int, **error: str) -> Raw:
    return Raw(status, JSON, json.dumps({"error": error}).encode())


REFUSALS: list[tuple[Step, int, str, str]] = [
    (NoQuota(), 503, "pool_exhausted", ""),
    (ServerError(), 500, "upstream_refused", ""),
    (TooLarge(), 429, "upstream_refused", "rate_limit_exceeded"),
    (Reset("request"), 502, "upstream_outcome_unknown", ""),
    (refusing(400, code="invalid_image_format", message="your words"), 400, "upstream_refused", "invalid_image_format"),
    (refusing(400, code="pool_exhausted"), 400, "upstream_refused", "pool_exhausted"),
    (refusing(400, message="your words"), 400, "upstream_refused", ""),
    (refusing(422, code="invalid_parameter"), 422, "upstream_refused", "invalid_parameter"),
]


@each_api
@pytest.mark.parametrize(
    ("step", "status", "code", "upstream_code"), REFUSALS, ids=[" ".join(map(str, case[1:])) for case in REFUSALS]
)
async def test_a_refusal_has_a_status_our_code_and_the_upstreams_and_none_of_its_words(
    start: Start, api: Api, step: Step, status: int, code: str, upstream_code: str
) -> None:
    bench = await start([step])
    with pytest.raises(Refusal) as caught:
        await ask(chat_of(bench, api))
    assert (caught.value.status, caught.value.code, caught.value.upstream_code) == (status, code, upstream_code)
    assert "your words" not in caught.value.message
    assert is_idle(bench)


CUTS = {
    how: CutStream(2, how, then=Answer("一二三四", pieces=4)) for how in ("clean", "inside_event", "close", "reset")
}


@each_api
@pytest.mark.parametrize("step", [*CUTS.values(), ErrorInStream(2)], ids=[*CUTS, "error"])
async def test_an_answer_that_breaks_off_is_torn_and_never_asked_for_again(start: Start, api: Api, step: Step) -> None:
    bench = await start([step], [Answer()])
    with pytest.raises(TornAnswer):
        await ask(chat_of(bench, api))
    assert len(bench.upstream.requests) == 1
    assert is_idle(bench)


@each_api
async def test_an_answer_that_comes_compressed_cannot_be_read(start: Start, api: Api) -> None:
    with pytest.raises(TornAnswer):
        await ask(chat_of(await start([EncodedGzip()]), api))


@each_api
async def test_an_answer_without_a_word_is_empty(start: Start, api: Api) -> None:
    with pytest.raises(EmptyAnswer) as caught:
        await ask(chat_of(await start([Answer("")]), api))
    assert caught.value.finish_reason == "stop"


TOO_LONG = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "error": None, "output": []}
WORDLESS: dict[Api, list[bytes]] = {
    "chat": [event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}), b"data: [DONE]\n\n"],
    "responses": [
        event({"type": "response.created", "response": {"status": "in_progress"}}, "response.created"),
        event({"type": "response.incomplete", "response": TOO_LONG}, "response.incomplete"),
    ],
    "completions": [event({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}), b"data: [DONE]\n\n"],
}


@each_api
async def test_an_answer_that_was_too_long_before_its_first_word_says_so(start: Start, api: Api) -> None:
    with pytest.raises(EmptyAnswer) as caught:
        await ask(chat_of(await start([Events(WORDLESS[api])]), api))
    assert caught.value.finish_reason == "length"


async def test_a_response_that_fails_before_its_first_word_is_refused_or_torn_by_whose_fault_it_is(
    start: Start,
) -> None:
    def failing(code: str) -> Events:
        created = event({"type": "response.created", "response": {"status": "in_progress"}}, "response.created")
        error = {"code": code, "message": "your words"}
        return Events([created, event({"type": "response.failed", "response": {"error": error}}, "response.failed")])

    bench = await start([failing("invalid_prompt"), failing("server_error")])
    chat = chat_of(bench, "responses")
    with pytest.raises(Refusal) as caught:
        await ask(chat)
    assert (caught.value.status, caught.value.upstream_code) == (400, "invalid_prompt")
    with pytest.raises(TornAnswer):
        await ask(chat)


WHOLE: dict[Api, dict[str, Any]] = {
    "chat": {"choices": [{"message": {"content": "well"}, "finish_reason": "stop"}]},
    "responses": {
        "object": "response",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "well"}]}],
    },
    "completions": {"choices": [{"text": "well", "finish_reason": "stop"}]},
}


@each_api
async def test_an_upstream_that_does_not_stream_is_understood(start: Start, api: Api) -> None:
    bench = await start([Raw(200, JSON, json.dumps(WHOLE[api]).encode())])
    assert await ask(chat_of(bench, api)) == "well"


REFUSED: list[tuple[Api, list[dict[str, Any]]]] = [
    # What remains of the parameters, question by question; the refused ones cost no attempt and are remembered.
    ("chat", [{"max_tokens": 9, "temperature": 0.5}, {"max_completion_tokens": 9, "temperature": 0.5}]),
    ("responses", [{"max_output_tokens": 9, "temperature": 0.5}]),
    ("completions", []),
]
KEPT: dict[Api, dict[str, Any]] = {
    "chat": {"max_completion_tokens": 9},
    "responses": {"max_output_tokens": 9},
    "completions": {"max_tokens": 9, "temperature": 0.5},
}


@pytest.mark.parametrize(("api", "refused"), REFUSED, ids=APIS)
async def test_a_parameter_that_the_model_refuses_is_left_out_and_the_next_question_is_well_at_once(
    start: Start, api: Api, refused: list[dict[str, Any]]
) -> None:
    bench = await start([Answer("well")])
    chat = chat_of(bench, api, max_tokens=9, temperature=0.5)
    assert [await ask(chat), await ask(chat)] == ["well", "well"]
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens", "temperature")
    parameters = [{name: body[name] for name in names if name in body} for body in sent(bench)]
    assert parameters == [*refused, KEPT[api], KEPT[api]]
    assert {view.state for view in bench.pool.snapshot()} == {"ready"}


async def test_a_response_may_refuse_even_its_own_bound(start: Start) -> None:
    error = {"message": "Unsupported parameter: 'max_output_tokens'", "param": "max_output_tokens", "code": None}
    bench = await start([Raw(400, JSON, json.dumps({"error": error}).encode()), Answer("well")])
    assert await ask(chat_of(bench, "responses", max_tokens=9)) == "well"
    assert [body.get("max_output_tokens") for body in sent(bench)] == [9, None]


async def test_the_next_question_goes_by_the_api_that_is_set_then(start: Start) -> None:
    bench = await start([Answer("一二", pieces=2, chunk_seconds=0.02)])
    chat = chat_of(bench, "chat")
    pieces = []
    async for piece in chat.ask(TALK, model="gpt-5"):
        chat.api = "responses"
        pieces.append(piece)
    assert "".join(pieces) == "一二"
    assert await ask(chat) == "一二"
    assert [received.path for received in bench.upstream.requests] == ["/v1/chat/completions", "/v1/responses"]


async def test_new_settings_change_the_api_from_the_next_question_on(tmp_path: Path) -> None:
    async with ScriptedUpstream({"sk-1": []}) as upstream:
        written: dict[str, Any] = {
            "server": {"listen": ["127.0.0.1:0"], "database": "sqlite:posthouse.db"},
            "upstreams": {"openai": {"base_url": upstream.base_url}},
            "keys": [{"name": "k1", "secret": "sk-1"}],
        }

        def settings(**bot: Any) -> Any:
            return config.parse({**written, "bot": bot}, Sources({}, tmp_path))

        started = settings(api="completions", max_tokens=9)
        async with Database(started.server.database) as database, open_gateway(started, database) as gateway:
            await ask(gateway.chat)
            gateway.reconfigure(settings(api="responses", max_tokens=7, queue_seconds=3))
            await ask(gateway.chat)
            assert (await gateway.drawing.draw("一座驿站", model="gpt-image-2", size="64x64")).data
            assert (gateway.chat.sender, gateway.sender.queue_seconds) == (gateway.drawing.sender, 3)
        completion, response, *_ = upstream.requests
        assert (completion.path, completion.json["max_tokens"]) == ("/v1/completions", 9)
        assert (response.path, response.json["max_output_tokens"]) == ("/v1/responses", 7)


async def test_whoever_stops_listening_frees_the_upstream(start: Start) -> None:
    bench = await start([Answer("一二三四", pieces=4, chunk_seconds=30)])
    pieces = chat_of(bench, "responses").ask(TALK, model="gpt-5")
    assert await anext(pieces) == "一"
    await pieces.aclose()
    await bench.upstream.until(lambda upstream: upstream.requests[0].disconnected)
    assert is_idle(bench)


# --- pictures


async def draw(bench: Bench, model: str = "gpt-image-2", size: str = "512x512") -> Drawn:
    return await Drawing(sender_of(bench)).draw("一座驿站", model=model, size=size)


async def test_a_picture_comes_as_bytes_in_the_size_that_was_asked_for(start: Start) -> None:
    bench = await start([Answer()])
    assert await draw(bench, "dall-e-3") == Drawn(png("一座驿站", "512x512"), revised_prompt="一座驿站, in fine detail")
    assert sent(bench) == [
        {"model": "dall-e-3", "prompt": "一座驿站", "n": 1, "size": "512x512", "response_format": "b64_json"}
    ]
    assert is_idle(bench)


async def test_a_picture_that_is_only_to_be_had_by_a_url_is_told_so(start: Start) -> None:
    bench = await start([AsUrl()])
    drawn = await draw(bench, "dall-e-3")
    assert drawn.data == b""
    async with bench.session.get(drawn.url) as response:
        assert await response.read() == png("一座驿站", "512x512")


async def test_a_form_that_the_model_refuses_is_left_out_and_not_asked_for_again(start: Start) -> None:
    bench = await start([Answer()])
    drawing = Drawing(sender_of(bench))
    for _ in range(2):
        drawn = await drawing.draw("一座驿站", model="gpt-image-2", size="512x512")
        assert drawn == Drawn(png("一座驿站", "512x512"))
    assert ["response_format" in body for body in sent(bench)] == [True, False, False]


@pytest.mark.parametrize("name", ["size", "n"])
async def test_size_and_number_may_be_refused_too(start: Start, name: str) -> None:
    error = {"message": "no", "type": "invalid_request_error", "param": name, "code": "unsupported_parameter"}
    bench = await start([Raw(400, JSON, json.dumps({"error": error}).encode()), Answer()])
    assert (await draw(bench, "flux")).data
    assert [name in body for body in sent(bench)] == [True, False]


@pytest.mark.parametrize("code", ["moderation_blocked", "content_policy_violation"])
async def test_a_prompt_that_is_refused_for_what_it_says_is_a_400_with_its_code(start: Start, code: str) -> None:
    bench = await start([Moderated(code)], [Answer()])
    with pytest.raises(Refusal) as caught:
        await draw(bench, "dall-e-3")
    assert (caught.value.status, caught.value.upstream_code) == (400, code)
    assert (bench.asked("k2"), bench.state("k1")) == (0, "ready")


async def test_a_429_rotates_for_pictures_too(start: Start) -> None:
    bench = await start([Limited()], [Answer()])
    assert (await draw(bench)).data
    assert bench.state("k1") == "cooling"


@pytest.mark.parametrize(
    "step",
    [CutStream(0, "clean"), CutStream(0, "close"), CutStream(0, "reset"), LyingLength(), EncodedGzip()],
    ids=lambda step: type(step).__name__,
)
async def test_a_picture_that_breaks_off_is_torn_and_never_asked_for_again(start: Start, step: Step) -> None:
    bench = await start([step], [Answer()])
    with pytest.raises(TornAnswer):
        await draw(bench, "dall-e-3")
    assert len(bench.upstream.requests) == 1
    assert is_idle(bench)


async def test_a_picture_whose_outcome_is_unknown_is_never_asked_for_again(start: Start) -> None:
    bench = await start([Hang()], [Answer()], upstream_settings={"first_byte_seconds": 0.1, "connect_seconds": 0.1})
    with pytest.raises(Refusal) as caught:
        await draw(bench, "dall-e-3")
    assert (caught.value.code, len(bench.upstream.requests)) == ("upstream_outcome_unknown", 1)


async def test_an_answer_without_a_picture_is_empty(start: Start) -> None:
    with pytest.raises(EmptyAnswer):
        await draw(await start([Raw(200, JSON, b'{"created": 1, "data": []}')]))


async def test_an_answer_that_is_larger_than_any_picture_is_given_up(start: Start) -> None:
    picture = json.dumps({"data": [{"b64_json": base64.b64encode(PICTURE).decode()}]}).encode()
    bench = await start([Raw(200, JSON, picture.ljust(MOST_BYTES + 1))])  # a good one, but for its size
    with pytest.raises(TornAnswer):
        await draw(bench)
    assert is_idle(bench)


async def test_what_a_picture_used_is_counted_where_the_answer_says_it(start: Start) -> None:
    bench = await start([Answer()])
    await draw(bench, "dall-e-3")
    assert bench.book.unsaved() == ()
    await draw(bench, "gpt-image-2")
    (used,) = bench.book.unsaved()
    assert (used.caller, used.kind, used.prompt_tokens, used.completion_tokens) == ("bot", "reported", 4, 272)
