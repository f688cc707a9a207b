"""
How an upstream reads a question and speaks an answer in each of its dialects: chat, completion, response, image. Pure.

Rule 1: shapes and order are those of OpenAI's API reference (platform.openai.com/docs/api-reference): `usage` only where
        `stream_options.include_usage` asks for it, `[DONE]` nowhere but in chat and completion.
Rule 2: what today's models do not take stands in `objections`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from daemon.demo import pictures

CREATED = 1_760_000_000  # epoch seconds; a fixed one, so that two equal answers are equal byte for byte
OWN_SIZE = "1024x1024"  # of a picture that is asked for without one


class Dialect(StrEnum):
    CHAT = "/v1/chat/completions"
    COMPLETION = "/v1/completions"
    RESPONSE = "/v1/responses"
    IMAGE = "/v1/images/generations"


# Which field has the question.
FIELD: Mapping[Dialect, str] = {
    Dialect.CHAT: "messages",
    Dialect.COMPLETION: "prompt",
    Dialect.RESPONSE: "input",
    Dialect.IMAGE: "prompt",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A question as an upstream understood it. `messages` is how many came, the question and a system prompt included;
    `pictures` is how many came with them, of `picture_bytes` together.

    Of a picture to be drawn the question is its prompt; `form` is "b64_json" or "url", and URLs begin with `origin`.
    """

    dialect: Dialect
    model: str
    question: str
    messages: int
    streams: bool = False
    wants_usage: bool = False
    choices: int = 1
    pictures: int = 0
    picture_bytes: int = 0
    size: str = ""
    form: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Speech:
    """SSE events: what comes before the first piece of text, one event a piece (for each choice), what comes after."""

    opening: tuple[bytes, ...]
    pieces: tuple[bytes, ...]
    closing: tuple[bytes, ...]


def asked(dialect: Dialect, body: Mapping[str, Any]) -> Asked:
    given = body.get(FIELD[dialect])
    question, messages = _question(given)
    sizes = [pictures.size_in_bytes(url) for url in _pictures(given)]
    model = str(body.get("model", ""))
    draws = dialect is Dialect.IMAGE
    return Asked(
        dialect=dialect,
        model=model,
        question=question,
        messages=messages + bool(body.get("instructions")),
        streams=bool(body.get("stream")) and not draws,
        wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        choices=int(body.get("n") or 1),
        pictures=len(sizes),
        picture_bytes=sum(sizes),
        size=str(body.get("size") or OWN_SIZE) if draws else "",
        form=_form(model, body) if draws else "",
    )


def quoting(asked: Asked) -> str:
    """The answer unless a step has a text of its own: it shows which question came, and with how much memory."""
    seen = f"随信有 {asked.pictures} 张图片，共 {asked.picture_bytes} 字节。" if asked.pictures else ""
    return f"你问的是「{asked.question}」。这次对话一共有 {asked.messages} 条消息。{seen}"


def error(
    message: str, *, kind: str = "invalid_request_error", param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def is_gpt_image(model: str) -> bool:
    return model.startswith("gpt-image")


def document(asked: Asked, text: str) -> dict[str, Any]:
    """The whole answer, not streamed. A picture shows what was asked for, and says no `text`."""
    if asked.dialect is Dialect.IMAGE:
        return _drawing(asked)
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


def _pictures(given: Any) -> list[str]:
    """The URLs of the pictures in all that was said."""
    said = [message.get("content") for message in given if isinstance(message, dict)] if isinstance(given, list) else []
    parts = [part for content in said if isinstance(content, list) for part in content if isinstance(part, dict)]
    urls = [part["image_url"] for part in parts if part.get("image_url")]
    return [str(url.get("url", "") if isinstance(url, dict) else url) for url in urls]


def _form(model: str, body: Mapping[str, Any]) -> str:
    return "b64_json" if is_gpt_image(model) else str(body.get("response_format") or "url")


def _drawing(asked: Asked) -> dict[str, Any]:
    drawn: dict[str, Any] = {"b64_json": pictures.base64_of(asked.question, asked.size)}
    if asked.form == "url":
        drawn = {"url": asked.origin + pictures.path_of(asked.question, asked.size)}
    if is_gpt_image(asked.model):
        details = {"text_tokens": len(asked.question), "image_tokens": 0}
        usage = {"input_tokens": len(asked.question), "input_tokens_details": details, "output_tokens": 272}
        total = {"total_tokens": len(asked.question) + 272}
        look = {"background": "opaque", "output_format": "png", "quality": "low", "size": asked.size}
        return {"created": CREATED, "data": [drawn] * asked.choices, "usage": {**usage, **total}, **look}
    revised = {"revised_prompt": f"{asked.question}, in fine detail"} if asked.model.startswith("dall-e-3") else {}
    return {"created": CREATED, "data": [{**revised, **drawn}] * asked.choices}


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
