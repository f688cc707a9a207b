"""The scripted upstream is believed by the flow tests, so it is itself tried with somebody else's client."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest

from daemon.demo.refusals import (
    AddressBlocked,
    Bucket,
    Deactivated,
    Limited,
    ModelMissing,
    Moderated,
    NoQuota,
    Overloaded,
    RegionBlocked,
    Revoked,
    ServerError,
    SlowDown,
    TooLarge,
    html_error,
)
from daemon.demo.steps import (
    Answer,
    AsUrl,
    Comments,
    CutStream,
    EncodedGzip,
    ErrorInStream,
    Hang,
    LyingLength,
    Raw,
    Reset,
    Step,
)
from daemon.demo.upstream import ScriptedUpstream

KEY = "sk-demo-one"
HELLO: Any = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "你好"}]


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream({KEY: []}) as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=upstream.base_url, max_retries=0) as client:
        yield client


async def said(client: openai.AsyncOpenAI, **more: Any) -> list[Any]:
    stream = await client.chat.completions.create(model="gpt-5.2", messages=HELLO, stream=True, **more)
    return [chunk async for chunk in stream]


def words(chunks: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def test_a_chat_answer_quotes_the_question_and_counts_the_context(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="gpt-5.2", messages=HELLO)
    assert answer.choices[0].message.content == "你问的是「你好」。这次对话一共有 2 条消息。"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_a_streamed_answer_says_the_same_in_pieces_and_ends_with_its_reason(client: openai.AsyncOpenAI) -> None:
    chunks = await said(client)
    assert words(chunks) == "你问的是「你好」。这次对话一共有 2 条消息。"
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_usage_is_streamed_only_when_it_was_asked_for(client: openai.AsyncOpenAI) -> None:
    assert all(chunk.usage is None for chunk in await said(client))
    asked_for = await said(client, stream_options={"include_usage": True})
    assert asked_for[-1].usage.total_tokens > 0
    assert asked_for[-1].choices == []


async def test_n_choices_are_n_choices_streamed_or_not(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="gpt-5.2", messages=HELLO, n=2)
    assert [choice.index for choice in whole.choices] == [0, 1]
    ended = [c.choices[0].index for c in await said(client, n=2) if c.choices[0].finish_reason]
    assert ended == [0, 1]


async def test_a_legacy_completion_takes_max_tokens_and_answers_as_text(client: openai.AsyncOpenAI) -> None:
    whole = await client.completions.create(model="davinci-002", prompt="Q: 1+1\nA:", max_tokens=5)
    assert whole.object == "text_completion"
    stream = await client.completions.create(model="davinci-002", prompt="Q: 1+1\nA:", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == whole.choices[0].text


async def test_a_response_comes_whole_and_as_events(client: openai.AsyncOpenAI) -> None:
    whole = await client.responses.create(model="gpt-5.2", input="你好")
    assert whole.output_text == "你问的是「你好」。这次对话一共有 1 条消息。"
    stream = await client.responses.create(model="gpt-5.2", input="你好", stream=True)
    events = [event async for event in stream]
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text


SHOWN = "data:image/png;base64," + base64.b64encode(b"picture").decode()


async def test_pictures_that_come_along_are_counted_with_their_bytes_in_chat_and_in_a_response(
    client: openai.AsyncOpenAI,
) -> None:
    seen = "你问的是「这是什么？」。这次对话一共有 2 条消息。随信有 2 张图片，共 7 字节。"
    parts: Any = [
        {"type": "text", "text": "这是什么？"},
        {"type": "image_url", "image_url": {"url": SHOWN}},
        {"type": "image_url", "image_url": {"url": "https://elsewhere.test/a.png"}},
    ]
    talk: Any = [HELLO[0], {"role": "user", "content": parts}]
    answer = await client.chat.completions.create(model="gpt-5.2", messages=talk)
    assert answer.choices[0].message.content == seen
    items: Any = [{"type": "input_text", "text": "这是什么？"}]
    items += [{"type": "input_image", "image_url": part["image_url"]["url"], "detail": "auto"} for part in parts[1:]]
    response = await client.responses.create(
        model="gpt-5.2", instructions="be kind", input=[{"role": "user", "content": items}]
    )
    assert response.output_text == seen


def pixels(png: bytes) -> tuple[int, int]:
    """Width and height of a picture whose every checksum is right and whose every row is there."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, place = {}, 8
    while place < len(png):
        (size,), name = struct.unpack_from(">I", png, place), png[place + 4 : place + 8]
        chunks[name] = png[place + 8 : place + 8 + size]
        assert struct.unpack_from(">I", png, place + 8 + size) == (zlib.crc32(name + chunks[name]),)
        place += size + 12
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + -(-width // 8))
    return width, height


async def test_a_picture_is_drawn_in_the_size_that_was_asked_for_and_another_one_for_every_prompt(
    client: openai.AsyncOpenAI,
) -> None:
    drawn = {}
    for prompt in ("驿站", "马"):
        for size in ("1024x1024", "301x200", "auto"):
            answer = await client.images.generate(model="gpt-image-2", prompt=prompt, size=size)
            assert answer.data is not None
            drawn[prompt, size] = base64.b64decode(answer.data[0].b64_json or "")
    assert [pixels(drawn["马", size]) for size in ("1024x1024", "301x200", "auto")] == [
        (1024, 1024),
        (301, 200),
        (1024, 1024),
    ]
    assert len(set(drawn.values())) == 4
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


@pytest.mark.parametrize(
    ("step", "form"),
    [(Answer(), None), (Answer(), "url"), (AsUrl(), "b64_json")],
    ids=["by itself", "asked", "unasked"],
)
async def test_an_older_model_gives_a_url_that_anybody_can_fetch(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream, step: Step, form: Any
) -> None:
    upstream.script[KEY] = [step]
    more = {"response_format": form} if form else {}
    answer = await client.images.generate(model="dall-e-3", prompt="驿站", size="512x512", **more)
    assert answer.data is not None
    (picture,) = answer.data
    assert (picture.b64_json, picture.revised_prompt) == (None, "驿站, in fine detail")
    async with aiohttp.ClientSession() as session, session.get(picture.url or "") as fetched:
        assert fetched.content_type == "image/png"
        assert pixels(await fetched.read()) == (512, 512)


async def test_an_older_model_gives_bytes_where_they_are_asked_for(client: openai.AsyncOpenAI) -> None:
    answer = await client.images.generate(
        model="dall-e-2", prompt="马", size="256x256", response_format="b64_json", n=2
    )
    assert answer.data is not None
    assert [pixels(base64.b64decode(picture.b64_json or "")) for picture in answer.data] == [(256, 256)] * 2


async def test_gpt_image_refuses_to_be_told_the_form(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    with pytest.raises(openai.BadRequestError, match="Unknown parameter: 'response_format'") as caught:
        await client.images.generate(model="gpt-image-2", prompt="马", response_format="b64_json")
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", "response_format")


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        ({"max_tokens": 5}, "unsupported_parameter", "max_tokens"),
        ({"temperature": 0.2}, None, "temperature"),
        ({"stream_options": {"include_usage": True}}, "unknown_parameter", "stream_options.include_usage"),
    ],
)
async def test_a_response_refuses_what_chat_takes(
    client: openai.AsyncOpenAI, more: dict[str, Any], code: str | None, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.responses.create(model="gpt-5.2", input="hi", extra_body=more)
    assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        ({"max_tokens": 5}, "unsupported_parameter", "max_tokens"),
        ({"temperature": 0.2}, "unsupported_value", "temperature"),
    ],
)
async def test_todays_models_refuse_parameters_of_yesterday(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream, more: dict[str, Any], code: str, param: str
) -> None:
    upstream.script[KEY] = [Answer("first"), Answer("then")]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="gpt-5.2", messages=HELLO, **more)
    assert (caught.value.code, caught.value.param) == (code, param)
    assert words(await said(client)) == "first"  # the refused request took no step


