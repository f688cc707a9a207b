"""
One call of WeChat's server API and what came of it, as values. Pure.

Rule 1: what comes back is a Reply only if it is certainly WeChat's answer to this call; everything else is Lost.
Rule 2: a call's `repr` shows nothing of what it carries, and a reply's nothing of what WeChat said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from bot.value import value_type


@value_type
class Call:
    """
    One request, as often as it is made. `fine` are the codes of success, and `gives` is the text that a success has to contain.
    """

    path: str
    body: bytes = field(repr=False)
    content_type: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)
    is_upload: bool = False
    is_repeatable: bool = True
    fine: tuple[int, ...] = (0,)
    gives: str = ""

    @property
    def name(self) -> str:
        return self.path.removeprefix("/cgi-bin/").removeprefix("message/")


@value_type
class Reply:
    code: int
    members: Mapping[str, Any] = field(repr=False)


@value_type
class Lost:
    """What there is instead of a reply."""

    reason: str
    was_sent: bool = True


def written(value: Mapping[str, Any]) -> bytes:
    """As JSON, with every letter as itself: WeChat refuses escapes (40033)."""
    return json.dumps(value, ensure_ascii=False).encode()


def form(data: bytes, kind: str, boundary: str) -> tuple[str, bytes]:
    """Content type and body of a picture's upload. WeChat wants it in `media`, with a file name (41005)."""
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="media"; filename="picture.{kind}"\r\n'
        f"Content-Type: image/{kind}\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n"
    return f"multipart/form-data; boundary={boundary}", b"".join((head.encode(), data, tail.encode()))


def reply_of(call: Call, body: bytes) -> Reply | Lost:
    try:
        members = json.loads(body, strict=False)
    except (ValueError, RecursionError):
        return Lost("an answer that is no JSON")
    code = members.get("errcode", 0) if isinstance(members, dict) else None
    if type(code) is not int:
        return Lost("an answer that is none of WeChat's")
    given = members.get(call.gives) if call.gives else "nothing else"
    if code in call.fine and not (isinstance(given, str) and given):
        return Lost(f"an answer without {call.gives}")
    return Reply(code, members)
