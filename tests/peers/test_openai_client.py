"""The official openai client through the whole daemon: all it does works, and it retries as we mean it to."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from openai import (
    APIConnectionError,
    APIStatusError,
    AsyncOpenAI,
    AuthenticationError,
    DefaultAsyncHttpxClient,
    InternalServerError,
    OpenAI,
    PermissionDeniedError,
    RateLimitError,
)

from daemon.demo.refusals import Limited, NoQuota, ServerError, TooLarge
from daemon.demo.steps import Answer, CutStream, Raw, Reset, Step
from tests.flows.daemon_bench import TOKEN, Town, town

pytestmark = pytest.mark.usefixtures("both_lanes")

ASKED: Any = [{"role": "user", "content": "hi"}]
LEAKS = ("set-cookie", "openai-organization", "openai-project", "x-ratelimit-limit-requests", "cf-ray", "alt-svc")


def everything(client: OpenAI) -> dict[str, Any]:
    """What a program may do with one client, one after another."""
    with client:
        chunks = client.chat.completions.create(model="gpt-5.2", stream=True, messages=ASKED)
        events = client.responses.create(model="gpt-5.2", input="hi", stream=True)
        legacy = client.completions.create(model="gpt-5.2", prompt="hi", stream=True)
        uploaded = client.files.create(file=("a.bin", bytes(range(256)) * 400), purpose="assistants")
        return {
            "chat": client.chat.completions.create(model="gpt-5.2", messages=ASKED).choices[0].message.content,
            "chat, streamed": "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
            "completion": client.completions.create(model="gpt-5.2", prompt="hi").choices[0].text,
            "completion, streamed": "".join(chunk.choices[0].text for chunk in legacy),
            "response": client.responses.create(model="gpt-5.2", input="hi").output_text,
            "response, streamed": "".join(e.delta for e in events if e.type == "response.output_text.delta"),
            "models": [model.id for model in client.models.list()],
            "file": hashlib.sha256(client.files.content(uploaded.id).read()).hexdigest(),
        }


async def everything_at_once(client: AsyncOpenAI) -> dict[str, Any]:
    """The same, all of it at once."""

    async def chat() -> str | None:
        return (await client.chat.completions.create(model="gpt-5.2", messages=ASKED)).choices[0].message.content

    async def chat_streamed() -> str:
        chunks = await client.chat.completions.create(model="gpt-5.2", stream=True, messages=ASKED)
        return "".join([c.choices[0].delta.content or "" async for c in chunks if c.choices])

    async def completion() -> str:
        return (await client.completions.create(model="gpt-5.2", prompt="hi")).choices[0].text

    async def completion_streamed() -> str:
        chunks = await client.completions.create(model="gpt-5.2", prompt="hi", stream=True)
        return "".join([chunk.choices[0].text async for chunk in chunks])

    async def response() -> str:
        return (await client.responses.create(model="gpt-5.2", input="hi")).output_text

    async def response_streamed() -> str:
        events = await client.responses.create(model="gpt-5.2", input="hi", stream=True)
        return "".join([event.delta async for event in events if event.type == "response.output_text.delta"])

    async def models() -> list[str]:
        return [model.id async for model in client.models.list()]

    async def file() -> str:
        uploaded = await client.files.create(file=("a.bin", bytes(range(256)) * 400), purpose="assistants")
        return hashlib.sha256((await client.files.content(uploaded.id)).read()).hexdigest()

    doing: dict[str, Callable[[], Awaitable[Any]]] = {
        "chat": chat,
        "chat, streamed": chat_streamed,
        "completion": completion,
        "completion, streamed": completion_streamed,
        "response": response,
        "response, streamed": response_streamed,
        "models": models,
        "file": file,
    }
    async with client:
        return dict(zip(doing, await asyncio.gather(*(do() for do in doing.values())), strict=True))


WELL = {
    **dict.fromkeys(
        ["chat", "chat, streamed", "completion", "completion, streamed", "response", "response, streamed"],
        "驿站 well",
    ),
    "models": ["gpt-5.2", "gpt-5.2-mini"],
    "file": hashlib.sha256(bytes(range(256)) * 400).hexdigest(),
}


async def test_all_that_the_synchronous_client_does_works(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer("驿站 well")]}, ()) as place:
        client = OpenAI(api_key=TOKEN, base_url=f"{place.daemon.url}/v1", max_retries=0)
        assert await asyncio.to_thread(everything, client) == WELL
        assert {received.key for received in place.upstream.requests} == {"sk-1"}


async def test_all_that_the_asynchronous_client_does_works_at_once(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer("驿站 well")]}, ()) as place:
        client = AsyncOpenAI(api_key=TOKEN, base_url=f"{place.daemon.url}/v1", max_retries=0)
        assert await everything_at_once(client) == WELL


async def test_the_raw_answer_names_its_request_and_nothing_of_the_key(tmp_path: Path) -> None:
    async with (
        town(tmp_path, {"sk-1": [Answer("well")]}, ()) as place,
        AsyncOpenAI(api_key=TOKEN, base_url=f"{place.daemon.url}/v1", max_retries=0) as client,
    ):
        raw = client.chat.completions.with_raw_response
        answers = [await raw.create(model="gpt-5.2", messages=ASKED) for _ in range(2)]
        names = [answer.headers["x-posthouse-request"] for answer in answers]
        assert len(set(names)) == 2
        assert [name for name in LEAKS if name in answers[0].headers] == []
        assert answers[0].headers["x-request-id"].startswith("req_")
        assert answers[0].headers["openai-processing-ms"] == "12"
        parsed = answers[0].parse()
        assert parsed.choices[0].message.content == "well"


class Counted:
    """An asynchronous client of `place` that counts the requests it sends to the gateway."""

    def __init__(self, place: Town, **more: Any) -> None:
        self.sent: list[str] = []

        async def count(request: Any) -> None:
            self.sent.append(request.headers.get("x-stainless-retry-count"))

        http = DefaultAsyncHttpxClient(event_hooks={"request": [count]})
        given = {"api_key": TOKEN, "base_url": f"{place.daemon.url}/v1", "http_client": http, **more}
        self.client = AsyncOpenAI(**given)  # its own two retries

    async def chat(self) -> str | None:
        async with self.client as client:
            answer = await client.chat.completions.create(model="gpt-5.2", messages=ASKED)
            return answer.choices[0].message.content


FINAL: dict[str, tuple[Step, type[APIStatusError], str]] = {
    "a request that is too large": (TooLarge(), RateLimitError, "rate_limit_exceeded"),
    "no key that will ever serve": (NoQuota(), InternalServerError, "pool_exhausted"),
    "an outcome that nobody knows": (Reset("request"), InternalServerError, "upstream_outcome_unknown"),
    "a 502 of a proxy upstream": (Raw(502, {}, b"<html>"), InternalServerError, "upstream_outcome_unknown"),
    "a rest of more than two minutes": (Limited(retry_after="130"), RateLimitError, "rate_limit_exceeded"),
}


@pytest.mark.parametrize(("step", "error", "code"), FINAL.values(), ids=FINAL.keys())
async def test_what_a_retry_cannot_mend_is_tried_once(
    tmp_path: Path, step: Step, error: type[APIStatusError], code: str
) -> None:
    async with town(tmp_path, {"sk-1": [step]}, ()) as place:
        counted = Counted(place)
        with pytest.raises(error) as raised:
            await counted.chat()
        assert raised.value.code == code
        assert (len(counted.sent), len(place.upstream.requests)) == (1, 1)


async def test_a_token_or_model_that_is_refused_is_tried_once_and_never_sent_on(tmp_path: Path) -> None:
    def for_one_model_only(document: dict[str, Any]) -> None:
        document["proxy"]["callers"][0]["models"] = ["gpt-5"]

    async with town(tmp_path, {"sk-1": [Answer()]}, (), amend=for_one_model_only) as place:
        stranger, caller = Counted(place, api_key="sk-stranger"), Counted(place)
        with pytest.raises(AuthenticationError):
            await stranger.chat()
        with pytest.raises(PermissionDeniedError):
            await caller.chat()
        assert [len(counted.sent) for counted in (stranger, caller)] == [1, 1]
        assert place.upstream.requests == []


async def test_a_short_rest_of_every_key_is_waited_for_by_the_client_and_then_answered(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Limited(retry_after="1"), Answer("rested")]}, ()) as place:
        counted = Counted(place)
        assert await counted.chat() == "rested"
        assert counted.sent == ["0", "1"]
        assert len(place.upstream.requests) == 2


async def test_a_server_error_is_retried_by_the_client_and_then_answered(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [ServerError(), Answer("mended")]}, ()) as place:
        counted = Counted(place)
        assert await counted.chat() == "mended"
        assert (len(counted.sent), len(place.upstream.requests)) == (2, 2)


async def test_an_upstream_that_cannot_be_reached_is_retried_because_nothing_was_sent(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer("back")]}, ()) as place:
        await place.upstream.__aexit__(None, None, None)
        counted = Counted(place, max_retries=1)
        with pytest.raises(InternalServerError) as raised:
            await counted.chat()
        assert raised.value.code == "upstream_unreachable"
        assert len(counted.sent) == 2


async def test_an_answer_that_breaks_off_is_an_error_and_not_half_an_answer(tmp_path: Path) -> None:
    """The client takes the broken body for a lost connection, and retries that by itself: hence no retries here."""
    async with town(tmp_path, {"sk-1": [CutStream(0, "close")]}, ()) as place:
        counted = Counted(place, max_retries=0)
        with pytest.raises(APIConnectionError):
            await counted.chat()
