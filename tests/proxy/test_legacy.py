"""Each parameter of a legacy completion and what becomes of it, and each answer on its way back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.legacy import chat_question, completion_answer
from proxy.refusal import Refusal

ASKED: dict[str, Any] = {"model": "text-davinci-003", "prompt": "Q: 驿站是什么？\n A: "}
SAID = [{"role": "user", "content": ASKED["prompt"]}]


def chat(**more: Any) -> dict[str, Any]:
    """What such a question says as a chat, beyond its model and its messages."""
    question = chat_question({**ASKED, **more}, "gpt-5")
    assert question.pop("model") == "gpt-5"
    assert question.pop("messages") == SAID
    return question


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 1024),
        ("temperature", 0.1),
        ("top_p", 0.5),
        ("stop", "\n"),
        ("stop", ["\n", "Q:"]),
        ("stream", True),
        ("stream", False),
        ("stream_options", {"include_usage": True}),
        ("n", 2),
        ("presence_penalty", -1),
        ("frequency_penalty", 2),
        ("user", "u-1"),
        ("seed", 7),
        ("logit_bias", {"50256": -100}),
        ("reasoning_effort", "low"),  # neither side's: the upstream's to judge
    ],
)
def test_a_parameter_that_has_a_counterpart_is_passed_on(name: str, value: Any) -> None:
    assert chat(**{name: value}) == {name: value}


@pytest.mark.parametrize("name", ["max_tokens", "stop", "suffix", "echo", "best_of", "logprobs", "logit_bias", "n"])
def test_null_is_as_good_as_nothing(name: str) -> None:
    assert chat(**{name: None}) == {}


@pytest.mark.parametrize(
    "more", [{"suffix": ""}, {"echo": False}, {"logprobs": False}, {"best_of": 1}, {"best_of": 2, "n": 2}]
)
def test_what_asks_for_nothing_is_left_out(more: dict[str, Any]) -> None:
    assert chat(**more) == {name: value for name, value in more.items() if name == "n"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("suffix", "end"),
        ("suffix", 0),
        ("echo", True),
        ("echo", 0),
        ("logprobs", 0),
        ("logprobs", 5),
        ("logprobs", True),
        ("best_of", 2),
        ("best_of", "3"),
        ("best_of", [2]),
        ("prompt", None),
        ("prompt", []),
        ("prompt", ["one", "two"]),
        ("prompt", [1, 2, 3]),
        ("prompt", [[1, 2], [3]]),
        ("prompt", [None]),
        ("prompt", 5),
        ("prompt", {"text": "x"}),
    ],
)
def test_what_has_no_counterpart_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(Refusal) as refused:
        chat_question({**ASKED, name: value}, "gpt-5")
    assert (refused.value.status, refused.value.code, refused.value.param) == (400, "invalid_request", name)
    assert name in refused.value.message


def test_a_list_of_one_prompt_is_that_prompt() -> None:
    assert chat(prompt=[ASKED["prompt"]]) == {}


def test_a_refusal_repeats_no_word_of_the_prompt() -> None:
    with pytest.raises(Refusal) as refused:
        chat_question({"prompt": ["geheim", "secret"]}, "gpt-5")
    assert "geheim" not in refused.value.message


# --- the way back

CHAT = {"id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "gpt-5-2026"}


def told(answer: Any) -> Any:
    data = completion_answer(json.dumps(answer).encode(), "text-davinci-003")
    return None if data is None else json.loads(data)


def test_a_whole_answer_is_a_text_completion_of_the_model_that_was_asked_for() -> None:
    usage = {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    choices = [
        {"index": 0, "message": {"role": "assistant", "content": "好"}, "logprobs": None, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": "坏"}, "finish_reason": "length"},
    ]
    answer = {**CHAT, "choices": choices, "usage": usage, "system_fingerprint": "fp", "service_tier": "default"}
    assert told(answer) == {
        "id": "chatcmpl-1",
        "object": "text_completion",
        "created": 5,
        "model": "text-davinci-003",
        "choices": [
            {"text": "好", "index": 0, "logprobs": None, "finish_reason": "stop"},
            {"text": "坏", "index": 1, "logprobs": None, "finish_reason": "length"},
        ],
        "usage": usage,
        "system_fingerprint": "fp",
    }


@pytest.mark.parametrize(
    ("choice", "text", "index", "reason"),
    [
        ({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}, "", 0, None),
        ({"index": 3, "delta": {"content": "字"}, "finish_reason": None}, "字", 3, None),
        ({"index": 0, "delta": {}, "finish_reason": "content_filter"}, "", 0, "content_filter"),
        ({"index": 0, "delta": {"content": None, "reasoning_content": "hm"}}, "", 0, None),
        ({"delta": {"content": "x"}}, "x", 0, None),
        ({"index": 0, "delta": "x"}, "", 0, None),
        ({"index": 0, "message": {"content": ["x"]}}, "", 0, None),
        ({"index": 0}, "", 0, None),
    ],
)
def test_each_choice_of_a_chunk_becomes_one_of_text(choice: Any, text: str, index: int, reason: str | None) -> None:
    chunk = told({**CHAT, "object": "chat.completion.chunk", "choices": [choice]})
    assert chunk["choices"] == [{"text": text, "index": index, "logprobs": None, "finish_reason": reason}]
    assert chunk["object"] == "text_completion"
    assert "usage" not in chunk


@pytest.mark.parametrize("usage", [None, {"total_tokens": 7}])
def test_usage_is_told_where_there_is_one_also_without_a_choice(usage: Any) -> None:
    assert told({**CHAT, "choices": [], "usage": usage})["usage"] == usage


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"message": "no"}},
        {"error": "no", "choices": []},
        {**CHAT, "choices": [{"index": 0, "delta": {"content": ""}}], "error": {"code": 502}},
        {"object": "list", "data": []},
        {**CHAT, "choices": None},
        [],
        "x",
        None,
    ],
)
def test_what_is_no_chat_answer_is_not_translated(answer: Any) -> None:
    assert told(answer) is None


@pytest.mark.parametrize("data", [b"", b"[DONE]", b"{broken", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_not_translated(data: bytes) -> None:
    assert completion_answer(data, "m") is None
