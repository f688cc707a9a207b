"""The vendors that speak OpenAI's language with an accent of their own, each as it was met in the field."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, AsyncAzureOpenAI, AsyncOpenAI, BadRequestError

from daemon.demo.steps import JSON, SSE, Answer, Comments, Events, Raw, Step
from daemon.demo.upstream import ScriptedUpstream
from tests.flows.several import ASKED, TOKEN, Place, document, key, paths, serving

pytestmark = pytest.mark.usefixtures("both_lanes")

WELL = Answer("well")


def refusal(status: int, body: Any, **headers: str) -> Raw:
    """An underscore in a header's name stands for a hyphen."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Raw(status, {**JSON, **names}, json.dumps(body, ensure_ascii=False).encode())


@contextlib.asynccontextmanager
async def vendor(
    folder: Path, *steps: Step, base_path: str = "/v1", **settings: Any
) -> AsyncIterator[tuple[Place, ScriptedUpstream]]:
    """An upstream that tells of no organization, with one key for each step: k1, k2 …"""
    names = [f"k{number}" for number, _ in enumerate(steps, start=1)]
    script = {f"sk-{name}": [step] for name, step in zip(names, steps, strict=True)}
    async with ScriptedUpstream(script, organization=dict.fromkeys(script, ""), base_path=base_path) as upstream:
        table = {"base_url": upstream.base_url, **settings}
        async with serving(folder, document({"vendor": table}, [key(name, "vendor") for name in names])) as place:
            yield place, upstream


# --- Azure: learn.microsoft.com/azure/ai-services/openai/reference; two styles of path, a header and a query of its own


AZURE = {"auth": "api-key", "query": {"api-version": "2024-10-21"}}


@pytest.mark.parametrize("base", ["/openai/v1", "/openai/deployments/gpt%205"])
async def test_azure_gets_its_path_its_header_and_its_version(tmp_path: Path, base: str) -> None:
    async with vendor(tmp_path, WELL, base_path=base, **AZURE) as (place, azure):
        assert await place.status_of() == 200
        async with place.request("GET", "/files?limit=2&purpose=a%20b") as response:
            assert response.status == 200
        async with place.request("GET", "/models?api-version=2020-01-01&api%2Dversion=x&after=m") as response:
            assert response.status == 200
    assert paths(azure) == [
        f"{base}/chat/completions?api-version=2024-10-21",
        f"{base}/files?limit=2&purpose=a%20b&api-version=2024-10-21",
        f"{base}/models?after=m&api-version=2024-10-21",
    ]
    assert {received.headers["api-key"] for received in azure.requests} == {"sk-k1"}
    assert not [received for received in azure.requests if "Authorization" in received.headers]


async def test_azure_s_own_client_works_with_our_token_as_its_api_key(tmp_path: Path) -> None:
    async with vendor(tmp_path, WELL, base_path="/openai/deployments/gpt-5", **AZURE) as (place, azure):
        client = AsyncAzureOpenAI(
            api_key=TOKEN, api_version="2023-05-15", base_url=f"{place.daemon.url}/v1", max_retries=0
        )
        async with client:
            models = await client.models.list()
    assert [model.id for model in models.data]
    assert paths(azure) == ["/openai/deployments/gpt-5/models?api-version=2024-10-21"]


async def test_azure_s_429_cools_by_its_milliseconds(tmp_path: Path) -> None:
    limited = refusal(
        429,
        {"error": {"code": "429", "message": "Requests have exceeded call rate limit. Please retry after 3 seconds."}},
        retry_after="3",
        retry_after_ms="2718",
        x_ratelimit_reset_requests="-1",
    )
    async with vendor(tmp_path, limited, WELL, **AZURE) as (place, _):
        assert await place.status_of() == 200
        (cooled, _) = place.daemon.pool.snapshot()
    assert cooled.rule == "rate"
    assert 2.0 < (cooled.seconds_left or 0) < 3.0, "with up to a tenth on top"


async def test_azure_s_filter_is_the_caller_s_business_and_costs_no_key(tmp_path: Path) -> None:
    error = {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
    async with vendor(tmp_path, refusal(400, {"error": error}), WELL, **AZURE) as (place, azure):
        async with place.ask() as response:
            assert (response.status, await response.json()) == (400, {"error": error})
        assert place.states() == {"k1": "ready", "k2": "ready"}
    assert len(azure.requests) == 1


async def test_azure_s_first_event_without_a_choice_is_no_choice_unfinished(tmp_path: Path) -> None:
    """It tells of the prompt's filter alone; `finish_reason` of the only choice still completes the stream."""
    events = [
        b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"well"},"finish_reason":null}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    ]
    async with vendor(tmp_path, Events(events), WELL, **AZURE) as (place, _), place.ask(stream=True) as response:
        assert await response.read() == b"".join(events)


# --- DeepSeek: api-docs.deepseek.com/quick_start/error_codes and …/quick_start/rate_limit


async def test_deepseek_without_balance_is_exhausted_and_the_next_key_answers(tmp_path: Path) -> None:
    error = {"message": "Insufficient Balance", "type": "unknown_error", "param": None, "code": "invalid_request_error"}
    async with vendor(tmp_path, refusal(402, {"error": error}), WELL) as (place, _):
        assert await place.status_of("deepseek-chat") == 200
        assert place.states() == {"k1": "exhausted", "k2": "ready"}


