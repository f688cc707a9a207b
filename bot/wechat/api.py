"""
WeChat's server API for one account: messages to subscribers, the typing state, pictures, and the token that all of them need.

Rule 1: a message goes out once. What nobody knows the end of raises ApiOutcomeUnknown, and only of a message that certainly
        did not go out is another error raised.
Rule 2: one refresh of the token at a time. Who waits for it has its outcome, good or bad; who stops waiting takes nothing away.
Rule 3: a token that is refused is renewed once, and the call made once more.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import field
from math import inf
from typing import Any

import structlog
from aiohttp import ClientSession

from bot.value import value_type
from bot.wechat.api_call import Call, Reply, form, written
from bot.wechat.api_errors import ApiError, ApiKind, ApiOutcomeUnknown, ApiUnreachable, kind_of, refused
from bot.wechat.api_hosts import hosts_of
from bot.wechat.api_line import USUAL, Line, Seconds
from bot.wechat.pages import clean

__all__ = ["Seconds", "WeChatApi", "hosts_of"]

log = structlog.get_logger()

LONGEST_SECONDS = 7200  # that a token is good
RENEWED_EARLY_SECONDS = 300.0  # so long before its end WeChat itself makes a new one, and both are good meanwhile
FORCED_SECONDS = 30.0  # between two forced refreshes; sooner WeChat gives the same token again
ALREADY_TYPING = 45081


@value_type
class Token:
    value: str = field(repr=False)
    good_until: float


class WeChatApi:
    """
    Every method raises ApiError. `hosts` are asked in turn, see `hosts_of(api_base)`; `clock` is the monotonic one, in seconds.
    """

    def __init__(
        self,
        session: ClientSession,
        *,
        app_id: str,
        app_secret: str,
        hosts: Sequence[str],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seconds: Seconds = USUAL,
    ) -> None:
        self._line = Line(session, hosts, clock=clock, sleep=sleep, seconds=seconds)
        self._app_id = app_id
        self._app_secret = app_secret
        self._clock = clock
        self._token = Token("", -inf)
        self._forced_at = -inf
        self._refreshing = asyncio.Lock()
        self._refreshes = 0  # how many have come to an end, whatever it was
        self._failure: ApiError | None = None  # of the last one

    def __repr__(self) -> str:
        return "<WeChatApi>"

    async def send_text(self, openid: str, words: str) -> None:
        """`words` are at most 2,048 bytes of UTF-8."""
        await self._send(openid, "text", {"content": clean(words)})

    async def send_image(self, openid: str, media_id: str) -> None:
        await self._send(openid, "image", {"media_id": media_id})

    async def typing(self, openid: str) -> None:
        """Show the subscriber that an answer is being written, for 15 s or until the next message."""
        body = written({"touser": openid, "command": "Typing"})
        await self._make(Call("/cgi-bin/message/custom/typing", body, fine=(0, ALREADY_TYPING)))

    async def upload_image(self, data: bytes, kind: str) -> str:
        """The picture's media id, good for three days. Of kinds, WeChat takes "png", "jpeg" and "gif"."""
        content_type, body = form(data, kind, secrets.token_hex(16))
        query = {"type": "image"}
        call = Call("/cgi-bin/media/upload", body, content_type, query, is_upload=True, gives="media_id")
        return str((await self._make(call))["media_id"])

    async def check(self) -> None:
        """Whether WeChat gives this account a token, or gave one that should still be good."""
        await self._access_token()

    async def _send(self, openid: str, kind: str, content: Mapping[str, str]) -> None:
        body = written({"touser": openid, "msgtype": kind, kind: content})
        await self._make(Call("/cgi-bin/message/custom/send", body, is_repeatable=False))

    async def _make(self, call: Call) -> Mapping[str, Any]:
        token = await self._access_token()
        reply = await self._line.make(call, token)
        if kind_of(reply.code) is ApiKind.TOKEN:
            log.info("wechat_api.token_refused", call=call.name, code=reply.code)
            reply = await self._line.make(call, await self._access_token(but_not=token))
        return _accepted(call, reply)

    async def _access_token(self, *, but_not: str = "") -> str:
        """A token that should be good; one that was refused only if WeChat gives no other."""
        refreshes = self._refreshes
        async with self._refreshing:
            if self._token.value != but_not and self._clock() < self._token.good_until:
                return self._token.value
            if self._failure is not None and self._refreshes != refreshes:
                raise copy(self._failure)  # it came while this caller waited; everybody raises one of their own
            self._failure = None
            try:
                await self._refresh(but_not)
            except ApiError as failure:
                self._failure = copy(failure)
                raise
            finally:
                self._refreshes += 1
            return self._token.value

    async def _refresh(self, but_not: str) -> None:
        # Plainly first, also after a refusal: if another program of the same account has forced a new token, that is what
        # comes, and to force one more would only take theirs away. WeChat allows twenty a day.
        token = await self._fetch(force=False)
        if token.value == but_not and self._clock() - self._forced_at >= FORCED_SECONDS:
            self._forced_at = self._clock()
            token = await self._fetch(force=True)
        self._token = token

    async def _fetch(self, *, force: bool) -> Token:
        began = self._clock()
        who = {"grant_type": "client_credential", "appid": self._app_id, "secret": self._app_secret}
        call = Call("/cgi-bin/stable_token", written({**who, "force_refresh": force}), gives="access_token")
        try:
            given = _accepted(call, await self._line.make(call))
        except ApiOutcomeUnknown as lost:
            raise ApiUnreachable(lost.reason) from None  # for what needs the token was certainly not sent
        lasts = given.get("expires_in")
        seconds = min(lasts, LONGEST_SECONDS) if isinstance(lasts, int) else RENEWED_EARLY_SECONDS
        return Token(given["access_token"], began + max(seconds - RENEWED_EARLY_SECONDS, seconds / 2))


def _accepted(call: Call, reply: Reply) -> Mapping[str, Any]:
    """What a good reply says. Raises ApiRefused."""
    if reply.code in call.fine:
        return reply.members
    error = refused(reply.code, reply.members.get("errmsg"))
    where = {"address": error.detail} if error.detail else {}
    log.warning("wechat_api.refused", call=call.name, code=error.code, **where)
    raise error
