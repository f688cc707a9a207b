"""
`/demo`: a phone and a program to play with, over a daemon that does not know it is watched.

Rule 1: what the visitor does is a JSON POST, which no page of another origin can make; what is to be seen is one GET.
Rule 2: nothing here touches the daemon but through its own doors: WeChat's callback and `/v1`. Only the keys' views and the
        sign-in ticket are handed in.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from daemon.demo import view
from daemon.demo.envelope import Link
from daemon.demo.phone import Chat, Kind, Phones
from daemon.demo.program import Program
from daemon.demo.upstream import ScriptedUpstream
from daemon.demo.wechat_platform import content_type
from daemon.demo.wechat_server import WeChatServer
from daemon.demo.words import WORDS, Words
from daemon.operator.page import PAGE_HEADERS, asked_language, rendered
from daemon.operator.words import Language
from proxy.health import KeyView

VISITOR = re.compile(r"[a-z0-9]{6,32}")
MAX_TEXT = 600  # characters; WeChat's own limit for what a subscriber can send is about that

# What a visitor does without a word.
GESTURES: Mapping[str, Callable[[Phones, Chat], None]] = {
    "follow": Phones.follow,
    "unfollow": Phones.unfollow,
    "photo": Phones.photo,
    "menu": Phones.menu,
}


@dataclass(frozen=True, slots=True)
class Stage:
    """All that the page shows. `ticket` gives a path that signs its first visitor in to the status page."""

    phones: Phones
    wechat: WeChatServer
    program: Program
    upstream: ScriptedUpstream
    keys: Callable[[], Sequence[KeyView]]
    ticket: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Demo:
    """The whole context of `demo.html`."""

    language: Language
    other_language: Language
    words: Words


class DemoPage:
    """Routes first, for the daemon to be started with; `raise_curtain` once it runs."""

    def __init__(self) -> None:
        self._stage: Stage | None = None

    def raise_curtain(self, stage: Stage) -> None:
        self._stage = stage

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/demo", self.page),
            web.get("/demo/view.json", self.view),
            web.get(view.MEDIA_PATH + "{name}", self.media),
            web.get(view.PHOTOS_PATH + "{name}", self.photo),
            web.get("/demo/status", self.status, allow_head=False),
            web.post("/demo/say", self.say),
            web.post("/demo/tap", self.tap),
            web.post("/demo/call", self.call),
            *(web.post(f"/demo/{name}", self.gesture) for name in GESTURES),
        ]

    async def page(self, request: web.Request) -> web.Response:
        language = asked_language(request)
        other: Language = "en" if language == "zh" else "zh"
        return rendered(request, "demo.html", Demo(language, other, WORDS[language]))

    async def view(self, request: web.Request) -> web.Response:
        stage, language = self._open(), asked_language(request)
        words = WORDS[language]
        received, chat = stage.upstream.requests, _chat(request.query)
        bubbles = stage.phones.bubbles(chat)
        shown = {
            "chat": view.chat(bubbles, words, time.monotonic()),
            "follows": view.follows(bubbles),
            "typing": stage.phones.is_typing(chat),
            "keys": view.keys(stage.keys(), language),
            "calls": view.calls(stage.program.calls, received, words),
            "seen": view.seen(received, words),
        }
        return web.json_response(shown, headers=PAGE_HEADERS)

    async def media(self, request: web.Request) -> web.Response:
        """A picture that the bot uploaded, as WeChat shows it in a chat."""
        return _picture(self._open().wechat.media.get(request.match_info["name"]))

    async def photo(self, request: web.Request) -> web.Response:
        _, data = self._open().wechat.pictures.get(request.match_info["name"], ("", None))
        return _picture(data)

    async def status(self, request: web.Request) -> web.Response:
        location = f"{self._open().ticket()}&lang={asked_language(request)}"
        return web.Response(status=303, headers={**PAGE_HEADERS, "Location": location})

    async def say(self, request: web.Request) -> web.Response:
        given = await _given(request)
        if text := given.get("text", "").strip()[:MAX_TEXT]:
            self._open().phones.say(_chat(given), text)
        return _done()

    async def tap(self, request: web.Request) -> web.Response:
        given = await _given(request)
        link = Link("", given.get("content", "")[:MAX_TEXT], given.get("id", "")[:MAX_TEXT])
        self._open().phones.tap(_chat(given), link)
        return _done()

    async def gesture(self, request: web.Request) -> web.Response:
        GESTURES[request.path.rpartition("/")[2]](self._open().phones, _chat(await _given(request)))
        return _done()

    async def call(self, request: web.Request) -> web.Response:
        await _given(request)
        await self._open().program.call(WORDS[asked_language(request)].question)
        return _done()

    def _open(self) -> Stage:
        if self._stage is None:
            raise web.HTTPServiceUnavailable(text="the demo is still starting\n")
        return self._stage


async def _given(request: web.Request) -> dict[str, str]:
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="expected JSON\n")
    try:
        given = await request.json()
    except ValueError:
        raise web.HTTPBadRequest(text="expected JSON\n") from None
    if not isinstance(given, dict):
        raise web.HTTPBadRequest(text="expected a JSON object\n")
    return {str(name): str(value) for name, value in given.items()}


def _chat(given: Mapping[str, str]) -> Chat:
    visitor, account = given.get("visitor", ""), given.get("account", "")
    if not VISITOR.fullmatch(visitor):
        raise web.HTTPBadRequest(text="expected a visitor of 6 to 32 letters and digits\n")
    if account not in list(Kind):
        raise web.HTTPBadRequest(text="expected the account personal or verified\n")
    return Chat(visitor, Kind(account))


def _picture(data: bytes | None) -> web.Response:
    if data is None:
        raise web.HTTPNotFound(text="there is no such picture\n")
    return web.Response(body=data, content_type=content_type(data), headers=PAGE_HEADERS)


def _done() -> web.Response:
    return web.Response(status=204, headers=PAGE_HEADERS)