@pytest.mark.parametrize(
    ("step", "raised", "code"),
    [
        (Limited(), openai.RateLimitError, "rate_limit_exceeded"),
        (TooLarge(), openai.RateLimitError, "rate_limit_exceeded"),
        (SlowDown(), openai.RateLimitError, "slow_down"),
        (NoQuota(), openai.RateLimitError, "insufficient_quota"),
        (NoQuota("organization_spend_limit_exceeded"), openai.RateLimitError, "organization_spend_limit_exceeded"),
        (Revoked(), openai.AuthenticationError, "invalid_api_key"),
        (Deactivated(), openai.AuthenticationError, "account_deactivated"),
        (AddressBlocked(), openai.AuthenticationError, "ip_not_authorized"),
        (RegionBlocked(), openai.PermissionDeniedError, "unsupported_country_region_territory"),
        (ModelMissing(), openai.NotFoundError, "model_not_found"),
        (Moderated(), openai.BadRequestError, "moderation_blocked"),
        (Moderated("content_policy_violation"), openai.BadRequestError, "content_policy_violation"),
        (Overloaded(), openai.InternalServerError, "server_is_overloaded"),
        (ServerError(), openai.InternalServerError, None),
        (html_error(502), openai.InternalServerError, None),
        (Raw(418, {"x-own": "1"}, b"{}"), openai.APIStatusError, None),
        (Reset("request"), openai.APIConnectionError, None),
        (CutStream(0, "close"), openai.APIConnectionError, None),
        (LyingLength(), openai.APIConnectionError, None),
    ],
)
async def test_the_official_client_knows_every_refusal_by_its_type(
    client: openai.AsyncOpenAI,
    upstream: ScriptedUpstream,
    step: Step,
    raised: type[openai.APIError],
    code: str | None,
) -> None:
    upstream.script[KEY] = [step]
    with pytest.raises(raised) as caught:
        await client.chat.completions.create(model="gpt-5.2", messages=HELLO)
    assert caught.value.code == code


