"""
How a conversation is asked in each of the three APIs, and what of an answer is the model's words. Pure.

Rule 1: what is said stays as it is; in a completion alone a line that would pass for the next question's or answer's mark is
        given a full-width colon, or whoever asks could put words into the model's mouth.
Rule 2: words are what is said to whoever asked, a refusal too; what the model thought is none.
Rule 3: a completion has no pictures: their words stand alone.
Rule 4: `finish_reason` is chat's word, whichever API it came by.

Messages are chat's: {"role": "system" | "user" | "assistant", "content": text, or parts
{"type": "text", "text": …} and {"type": "image_url", "image_url": {"url": …}}}.

Source: platform.openai.com/docs/api-reference (chat, responses, responses-streaming, completions).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from proxy.target import Target
from proxy.value import value_type

Api: TypeAlias = Literal["chat", "responses", "completions"]
Message: TypeAlias = Mapping[str, Any]

TARGETS: Mapping[Api, Target] = {
    "chat": Target("/v1/chat/completions"),
    "responses": Target("/v1/responses"),
    "completions": Target("/v1/completions"),
}
NEXT_QUESTION = "\nQ:"  # where a completion stops, or the model would go on to ask itself
FINISH_REASONS: Mapping[str, str] = {"max_output_tokens": "length"}  # chat's word for it

_USAGE: Mapping[str, Any] = {"stream_options": {"include_usage": True}}
_FALSE_MARK = re.compile(r"([\n\r]\s*)([QA]):")
_TERMINALS = frozenset({"response.completed", "response.incomplete"})


@value_type
class Said:
    words: str = ""
    finish_reason: str = ""


def question(api: Api, messages: Sequence[Message], *, model: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the request. `parameters` are named as chat names them."""
    asked: dict[str, Any]
    match api:
        case "chat":
            asked = {"messages": list(messages), "stream": True, **_USAGE, "store": False}
        case "responses":
            told = "\n\n".join(_text(message) for message in messages if message["role"] == "system")
            items = [_item(message) for message in messages if message["role"] != "system"]
            asked = {**({"instructions": told} if told else {}), "input": items, "stream": True, "store": False}
            parameters = {("max_output_tokens" if n == "max_tokens" else n): v for n, v in parameters.items()}
        case "completions":
            asked = {"prompt": _prompt(messages), "stop": [NEXT_QUESTION], "stream": True, **_USAGE}
    return {"model": model, **asked, **parameters}


def said(api: Api, payload: Any) -> Said:
    """What an event of a stream, or a whole answer, says."""
    if api == "responses":
        return _response_said(_object(payload))
    words, finish_reason = "", ""
    for choice in _list(_object(payload).get("choices")):
        choice = _object(choice)
        message = _object(choice.get("delta") or choice.get("message"))
        parts = [choice.get("text")] if api == "completions" else [message.get("content"), message.get("refusal")]
        words += _joined(parts)
        finish_reason = str(choice.get("finish_reason") or finish_reason)
    return Said(words, finish_reason)


# --- questions


def _item(message: Message) -> dict[str, Any]:
    kind = "output_text" if message["role"] == "assistant" else "input_text"
    content = [
        {"type": kind, "text": part["text"]}
        if part["type"] == "text"
        else {"type": "input_image", "image_url": part["image_url"]["url"], "detail": "auto"}
        for part in _parts(message)
    ]
    return {"type": "message", "role": message["role"], "content": content}


def _prompt(messages: Sequence[Message]) -> str:
    told = [_text(message) for message in messages if message["role"] == "system"]
    rounds = [
        (" A: " if message["role"] == "assistant" else "Q: ") + _FALSE_MARK.sub(r"\1\2：", _text(message))
        for message in messages
        if message["role"] != "system"
    ]
    return "\n\n".join([*told, "\n".join([*rounds, " A: "])])


def _parts(message: Message) -> Sequence[Mapping[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _text(message: Message) -> str:
    return "\n".join(part["text"] for part in _parts(message) if part["type"] == "text")


# --- answers


def _response_said(payload: dict[str, Any]) -> Said:
    kind = payload.get("type")
    if kind in ("response.output_text.delta", "response.refusal.delta"):
        return Said(_joined([payload.get("delta")]))
    if kind in _TERMINALS:  # it tells the whole answer again, of which only the end is news
        return Said(finish_reason=_ending(_object(payload.get("response"))))
    if payload.get("object") != "response":
        return Said()
    messages = [item for item in map(_object, _list(payload.get("output"))) if item.get("type") == "message"]
    parts = [part for message in messages for part in map(_object, _list(message.get("content")))]
    return Said(_joined([part.get("text") or part.get("refusal") for part in parts]), _ending(payload))


def _ending(response: dict[str, Any]) -> str:
    if response.get("status") == "completed":
        return "stop"
    reason = str(_object(response.get("incomplete_details")).get("reason") or "")
    return FINISH_REASONS.get(reason, reason)


def _joined(parts: Sequence[Any]) -> str:
    return "".join(part for part in parts if isinstance(part, str))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
