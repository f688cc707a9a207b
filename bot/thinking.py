"""
One question thought over: what is asked of which model, and what becomes of the exchange then.

Rule 1: what comes out is a change of the exchange, not the exchange: while a model thinks, a part of its answer may be shown.
Rule 2: `answer_seconds` bounds all of it, the fetching of photos and the bringing of pictures to WeChat included.
Rule 3: words that the operator forbids are not shown. A question with them never comes here.
Rule 4: a picture bears the mark of generated content from the beginning, with the account as its producer; it is kept before
        its exchange says that it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import field, replace
from functools import partial
from typing import Protocol

import structlog

from bot import memory, outcome
from bot.ask import Ask, Draw, Look, Message, Resting, Unanswered, Upload, Voice
from bot.changes import Change
from bot.exchange import Exchange, Kind, Reason
from bot.gallery import Gallery
from bot.memory import MemorySettings
from bot.patience import patiently
from bot.picture import BadPicture, Picture, marked
from bot.value import value_type

log = structlog.get_logger()


@value_type
class ThinkingSettings:
    answer_seconds: float = 300.0
    memory: MemorySettings = field(default_factory=MemorySettings)


class VoiceOf(Protocol):
    def __call__(self, account: str, persona: str) -> Voice:
        """`persona` is the name that the subscriber has chosen, "" for none."""


@value_type
class Studio:
    """Where pictures are drawn, kept, and brought to WeChat."""

    draw: Draw
    gallery: Gallery
    upload: Upload


async def _blind(place: str) -> Picture:
    raise Unanswered(Reason.PHOTO)


class Thinker:
    """`hides` says whether words must not be shown; `clock` is the wall clock in epoch seconds."""

    def __init__(
        self,
        ask: Ask,
        *,
        voice_of: VoiceOf,
        clock: Callable[[], float],
        settings: ThinkingSettings | None = None,
        look: Look = _blind,
        studio: Studio | None = None,
        hides: Callable[[str], bool] = lambda words: False,
    ) -> None:
        self._ask = ask
        self._voice_of = voice_of
        self._clock = clock
        self.settings = settings or ThinkingSettings()
        self._look = look
        self._studio = studio
        self.hides = hides

    async def think(
        self, exchange: Exchange, recent: Sequence[Exchange], persona: str, heard: Callable[[str], None]
    ) -> Change:
        """`recent` is what was said before, oldest first; `heard` gets the answer's pieces as they come."""
        limit = asyncio.timeout(self.settings.answer_seconds)
        try:
            async with limit:
                voice = self._voice_of(exchange.account, persona)
                if exchange.kind is Kind.DRAWING:
                    return await self._drawn(exchange, voice)
                return await self._said(exchange, recent, voice, heard)
        except Resting as resting:
            return partial(outcome.rested, back_in_seconds=resting.back_in_seconds, now=self._clock())
        except Unanswered as unanswered:
            return partial(outcome.failed, reason=unanswered.reason)
        except Exception as error:  # noqa: BLE001 - whatever breaks, the subscriber hears of it and can ask again
            if limit.expired():
                return partial(outcome.failed, reason=Reason.TIMEOUT)
            log.error("answer.crashed", error=type(error).__name__)  # no more: its text may hold words
            return partial(outcome.failed, reason=Reason.CRASHED)

    async def forget(self, account: str, openid: str) -> None:
        """Every picture that was drawn for the subscriber goes. Raises StoreUnavailable."""
        if self._studio is not None:
            await self._studio.gallery.forget(account, openid)

    async def _said(
        self, exchange: Exchange, recent: Sequence[Exchange], voice: Voice, heard: Callable[[str], None]
    ) -> Change:
        messages = memory.messages(recent, exchange, system_prompt=voice.system_prompt, settings=self.settings.memory)
        said = []
        async for piece in self._ask(await self._with_photos(messages), model=voice.model):
            said.append(piece)
            heard(piece)
        text = "".join(said)
        if self.hides(text):
            return partial(outcome.failed, reason=Reason.FILTERED)
        return partial(outcome.given, text=text, now=self._clock())

    async def _with_photos(self, messages: Sequence[Message]) -> list[Message]:
        """The question's photo must be there; one that was spoken of before may be gone, and its words stand alone."""
        seen = []
        for message in messages:
            if message.photo:
                try:
                    message = replace(message, picture=await self._look(message.photo))
                except Unanswered:
                    if message is messages[-1]:
                        raise
            seen.append(message)
        return seen

    async def _drawn(self, exchange: Exchange, voice: Voice) -> Change:
        if self._studio is None or not voice.drawing_model:  # switched off since the question was asked
            raise Unanswered(Reason.DRAWING)
        studio = self._studio
        drawn = await studio.draw(exchange.question, model=voice.drawing_model, size=voice.drawing_size)
        try:  # in a thread: a picture may have many megabytes
            picture = await asyncio.to_thread(marked, drawn, producer=exchange.account, identity=exchange.id)
        except BadPicture:
            raise Unanswered(Reason.TRUNCATED) from None
        kept = await patiently(lambda: studio.gallery.keep(exchange.account, exchange.openid, picture), asyncio.sleep)
        media_id = await studio.upload(exchange, picture)
        return partial(outcome.drawn, picture=kept, media_id=media_id, now=self._clock())
