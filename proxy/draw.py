"""
Has a model draw a picture for the bot.

Rule 1: one picture a request. Its bytes are asked for; where the upstream gives a URL all the same, that is told, not fetched.
Rule 2: parameters that some models need are refused by others (response_format by all whose name begins with gpt-image), so
        all that stand beside the prompt may be left out.

Source: platform.openai.com/docs/api-reference/images/create.
"""

from __future__ import annotations

from base64 import b64decode
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from proxy.command import Begin
from proxy.draft import Draft
from proxy.reading import json_of
from proxy.sender import EmptyAnswer, Sender, TornAnswer, failure
from proxy.target import Target
from proxy.value import value_type

IMAGES = Target("/v1/images/generations")
DISPENSABLE = ("n", "size", "response_format")  # one picture, of the model's own size, is drawn without them
MOST_BYTES = 40 << 20  # of an answer; the largest pictures of today are below 20 MiB, and a third more in base64


@value_type
class Drawn:
    """A picture's bytes, or its `url` where there are none. `revised_prompt`: what the model made of the prompt, or ""."""

    data: bytes = field(default=b"", repr=False)
    url: str = field(default="", repr=False)
    revised_prompt: str = field(default="", repr=False)


@dataclass(slots=True)
class Drawing:
    sender: Sender

    async def draw(self, prompt: str, *, model: str, size: str) -> Drawn:
        """
        Raises Refusal (a 400 whose `upstream_code` is "moderation_blocked" or "content_policy_violation" where it is about
        what the prompt says), TornAnswer, EmptyAnswer.
        """
        fields = {"model": model, "prompt": prompt, "n": 1, "size": size, "response_format": "b64_json"}
        draft = Draft(fields, self.sender.unsupported, dispensable=DISPENSABLE)
        body = bytearray()
        async with aclosing(self.sender.send(IMAGES, draft, accept="application/json")) as parts:
            async for part in parts:
                body += part.data if isinstance(part, Begin) else part
                if len(body) > MOST_BYTES:
                    raise TornAnswer
        return drawn(bytes(body))


def drawn(body: bytes) -> Drawn:
    """The first picture of an answer. Raises as `Drawing.draw`."""
    if fault := failure(body):
        raise fault
    answer = json_of(body)
    if not isinstance(answer, dict):
        raise TornAnswer
    pictures = answer.get("data")
    picture = pictures[0] if isinstance(pictures, list) and pictures else None
    if not isinstance(picture, dict):
        raise EmptyAnswer("")
    try:
        data = b64decode(_text(picture, "b64_json"), validate=True)
    except ValueError:
        raise TornAnswer from None
    url = "" if data else _text(picture, "url")
    if not data and not url:
        raise EmptyAnswer("")
    return Drawn(data, url, _text(picture, "revised_prompt"))


def _text(picture: dict[str, Any], name: str) -> str:
    value = picture.get(name)
    return value if isinstance(value, str) else ""
