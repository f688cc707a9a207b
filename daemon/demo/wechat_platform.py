"""
What WeChat's server API knows and does for one Official Account. Pure: time comes from the clock, and token values by number.

Written from WeChat's documents alone, and with none of the bot's own code, so that the two check each other.

Rule 1: a call is refused for its token first, then for the account's rights, then for what it says, then for the subscriber's
        windows and quotas; a refused call changes nothing.
Rule 2: what `/token` and `/stable_token` give does not touch each other.

Sources, all under developers.weixin.qq.com/doc/service/: api/base/api_getaccesstoken and api_getstableaccesstoken,
api/customer/message/api_sendcustommessage and api_typing, api/material/temporary/api_uploadtempmedia, guide/product/message/
Customer_Service_Messages. The 2,048 bytes of a text are measured by others, not documented.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf
from typing import Any

TOKEN_SECONDS = 7200
TOKEN_CHARACTERS = 512  # for so many the documents ask to have room
OVERLAP_SECONDS = 300  # in which an old token is good beside the new one
FORCED_SECONDS = 30  # sooner a forced refresh refreshes nothing
FORCED_A_DAY = 20
DAY_SECONDS = 86_400
WINDOW_SECONDS = 48 * 3600
MESSAGES = 5  # to a subscriber for each message of theirs
FOLLOW_SECONDS = 60
FOLLOW_MESSAGES = 3
TYPING_WINDOW_SECONDS = 30
TYPING_SECONDS = 15
MAX_TEXT_BYTES = 2048
MAX_MEDIA_BYTES = 10 * 1024 * 1024
MEDIA_SECONDS = 3 * DAY_SECONDS
MEDIA_KINDS = ("image", "voice", "video", "thumb")
IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
# An escaped letter beyond ASCII, after no backslash or an even number of them.
ESCAPED = re.compile(rb"(?<!\\)(?:\\\\)*\\u(?!00[0-7])[0-9a-fA-F]{4}")

MESSAGE_OF: Mapping[int, str] = {
    -1: "system error",
    40001: "invalid credential, access_token is invalid or not latest",
    40002: "invalid grant_type",
    40003: "invalid openid",
    40004: "invalid media type",
    40005: "invalid file type",
    40007: "invalid media_id",
    40008: "invalid message type",
    40013: "invalid appid",
    40033: "invalid charset. please check your request, if include \\uxxxx will create fail!",
    40125: "invalid appsecret",
    40164: "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist",
    41001: "access_token missing",
    41005: "media data missing",
    42001: "access_token expired",
    43002: "require POST method",
    44001: "empty media data",
    44004: "empty content",
    45001: "media size out of limit",
    45002: "content size out of limit",
    45009: "reach max api daily quota limit",
    45011: "api minute-quota reach limit, must slower, retry next minute",
    45015: "response out of time limit or subscription is canceled",
    45047: "out of response count limit",
    45072: "command is invalid",
    45080: "no interaction with the user in the last 30 seconds",
    45081: "already in typing status",
    47001: "data format error",
    48001: "api unauthorized",
}

Answer = dict[str, Any]
OK: Mapping[str, Any] = {"errcode": 0, "errmsg": "ok"}


@dataclass(frozen=True, slots=True)
class Sent:
    """What a subscriber received. `at` is of the platform's clock."""

    openid: str
    kind: str  # "text" or "image"
    words: str
    media_id: str
    at: float


@dataclass(slots=True)
class _Subscriber:
    heard_at: float
    open_until: float
    left: int  # messages that they may still be sent
    typing_until: float = -inf