async def test_deepseek_s_comments_while_it_queues_reach_the_caller_and_its_client_reads_over_them(
    tmp_path: Path,
) -> None:
    async with vendor(tmp_path, Comments(3, seconds=0.01, then=WELL)) as (place, _):
        async with place.ask("deepseek-chat", stream=True) as response:
            assert (await response.read()).startswith(b": keep-alive\n\n: keep-alive\n\n: keep-alive\n\ndata: ")
        async with AsyncOpenAI(api_key=TOKEN, base_url=f"{place.daemon.url}/v1", max_retries=0) as client:
            stream = await client.chat.completions.create(model="deepseek-chat", messages=ASKED, stream=True)
            said = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(said) == "well"


async def test_deepseek_s_blank_lines_before_an_answer_that_is_no_stream_pass(tmp_path: Path) -> None:
    body = b"\n\n\n" + b'{"choices":[{"index":0,"message":{"content":"well"},"finish_reason":"stop"}]}'
    async with (
        vendor(tmp_path, Raw(200, JSON, body), WELL) as (place, _),
        place.ask("deepseek-chat") as response,
    ):
        assert await response.read() == body


# --- Qwen: help.aliyun.com/zh/model-studio/error-code


QWEN = [
    (400, {"code": "Arrearage", "type": "Arrearage", "message": "Access denied, account is not in good standing."}, ""),
    (429, {"code": "Throttling.AllocationQuota", "type": "limit", "message": "Allocated quota exceeded."}, ""),
    (429, {"code": "insufficient_quota", "type": "insufficient_quota", "message": "You exceeded your quota."}, ""),
    (429, {"code": "Throttling.RateQuota", "type": "limit", "message": "Requests rate limit exceeded."}, "rate"),
    (429, {"code": "Throttling", "type": "limit", "message": "Requests throttling triggered."}, "rate"),
]


@pytest.mark.parametrize(("status", "error", "rule"), QWEN, ids=lambda value: getattr(value, "get", str)("code"))
async def test_qwen_without_money_is_exhausted_and_too_fast_it_cools(
    tmp_path: Path, status: int, error: dict[str, str], rule: str
) -> None:
    async with vendor(tmp_path, refusal(status, {"error": error}), WELL) as (place, _):
        assert await place.status_of("qwen-max") == 200
        (met, _) = place.daemon.pool.snapshot()
    assert (met.state, met.rule) == (("cooling", "rate") if rule else ("exhausted", "quota"))


# --- Moonshot: platform.moonshot.cn/docs/api/chat


MOONSHOT = {
    "rate_limit_reached_error": (429, "cooling", "rate"),
    "exceeded_current_quota_error": (429, "exhausted", "quota"),
    "engine_overloaded_error": (429, "cooling", "overload"),
}


@pytest.mark.parametrize("kind", MOONSHOT)
async def test_moonshot_tells_by_the_type_alone_what_is_the_matter(tmp_path: Path, kind: str) -> None:
    status, state, rule = MOONSHOT[kind]
    refused = refusal(status, {"error": {"type": kind, "message": "Your account is in trouble."}})
    async with vendor(tmp_path, refused, WELL) as (place, _):
        assert await place.status_of("kimi-k2") == 200
        (met, _) = place.daemon.pool.snapshot()
    assert (met.state, met.rule) == (state, rule)


# --- vLLM and its kin: errors in three shapes, and `/v1/completions` alive


SHAPES: dict[str, Any] = {
    "a bare string": {"error": "max_tokens is too large"},
    "no envelope": {
        "object": "error",
        "message": "max_tokens is too large",
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    "a number for a code": {"error": {"message": "max_tokens is too large", "type": "BadRequestError", "code": 400}},
    "a list": {"error": ["max_tokens is too large"]},
}


@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES.keys())
async def test_vllm_s_error_passes_as_it_came_in_whatever_shape_and_costs_no_key(tmp_path: Path, body: Any) -> None:
    async with vendor(tmp_path, refusal(400, body), WELL) as (place, vllm):
        async with place.ask("llama") as response:
            assert (response.status, await response.json()) == (400, body)
        async with AsyncOpenAI(api_key=TOKEN, base_url=f"{place.daemon.url}/v1", max_retries=0) as client:
            vllm.script["sk-k2"] = [refusal(400, body)]
            with pytest.raises(BadRequestError):
                await client.chat.completions.create(model="llama", messages=ASKED)
        assert place.states() == {"k1": "ready", "k2": "ready"}


async def test_vllm_s_bare_401_is_a_rejected_key(tmp_path: Path) -> None:
    async with vendor(tmp_path, refusal(401, {"error": "Unauthorized"}), WELL) as (place, _):
        assert await place.status_of("llama") == 200
        assert place.states() == {"k1": "suspect", "k2": "ready"}


async def test_vllm_s_error_inside_a_stream_is_passed_on_and_its_client_raises(tmp_path: Path) -> None:
    told = Raw(200, SSE, b'data: {"error": "the engine died"}\n\ndata: [DONE]\n\n')
    async with vendor(tmp_path, told) as (place, _):
        async with place.ask("llama", stream=True) as response:
            assert await response.read() == told.body
        async with AsyncOpenAI(api_key=TOKEN, base_url=f"{place.daemon.url}/v1", max_retries=0) as client:
            stream = await client.chat.completions.create(model="llama", messages=ASKED, stream=True)
            with pytest.raises(APIError):
                _ = [chunk async for chunk in stream]


async def test_vllm_s_legacy_completions_pass_as_they_are(tmp_path: Path) -> None:
    async with vendor(tmp_path, WELL) as (place, vllm):
        body = {"model": "llama", "prompt": "hi", "max_tokens": 5}
        async with place.request("POST", "/completions", json=body) as response:
            assert (await response.json())["choices"][0]["text"] == "well"
    assert vllm.requests[0].json == body