async def test_a_limit_says_when_in_the_header_the_text_and_the_counters(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.organization[KEY] = "org-own"
    upstream.script[KEY] = [Limited("20", retry_after_ms="19500", requests=(3, "59.9s"), headers={"x-own": "1"})]
    with pytest.raises(openai.RateLimitError, match=r"org-own.*try again in 20s") as caught:
        await client.chat.completions.create(model="gpt-5.2", messages=HELLO)
    headers = caught.value.response.headers
    assert headers["retry-after"] == "20"
    assert headers["retry-after-ms"] == "19500"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] == "59.9s"
    assert headers["x-own"] == "1"
    assert headers["openai-organization"] == "org-own"


async def test_a_script_is_taken_step_by_step_and_its_last_step_stays(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script[KEY] = [Answer("one"), Answer("two")]
    assert [words(await said(client)) for _ in range(3)] == ["one", "two", "two"]


async def test_an_unknown_key_is_told_so_with_a_fragment_of_it(upstream: ScriptedUpstream) -> None:
    async with openai.AsyncOpenAI(api_key="sk-demo-nobody", base_url=upstream.base_url, max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError, match=r"Incorrect API key provided: sk-de\*\*\*body"):
            await stranger.models.list()


@pytest.mark.parametrize(
    ("step", "raised"),
    [(Revoked(), openai.AuthenticationError), (RegionBlocked(), openai.PermissionDeniedError), (Limited(), None)],
)
async def test_the_free_check_is_refused_only_where_the_key_itself_is(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream, step: Step, raised: type[Exception] | None
) -> None:
    upstream.script[KEY] = [step, Answer()]
    if raised is None:
        assert (await client.models.list()).data
    else:
        with pytest.raises(raised):
            await client.models.list()
    assert upstream.script[KEY] == [step, Answer()]
    assert upstream.asked_of(KEY) == []


async def test_the_free_check_can_have_a_script_of_its_own(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.checks[KEY] = [ServerError()]
    with pytest.raises(openai.InternalServerError):
        await client.models.list()


async def test_a_bucket_lets_so_many_through_and_names_the_next_slot_and_the_full_refill(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script[KEY] = [Bucket(per_minute=3)]
    for _ in range(3):
        await client.chat.completions.create(model="gpt-5.2", messages=HELLO)
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model="gpt-5.2", messages=HELLO)
    headers = caught.value.response.headers
    assert 15 <= int(headers["retry-after"]) <= 20  # seconds; one of three a minute comes back every 20
    assert 55 <= float(headers["x-ratelimit-reset-requests"].removesuffix("s")) <= 60


async def test_a_clean_early_end_passes_unseen_by_the_official_client(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script[KEY] = [CutStream(2, "clean", then=Answer("abcd", pieces=4))]
    chunks = await said(client)
    assert words(chunks) == "ab"
    assert chunks[-1].choices[0].finish_reason is None


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_connection_that_goes_under_a_stream_raises(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream, how: Any
) -> None:
    upstream.script[KEY] = [CutStream(1, how)]
    with pytest.raises((openai.APIConnectionError, openai.APIError)):
        await said(client)


async def test_a_stream_can_stop_in_the_middle_of_an_event(upstream: ScriptedUpstream) -> None:
    upstream.script[KEY] = [CutStream(1, "inside_event")]
    body = await raw_stream(upstream)
    assert body.count(b"\n\n") == 2  # the role and one piece
    assert not body.endswith(b"\n\n")
    assert b"[DONE]" not in body


@pytest.mark.parametrize("after_pieces", [0, 2])
async def test_an_error_in_a_stream_raises_with_its_code(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream, after_pieces: int
) -> None:
    upstream.script[KEY] = [ErrorInStream(after_pieces, refusal=Limited())]
    with pytest.raises(openai.APIError) as caught:
        await said(client)
    assert caught.value.code == "rate_limit_exceeded"
    body = await raw_stream(upstream)
    assert body.count(b'"content":') == (after_pieces + 1 if after_pieces else 0)  # the role has an empty one
    assert b"[DONE]" not in body


async def test_comments_come_before_the_first_event(client: openai.AsyncOpenAI, upstream: ScriptedUpstream) -> None:
    upstream.script[KEY] = [Comments(2, then=Answer("ok"))]
    assert words(await said(client)) == "ok"
    assert (await raw_stream(upstream)).startswith(b": keep-alive\n\n: keep-alive\n\ndata: ")


async def test_a_compressed_stream_can_be_read_by_a_client_that_decodes(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script[KEY] = [EncodedGzip(then=Answer("packed"))]
    assert words(await said(client)) == "packed"


async def test_connections_can_be_reset_before_a_byte_is_read(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.resets = 1
    with pytest.raises(openai.APIConnectionError):
        await client.models.list()
    assert upstream.requests == []
    assert (await client.models.list()).data


async def test_a_caller_who_leaves_early_is_remembered_so(upstream: ScriptedUpstream) -> None:
    upstream.script[KEY] = [Hang()]
    caller = asyncio.create_task(raw_stream(upstream))
    await upstream.until(lambda u: len(u.requests) == 1)
    assert not upstream.requests[0].disconnected
    caller.cancel()
    await asyncio.wait_for(upstream.until(lambda u: u.requests[0].disconnected), 5)


async def test_thinking_time_and_text_may_depend_on_the_question(
    client: openai.AsyncOpenAI, upstream: ScriptedUpstream
) -> None:
    upstream.script[KEY] = [Answer(text=lambda asked: asked.question * 2, think_seconds=lambda _: 0.01)]
    assert words(await said(client)) == "你好你好"


async def test_a_file_is_kept_byte_for_byte(client: openai.AsyncOpenAI) -> None:
    content = bytes(range(256)) + b"\r\n--\r\n\x00"
    kept = await client.files.create(file=("a.bin", content), purpose="assistants")
    assert (kept.bytes, kept.filename) == (len(content), "a.bin")
    assert kept.model_extra is not None
    assert kept.model_extra["sha256"] == hashlib.sha256(content).hexdigest()
    assert (await client.files.content(kept.id)).read() == content


async def test_any_other_path_is_told_what_arrived(upstream: ScriptedUpstream) -> None:
    url = f"{upstream.base_url}/anything/at?a=1&b=2"
    async with calling() as session, session.put(url, data=b"body") as answer:
        echo = await answer.json()
    assert (echo["method"], echo["path"]) == ("PUT", "/v1/anything/at?a=1&b=2")
    assert echo["sha256"] == hashlib.sha256(b"body").hexdigest()
    assert [upstream.requests[0].body, upstream.requests[0].key] == [b"body", KEY]


async def test_an_answer_carries_the_headers_that_a_gateway_has_to_take_off(upstream: ScriptedUpstream) -> None:
    async with calling() as session, session.get(f"{upstream.base_url}/models") as answer:
        names = set(answer.headers)
    assert {"set-cookie", "server", "cf-ray", "alt-svc", "openai-organization"} <= {name.lower() for name in names}


async def raw_stream(upstream: ScriptedUpstream) -> bytes:
    body = json.dumps({"model": "gpt-5.2", "messages": HELLO, "stream": True})
    async with calling() as session, session.post(f"{upstream.base_url}/chat/completions", data=body) as answer:
        return await answer.read()


def calling() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"})
