"""
WeChat Cloud Run's pushes: the same visits, brought as JSON by a relay. Edge.

Rule 1: these pushes are neither signed nor encrypted, and their X-WX-… headers are anybody's to send; only our own secret,
        in a header or in the path, says that they are ours.
Rule 2: a refusal is the same 403 without a body, whatever was wrong.
Rule 3: the path may hold the secret, so it is never logged.
Source: developers.weixin.qq.com/miniprogram/dev/wxcloudservice/wxcloudrun/src/guide/weixin/push.html
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

import structlog
from aiohttp import web

from bot.wechat import codec
from bot.wechat.delivery import Account, answer
from bot.wechat.hold import Timing
from bot.wechat.webhook import answered, forbidden, read_body, too_large

log = structlog.get_logger()

# Cloud Run is said to give three seconds, not five (wx-chatgpt); it is not documented, and a redelivery cannot be relied on.
TIMING = Timing(hold="one", hold_seconds=2.8)

# By the reason of a refusal, for operators.
ADVICE = {
    "secret": "the secret is wrong or missing; is it the one of `bot.cloudrun.secret`?",
    "account": "the push is for an account that is not configured",
    "malformed": "the body is no push",
}


class CloudRun:
    """The handlers for all `accounts` that a relay may bring pushes for."""

    def __init__(
        self, accounts: Sequence[Account], *, secret: str, clock: Callable[[], float], timing: Timing = TIMING
    ) -> None:
        """ValueError without a secret: on a public host anybody could push."""
        if not secret:
            raise ValueError("Cloud Run pushes need a secret")
        self._accounts = tuple(accounts)
        self._secret = secret.encode()
        self._clock = clock
        self._timing = timing

    def __repr__(self) -> str:
        return "<CloudRun>"

    def routes(self) -> list[web.RouteDef]:
        places = ("/message/post", "/message/simple", "/message/{secret}/post", "/message/{secret}/simple")
        return [web.post(place, self.push) for place in places]

    async def push(self, request: web.Request) -> web.StreamResponse:
        shown = request.headers.get("X-Posthouse-Secret", request.match_info.get("secret", ""))
        if not hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), self._secret):
            return _refuse(request, "secret")
        body = await read_body(request)
        if body is None:
            return too_large()
        try:
            fields, _ = codec.read(body)
            if fields.get("action") == "CheckContainerPath":  # the console's question when the service is bound
                return web.Response(body=codec.SUCCESS, content_type="text/plain")
            account = self._account(fields.get("ToUserName", ""), request.headers.get("X-WX-FROM-APPID", ""))
            if account is None:
                return _refuse(request, "account")
            sender = {"ToUserName": account.id, "FromUserName": request.headers.get("X-WX-OPENID", "")}
            push = codec.push_of({**sender, **{name: value for name, value in fields.items() if value}}, "json")
        except codec.BadPush:
            return _refuse(request, "malformed")
        return await answered(request, lambda way: answer(way, push, account, clock=self._clock, timing=self._timing))

    def _account(self, name: str, app_id: str) -> Account | None:
        """Whom the push is for: by its ToUserName, else by the app id it came from, else the only one there is."""
        for account in self._accounts:
            if name == account.id if name else app_id and app_id == account.app_id:
                return account
        is_open = not name and not app_id
        return self._accounts[0] if is_open and len(self._accounts) == 1 else None


def _refuse(request: web.Request, reason: str) -> web.Response:
    log.warning("push.refused", account="cloudrun", reason=reason, address=request.remote, advice=ADVICE[reason])
    return forbidden()
