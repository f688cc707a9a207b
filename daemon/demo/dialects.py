"""
How an upstream reads a question and speaks an answer in each of its three dialects: chat, completion, response. Pure.

Rule 1: shapes and order are those of OpenAI's API reference (platform.openai.com/docs/api-reference): `usage` only where
        `stream_options.include_usage` asks for it, `[DONE]` nowhere but in chat and completion.
Rule 2: today's models are strict: `max_tokens` and a temperature of one's own are refused in chat, with `param`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

CREATED = 1_760_000_000  # epoch seconds; a fixed one, so that two equal answers are equal byte for byte


class Dialect(StrEnum):
    CHAT = "/v1/chat/completions"
    COMPLETION = "/v1/completions"
    RESPONSE = "/v1/responses"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as an upstream understood it. `messages` is how many came, the question and a system prompt included."""

    dialect: Dialect
    model: str
    question: str
    messages: int
    streams: bool = False
    wants_usage: bool = False
    choices: int = 1


@dataclass(frozen=True, slots=True)
class Speech:
    """SSE events: what comes before the first piece of text, one event a piece (for each choice), what comes after."""

    opening: tuple[bytes, ...]
    pieces: tuple[bytes, ...]
    closing: tuple[bytes, ...]


def asked(dialect: Dialect, body: Mapping[str, Any]) -> Asked:
    question, messages = _question(body.get(_FIELD[dialect]))
    return Asked(
        dialect=dialect,
        model=str(body.get("model", "")),
        question=question,
        messages=messages,
        streams=bool(body.get("stream")),
        wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        choices=int(body.get("n") or 1),
    )


def objection(dialect: Dialect, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The error of a 400 where the request is not one that today's models take, else None."""
    if not body.get("model"):
        return error("you must provide a model parameter")
    if body.get(_FIELD[dialect]) is None:
        field = _FIELD[dialect]
        return error(f"Missing required parameter: '{field}'.", param=field, code="missing_required_parameter")
    if dialect is not Dialect.CHAT:
        return None
    if "max_tokens" in body:
        return error(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    temperature = body.get("temperature", 1)
    if temperature != 1:
        return error(
            f"Unsupported value: 'temperature' does not support {temperature} with this model. "
            "Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        )
    return None


def error(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def document(asked: Asked, text: str) -> dict[str, Any]:
    """The whole answer, not streamed."""
    if asked.dialect is Dialect.RESPONSE:
        return _response(asked, "completed", text)
    if asked.dialect is Dialect.COMPLETION:
        choices = [_said(i, "stop", text=text) for i in range(asked.choices)]
        return {**_header(asked, "text_completion"), "choices": choices, "usage": _usage(asked, text)}
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    choices = [_said(i, "stop", message=message) for i in range(asked.choices)]
    return {**_header(asked, "chat.completion"), "choices": choices, "usage": _usage(asked, text)}


def speech(asked: Asked, pieces: Sequence[str]) -> Speech:
    """The answer as a stream."""
    if asked.dialect is Dialect.RESPONSE:
        return _response_speech(asked, pieces)
    chat = asked.dialect is Dialect.CHAT
    header = _header(asked, "chat.completion.chunk" if chat else "text_completion")

    def chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
        usage = {"usage": None} if asked.wants_usage else {}
        return event({**header, "choices": choices, **usage, **more})

    def said(piece: str, choice: int) -> bytes:
        part: dict[str, Any] = {"delta": {"content": piece}} if chat else {"text": piece}
        return chunk([_said(choice, None, **part)])

    every = range(asked.choices)
    role = {"role": "assistant", "content": "", "refusal": None}
    opening = [chunk([_said(i, None, delta=role)]) for i in every] if chat else []
    last: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
    closing = [chunk([_said(i, "stop", **last)]) for i in every]
    if asked.wants_usage:
        closing.append(chunk([], usage=_usage(asked, "".join(pieces))))
    closing.append(b"data: [DONE]\n\n")
    return Speech(
        opening=tuple(opening),
        pieces=tuple(b"".join(said(piece, i) for i in every) for piece in pieces),
        closing=tuple(closing),
    )


def event(data: Mapping[str, Any], name: str = "") -> bytes:
    """One SSE event; named ones belong to the responses dialect."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


_FIELD = {Dialect.CHAT: "messages", Dialect.COMPLETION: "prompt", Dialect.RESPONSE: "input"}


def _question(given: Any) -> tuple[str, int]:
    if isinstance(given, str):
        return given, 1
    if not isinstance(given, list) or not given:
        return "", 0
    last = next((m for m in reversed(given) if isinstance(m, dict) and m.get("role") == "user"), given[-1])
    content = last.get("content", "") if isinstance(last, dict) else last
    if isinstance(content, list):  # parts: text beside pictures
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content), len(given)


def _header(asked: Asked, kind: str) -> dict[str, Any]:
    name = "chatcmpl-scripted" if asked.dialect is Dialect.CHAT else "cmpl-scripted"
    return {"id": name, "object": kind, "created": CREATED, "model": asked.model}


def _said(index: int, finish_reason: str | None, **what: Any) -> dict[str, Any]:
    return {"index": index, **what, "logprobs": None, "finish_reason": finish_reason}


def _usage(asked: Asked, text: str) -> dict[str, int]:
    """One character counts as one token: good enough to be added up and compared."""
    said = len(text) * asked.choices
    return {
        "prompt_tokens": len(asked.question),
        "completion_tokens": said,
        "total_tokens": len(asked.question) + said,
    }


def _response(asked: Asked, status: str, text: str | None = None) -> dict[str, Any]:
    usage = None
    if text is not None:
        counted = _usage(asked, text)
        usage = {
            "input_tokens": counted["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": counted["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": counted["total_tokens"],
        }
    return {
        "id": "resp_scripted",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": asked.model,
        "output": [] if text is None else [_message("completed", [_part(text)])],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }


def _message(status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "msg_scripted", "type": "message", "status": status, "role": "assistant", "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _response_speech(asked: Asked, pieces: Sequence[str]) -> Speech:
    place = {"item_id": "msg_scripted", "output_index": 0, "content_index": 0}
    text = "".join(pieces)
    opening: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": _response(asked, "in_progress")}),
        ("response.in_progress", {"response": _response(asked, "in_progress")}),
        ("response.output_item.added", {"output_index": 0, "item": _message("in_progress", [])}),
        ("response.content_part.added", {**place, "part": _part("")}),
    ]
    middle: list[tuple[str, dict[str, Any]]] = [
        ("response.output_text.delta", {**place, "delta": piece, "logprobs": []}) for piece in pieces
    ]
    closing: list[tuple[str, dict[str, Any]]] = [
        ("response.output_text.done", {**place, "text": text, "logprobs": []}),
        ("response.content_part.done", {**place, "part": _part(text)}),
        ("response.output_item.done", {"output_index": 0, "item": _message("completed", [_part(text)])}),
        ("response.completed", {"response": _response(asked, "completed", text)}),
    ]
    numbered = [
        event({"type": name, "sequence_number": number, **data}, name)
        for number, (name, data) in enumerate([*opening, *middle, *closing])
    ]
    cut, end = len(opening), len(opening) + len(middle)
    return Speech(tuple(numbered[:cut]), tuple(numbered[cut:end]), tuple(numbered[end:]))