class Refused(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"{self.code} {MESSAGE_OF[self.code]}"


@dataclass(slots=True, repr=False)
class Platform:
    """`clock` is in seconds; `token_seconds` is how long a new token is good."""

    app_id: str
    app_secret: str
    clock: Callable[[], float]
    is_verified: bool = True
    token_seconds: int = TOKEN_SECONDS
    sent: list[Sent] = field(default_factory=list)
    media: dict[str, bytes] = field(default_factory=dict)
    _media_at: dict[str, float] = field(default_factory=dict)
    _subscribers: dict[str, _Subscriber] = field(default_factory=dict)
    _ends: dict[str, float] = field(default_factory=dict)  # until when each token is good
    _tokens: dict[str, str] = field(default_factory=dict)  # the latest, by the path that gave it
    _made: int = 0  # tokens
    _forced: list[float] = field(default_factory=list)  # when

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.app_id}>"

    def followed(self, openid: str) -> None:
        self._subscribers[openid] = _Subscriber(-inf, self.clock() + FOLLOW_SECONDS, FOLLOW_MESSAGES)

    def heard(self, openid: str) -> None:
        """The subscriber has written to the account."""
        now = self.clock()
        self._subscribers[openid] = _Subscriber(now, now + WINDOW_SECONDS, MESSAGES)

    def token(self, query: Mapping[str, str]) -> Answer:
        """Each call makes a new one, and leaves the last one five minutes."""
        self._check_secret(query)
        return self._new("token")

    def stable_token(self, body: bytes) -> Answer:
        asked = _read(body)
        self._check_secret(asked)
        latest, now = self._tokens.get("stable_token"), self.clock()
        if asked.get("force_refresh") is True and (not self._forced or now - self._forced[-1] >= FORCED_SECONDS):
            of_today = [at for at in self._forced if now - at < DAY_SECONDS]
            if len(of_today) == FORCED_A_DAY:
                raise Refused(45009)
            self._forced = [*of_today, now]
            if latest is not None:
                del self._ends[latest]
        elif latest in self._ends and (left := int(self._ends[latest] - now)) > OVERLAP_SECONDS:
            return {"access_token": latest, "expires_in": left}
        return self._new("stable_token")

    def expire_tokens(self) -> None:
        """Every token of now ends now."""
        self._ends.update(dict.fromkeys(self._ends, self.clock()))

    def revoke_tokens(self) -> None:
        """Somebody else forces a refresh: what was given is void, and the next call for a token gives theirs."""
        self._ends.clear()
        self._new("stable_token")

    def admit(self, token: str | None, *, needs_verified: bool) -> None:
        if not token:
            raise Refused(41001)
        if token not in self._ends:
            raise Refused(40001)
        if self.clock() >= self._ends[token]:
            raise Refused(42001)
        if needs_verified and not self.is_verified:
            raise Refused(48001)

    def send(self, body: bytes) -> Sent:
        asked = _read(body)
        if ESCAPED.search(body):
            raise Refused(40033)
        subscriber = self._subscribers.get(str(asked.get("touser")))
        if subscriber is None:
            raise Refused(40003)
        kind = asked.get("msgtype")
        content = asked.get(str(kind))
        if kind not in ("text", "image") or not isinstance(content, dict):
            raise Refused(40008)
        words, media_id = str(content.get("content", "")), str(content.get("media_id", ""))
        if kind == "text" and not words:
            raise Refused(44004)
        if len(words.encode()) > MAX_TEXT_BYTES:
            raise Refused(45002)
        if kind == "image":
            self.media_of(media_id)
        if self.clock() > subscriber.open_until:
            raise Refused(45015)
        if not subscriber.left:
            raise Refused(45047)
        subscriber.left -= 1
        subscriber.typing_until = -inf
        self.sent.append(Sent(asked["touser"], kind, words, media_id, self.clock()))
        return self.sent[-1]

    def typing(self, body: bytes) -> None:
        asked, now = _read(body), self.clock()
        subscriber = self._subscribers.get(str(asked.get("touser")))
        if subscriber is None:
            raise Refused(40003)
        match asked.get("command"):
            case "CancelTyping":
                subscriber.typing_until = -inf
            case "Typing":
                if now - subscriber.heard_at > TYPING_WINDOW_SECONDS:
                    raise Refused(45080)
                if now < subscriber.typing_until:
                    raise Refused(45081)
                subscriber.typing_until = now + TYPING_SECONDS
            case _:
                raise Refused(45072)

    def is_typing(self, openid: str) -> bool:
        return openid in self._subscribers and self.clock() < self._subscribers[openid].typing_until

    def upload(self, kind: str, filename: str, data: bytes) -> Answer:
        if kind not in MEDIA_KINDS:
            raise Refused(40004)
        if not filename:
            raise Refused(41005)
        if not data:
            raise Refused(44001)
        if len(data) > MAX_MEDIA_BYTES:
            raise Refused(45001)
        if kind == "image" and content_type(data) == UNKNOWN:
            raise Refused(40005)
        media_id = f"media-{len(self.media) + 1}-{sha256(data).hexdigest()[:16]}"
        self.media[media_id] = data
        self._media_at[media_id] = self.clock()
        return {"type": kind, "media_id": media_id, "created_at": int(self.clock())}

    def media_of(self, media_id: str) -> bytes:
        if media_id not in self.media or self.clock() - self._media_at[media_id] >= MEDIA_SECONDS:
            raise Refused(40007)
        return self.media[media_id]

    def _check_secret(self, asked: Mapping[str, Any]) -> None:
        if asked.get("grant_type") != "client_credential":
            raise Refused(40002)
        if asked.get("appid") != self.app_id:
            raise Refused(40013)
        if asked.get("secret") != self.app_secret:
            raise Refused(40125)

    def _new(self, path: str) -> Answer:
        now, old = self.clock(), self._tokens.get(path)
        if old in self._ends:
            self._ends[old] = min(self._ends[old], now + OVERLAP_SECONDS)
        self._made += 1
        proof = sha256(f"{self.app_secret} {self._made}".encode()).hexdigest()
        token = f"{self._made}_{proof * 8}"[:TOKEN_CHARACTERS]
        self._tokens[path], self._ends[token] = token, now + self.token_seconds
        return {"access_token": token, "expires_in": self.token_seconds}


UNKNOWN = "application/octet-stream"


def content_type(data: bytes) -> str:
    return next((kind for magic, kind in IMAGES.items() if data.startswith(magic)), UNKNOWN)


def refusal(code: int, message: str = "") -> Answer:
    return {"errcode": code, "errmsg": message or MESSAGE_OF.get(code, "unknown error")}


def _read(body: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(body)
    except ValueError:
        raise Refused(47001) from None
    if not isinstance(asked, dict):
        raise Refused(47001)
    return asked
