"""
A conversation over a WebSocket by script: OpenAI's Realtime events as far as one in text needs them. Pure.

Rule: what is no event is answered by an `error` event, and the conversation goes on.

Source: platform.openai.com/docs/api-reference/realtime-client-events and realtime-server-events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Talk:
    """
    The step, and the act, of a key that may talk. After so many messages (`closes_after`) the upstream ends it with `code` and
    `reason`, or without a close frame where the code is 0.

    `pieces` of a mebibyte come right after the first event. `is_deaf`: after that nothing is read. `pings`: so many come next.
    """

    answer: str = "Good day."
    closes_after: int | None = None
    code: int = 1000
    reason: str = ""
    pieces: int = 0
    is_deaf: bool = False
    pings: int = 0
    protocols: tuple[str, ...] = ("realtime", "openai-beta.realtime-v1")

    def play(self, call: object) -> Iterator[Talk]:
        yield self


@dataclass(slots=True)
class Talked:
    """What became of one: what was heard, how much was sent, and the close code of the other end, None where it sent none."""

    heard: list[str | bytes] = field(default_factory=list)
    sent: int = 0
    pongs: int = 0
    code: int | None = None
    reason: str = ""
    is_over: bool = False


def answer(said: str, talk: Talk) -> Iterator[dict[str, Any]]:
    try:
        event = json.loads(said)
        kind = event["type"]
    except (ValueError, TypeError, KeyError):
        fault = {"type": "invalid_request_error", "code": "invalid_json", "message": "Not an event.", "param": None}
        yield {"type": "error", "error": fault}
        return
    match kind:
        case "session.update":
            yield {"type": "session.updated", "session": event.get("session")}
        case "response.create":
            yield {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
            for word in talk.answer.split(" "):
                yield {"type": "response.output_text.delta", "delta": word}
            output = [{"type": "message", "content": [{"type": "output_text", "text": talk.answer}]}]
            usage = {"total_tokens": 16, "input_tokens": 10, "output_tokens": 6}
            details = {"input_token_details": {"cached_tokens": 4, "text_tokens": 10, "audio_tokens": 0}}
            done = {"id": "resp_1", "status": "completed", "output": output, "usage": {**usage, **details}}
            yield {"type": "response.done", "response": done}
        case _:
            yield {"type": "echo", "event": event}
