"""
Legacy completions as chat: the question one way, its answer the other. Pure.

Rule 1: a parameter that has a counterpart is passed on, one that has none is refused by its name, and one that neither
        side knows is the upstream's to judge. What is null, or asks for nothing, was not asked.
Rule 2: an answer's id, time, texts, reasons and usage are the upstream's; its model is the name that the caller asked for.
Rule 3: what is no chat answer (an error, `[DONE]`, something else) is nobody's to translate, and stays as it came.

Two things are not as they were: without `max_tokens` the answer ends where the model ends it, not after 16 tokens; and the
prompt is said to the model, which answers it, and does not continue it.

Source of both shapes: platform.openai.com/docs/api-reference/completions and …/chat.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from proxy.draft import compact
from proxy.refusal import Refusal, invalid_request

# Parameters without a counterpart, and the value of each that asks for nothing.
NO_COUNTERPART: Mapping[str, Any] = {"suffix": "", "echo": False, "logprobs": False}


def chat_question(asked: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The same question to `model` as a chat. Raises a Refusal (400) that names the parameter where there is none."""
    given = {name: value for name, value in asked.items() if value is not None}
    for name, nothing in NO_COUNTERPART.items():
        if (value := given.pop(name, nothing)) != nothing or type(value) is not type(nothing):
            raise _no_counterpart(name, "the chat API, to which this model's completions are translated, has none.")
    n = given.get("n", 1)
    best_of = given.pop("best_of", n)
    if best_of != n and not (type(best_of) is int and type(n) is int and best_of < n):
        raise _no_counterpart("best_of", "the chat API chooses no best of several; ask for n answers.")
    prompt = _prompt(given.pop("prompt", None))
    return {**given, "model": model, "messages": [{"role": "user", "content": prompt}]}


def completion_answer(data: bytes, model: str) -> bytes | None:
    """A chat's answer, or a chunk of one, as a text_completion of `model`; None where it is neither."""
    try:
        chat = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(chat, dict) or chat.get("error") or not isinstance(chat.get("choices"), list):
        return None
    return compact(
        {
            "id": chat.get("id", ""),
            "object": "text_completion",
            "created": chat.get("created", 0),
            "model": model,
            "choices": [_choice(choice) for choice in chat["choices"] if isinstance(choice, dict)],
            **{name: chat[name] for name in ("usage", "system_fingerprint") if name in chat},
        }
    )


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    said = choice.get("delta") or choice.get("message")
    text = said.get("content") if isinstance(said, dict) else None
    return {
        "text": text if isinstance(text, str) else "",
        "index": choice.get("index", 0),
        "logprobs": None,
        "finish_reason": choice.get("finish_reason"),
    }


def _prompt(prompt: Any) -> str:
    match prompt:
        case str() | [str()]:
            return prompt if isinstance(prompt, str) else str(prompt[0])
        case None | []:
            raise invalid_request("The question is missing: send prompt, a string.", param="prompt")
        case [int(), *_] | [[int(), *_], *_]:
            raise _no_counterpart("prompt", "tokens cannot be sent to the chat API; send the prompt as a string.")
        case [str(), *_]:
            raise _no_counterpart("prompt", "the chat API takes one question at a time; send one prompt a request.")
    raise invalid_request("prompt must be a string.", param="prompt")


def _no_counterpart(name: str, why: str) -> Refusal:
    return invalid_request(f"{name} cannot be translated: {why}", param=name)
