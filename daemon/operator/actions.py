"""
The buttons of a key on the operator's page: check, clear, enable, disable.

Rule 1: only a form of our own page, in a session that holds, moves a key; whatever else comes changes nothing.
Rule 2: without JavaScript a button leads back to the page, in its language; whoever asks for JSON is told what the key is
        then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from aiohttp import web

from daemon.operator.gate import Gate, redirect
from daemon.operator.page import PAGE_HEADERS, asked_language
from daemon.operator.words import Language
from proxy.health import Event, KeyView
from proxy.value import value_type

log = structlog.get_logger()

PATH = "/status/keys/{name:[A-Za-z0-9._-]{1,64}}/{action:check|clear|enable|disable}"
EVENTS: Mapping[str, Event] = {"clear": Event.CLEAR, "enable": Event.ENABLE, "disable": Event.DISABLE}

SIGNED_OUT, STALE, UNKNOWN = "signed_out", "stale", "unknown"
WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        SIGNED_OUT: "You are signed out. Sign in and press the button again.",
        STALE: "This page has gone stale, and nothing was changed. Go back, reload it, and press the button again.",
        UNKNOWN: "There is no such key any more. Go back and reload the page.",
    },
    "zh": {
        SIGNED_OUT: "您已退出登录，请重新登录后再按一次。",
        STALE: "页面已过期，没有做任何改动。请返回并刷新页面，再按一次。",
        UNKNOWN: "这把密钥已不存在，请返回并刷新页面。",
    },
}


@value_type
class Levers:
    """What moves a key, and what one sees of them. `operate` and `check` are False where there is no key of that name."""

    operate: Callable[[str, Event], bool]
    check: Callable[[str], Awaitable[bool]]
    snapshot: Callable[[], Sequence[KeyView]]


class Actions:
    def __init__(self, gate: Gate, levers: Levers) -> None:
        self._gate, self._levers = gate, levers

    def routes(self) -> list[web.AbstractRouteDef]:
        return [web.post(PATH, self.act)]

    async def act(self, request: web.Request) -> web.Response:
        if not self._gate.is_open(request):
            return _told(request, 401, SIGNED_OUT) if _wants_json(request) else self._gate.to_sign_in(request)
        if not await self._gate.is_ours(request):
            return _told(request, 403, STALE)
        name, action = request.match_info["name"], request.match_info["action"]
        if not await self._carry_out(name, action):
            return _told(request, 404, UNKNOWN)
        log.info("key.operated", action=action, key=name)
        if not _wants_json(request):
            return redirect(request, "/status")
        state = next((key.state for key in self._levers.snapshot() if key.name == name), None)
        return web.json_response({"key": name, "action": action, "state": state}, headers=PAGE_HEADERS)

    async def _carry_out(self, name: str, action: str) -> bool:
        event = EVENTS.get(action)
        return await self._levers.check(name) if event is None else self._levers.operate(name, event)


def _wants_json(request: web.Request) -> bool:
    return "application/json" in request.headers.get("Accept", "")


def _told(request: web.Request, status: int, what: str) -> web.Response:
    sentence = WORDS[asked_language(request)][what]
    if _wants_json(request):
        return web.json_response({"error": sentence}, status=status, headers=PAGE_HEADERS)
    return web.Response(status=status, text=f"{sentence}\n", headers=PAGE_HEADERS)
