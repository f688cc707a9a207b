"""
Where the rooms meet: what the bot needs, over what the gateway has.

Rule 1: a failure leaves in the bot's own terms; nothing of the gateway's reaches a subscriber's words.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import structlog

from bot.ask import Ask, Draw, Look, Message, Resting, Unanswered
from bot.exchange import Reason
from bot.fetch import CannotFetch, Fetch
from bot.picture import Picture, picture_of
from daemon.operator.words import WORDS
from proxy.chat import Chat, EmptyAnswer, TornAnswer
from proxy.draw import Drawing
from proxy.health import Event
from proxy.keypool import KeyPool
from proxy.refusal import Refusal

log = structlog.get_logger()


def ask_through(chat: Chat) -> Ask:
    """How the desk asks: over the same pool as every caller."""

    async def ask(messages: Sequence[Message], *, model: str) -> AsyncGenerator[str]:
        has_picture = any(message.picture for message in messages)
        try:
            async with contextlib.aclosing(chat.ask([_plain(each) for each in messages], model=model)) as pieces:
                async for piece in pieces:
                    yield piece
        except TornAnswer:
            raise Unanswered(Reason.TRUNCATED) from None
        except EmptyAnswer:
            raise Unanswered(Reason.EMPTY) from None
        except Refusal as refusal:
            raise _in_the_desks_terms(refusal, Reason.BLIND if has_picture else Reason.REFUSED) from None

    return ask


def draw_through(drawing: Drawing, fetch: Fetch) -> Draw:
    """How pictures are drawn, whether the upstream gives their bytes or where they lie."""

    async def draw(prompt: str, *, model: str, size: str) -> Picture:
        try:
            drawn = await drawing.draw(prompt, model=model, size=size)
            picture = await asyncio.to_thread(picture_of, drawn.data) if drawn.data else await fetch(drawn.url)
        except (TornAnswer, CannotFetch):
            raise Unanswered(Reason.TRUNCATED) from None
        except EmptyAnswer:
            raise Unanswered(Reason.DRAWING) from None
        except Refusal as refusal:
            raise _in_the_desks_terms(refusal, Reason.DRAWING) from None
        if picture is None:
            raise Unanswered(Reason.DRAWING)
        return picture

    return draw


def look_through(fetch: Fetch) -> Look:
    async def look(place: str) -> Picture:
        try:
            return await fetch(place)
        except CannotFetch:
            raise Unanswered(Reason.PHOTO) from None

    return look


class KeysBackstage:
    """`bot.wechat.counter.Backstage` over the pool, in the words of the operator's page."""

    def __init__(self, pool: KeyPool) -> None:
        self._pool = pool

    def keys(self) -> Mapping[str, str]:
        words = WORDS["zh"].key_states
        return {view.name: words.get(view.state, view.state) for view in self._pool.snapshot()}

    def usable(self) -> int:
        return sum(view.state == "ready" for view in self._pool.snapshot())

    def switch(self, key: str, *, is_on: bool) -> bool:
        is_known = self._pool.operate(key, Event.ENABLE if is_on else Event.DISABLE)
        if is_known:
            log.info("key.switched", key=key, on=is_on, by="an administrator")
        return is_known


def _plain(message: Message) -> dict[str, Any]:
    if message.picture is None:
        return {"role": message.role, "content": message.content}
    shown = {"type": "image_url", "image_url": {"url": message.picture.data_url()}}
    return {"role": message.role, "content": [{"type": "text", "text": message.content}, shown]}


def _in_the_desks_terms(refusal: Refusal, refused: Reason) -> Resting | Unanswered:
    match refusal.code:
        case "rate_limit_exceeded" | "overloaded":
            return Resting(refusal.retry_after_seconds)
        case "pool_exhausted":
            return Resting(None)
    if refusal.status >= 500:
        return Unanswered(Reason.UNREACHABLE)
    # Only a 400 is about what was asked; a 413 or a "request too large" is about how much.
    return Unanswered(refused if refusal.status == 400 else Reason.REFUSED)
