"""What is asked of which model, and what becomes of the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from bot.ask import Message, Resting, Unanswered, Voice
from bot.exchange import Exchange, Kind, Reason, State
from bot.picture import Picture, marked
from bot.thinking import Studio, Thinker, ThinkingSettings
from daemon.demo.pictures import png

PIXEL = Picture("png", png("a pixel", "8x8"))
ASKED = Exchange("x1", "gh_a", "o1", "p1", "这是什么？", State.THINKING, asked_at=1000.0, started_at=1000.0)


class Model:
    def __init__(self, *says: str | Exception) -> None:
        self.says = says
        self.heard: list[Message] = []
        self.model = ""

    async def __call__(self, messages: Sequence[Message], *, model: str) -> AsyncIterator[str]:
        self.heard, self.model = list(messages), model
        for said in self.says:
            if isinstance(said, Exception):
                raise said
            yield said


class Album:
    """A gallery, and what was drawn, looked at and brought to WeChat."""

    def __init__(self, *, draws: Picture | Exception = PIXEL, gone: tuple[str, ...] = ()) -> None:
        self.draws = draws
        self.gone = gone
        self.kept: list[Picture] = []
        self.asked: list[tuple[str, str, str]] = []

    async def draw(self, prompt: str, *, model: str, size: str) -> Picture:
        self.asked.append((prompt, model, size))
        if isinstance(self.draws, Exception):
            raise self.draws
        return self.draws

    async def look(self, place: str) -> Picture:
        if place in self.gone:
            raise Unanswered(Reason.PHOTO)
        return PIXEL

    async def upload(self, exchange: Exchange, picture: Picture) -> str:
        return f"media-{len(self.kept)}"

    async def keep(self, account: str, openid: str, picture: Picture) -> str:
        self.kept.append(picture)
        return "kept-1"

    async def get(self, picture_id: str) -> Picture | None:
        return None

    async def forget(self, account: str, openid: str) -> None:
        self.kept.clear()

    async def expire(self, *, before: float) -> int:
        return 0


async def thought(
    exchange: Exchange, model: Model, *recent: Exchange, album: Album | None = None, **given: Any
) -> Exchange:
    album = album or Album()
    voice = given.pop("voice", Voice("m", "be kind", "painter", "512x512"))
    thinker = Thinker(
        model,
        voice_of=lambda account, persona: replace(voice, system_prompt=persona),
        clock=lambda: 1003.0,
        look=album.look,
        studio=Studio(album.draw, album, album.upload),
        **given,
    )
    change = await thinker.think(exchange, recent, "be kind", lambda piece: None)
    return change(exchange)


async def test_an_answer_is_the_pieces_put_together() -> None:
    after = await thought(ASKED, Model("答", "案"))

    assert (after.state, after.answer, after.answered_at) == (State.ANSWERED, "答案", 1003.0)


async def test_what_was_shown_meanwhile_stays_shown() -> None:
    thinker = Thinker(Model("答案"), voice_of=lambda account, persona: Voice("m"), clock=lambda: 1003.0)
    change = await thinker.think(ASKED, (), "", lambda piece: None)

    after = change(replace(ASKED, parts=("答",), next_page=1, collected_by="p1"))

    assert (after.state, after.parts, after.next_page) == (State.ANSWERED, ("答",), 1)


async def test_the_persona_that_was_chosen_is_asked() -> None:
    model = Model("好")
    await thought(ASKED, model)

    assert [message.content for message in model.heard] == ["be kind", "这是什么？"]


async def test_a_photo_goes_along_with_its_question() -> None:
    model = Model("一只猫")
    await thought(replace(ASKED, kind=Kind.PHOTO, photo="http://mmbiz.qpic.cn/1"), model)

    assert model.heard[-1].picture == PIXEL


async def test_a_photo_that_cannot_be_fetched_is_said_to_be_and_costs_no_model() -> None:
    model = Model("一只猫")
    after = await thought(replace(ASKED, kind=Kind.PHOTO, photo="http://x"), model, album=Album(gone=("http://x",)))

    assert (after.state, after.reason, model.heard) == (State.FAILED, Reason.PHOTO, [])


async def test_a_question_right_after_a_photo_is_asked_with_it_and_without_where_it_is_gone() -> None:
    photo = replace(ASKED, id="x0", kind=Kind.PHOTO, photo="http://x", state=State.COLLECTED, answered_at=999.0)
    model = Model("两只")

    await thought(replace(ASKED, question="有几只？"), model, photo)
    assert [message.picture for message in model.heard] == [None, PIXEL, None, None]
    await thought(replace(ASKED, question="有几只？"), model, photo, album=Album(gone=("http://x",)))
    assert [message.picture for message in model.heard] == [None, None, None, None]
    await thought(
        ASKED, model, photo, replace(ASKED, id="x2", state=State.COLLECTED, asked_at=999.5, answered_at=999.9)
    )
    assert not any(message.picture for message in model.heard)


async def test_a_drawing_is_kept_brought_to_wechat_and_told_to_the_model_as_its_prompt() -> None:
    album = Album()
    after = await thought(replace(ASKED, kind=Kind.DRAWING, question="一只猫"), Model(), album=album)

    assert (after.state, after.picture, after.media_id) == (State.ANSWERED, "kept-1", "media-1")
    assert album.kept == [marked(PIXEL, producer="gh_a", identity="x1")]
    assert album.asked == [("一只猫", "painter", "512x512")]
    model = Model("好")
    await thought(ASKED, model, replace(after, asked_at=999.0, answered_at=999.5))
    assert model.heard[1].content == "一只猫"
    assert "画好了" in model.heard[2].content


async def test_a_drawing_that_the_upstream_refuses_or_rests_for_is_told_so() -> None:
    asked = replace(ASKED, kind=Kind.DRAWING)

    refused = await thought(asked, Model(), album=Album(draws=Unanswered(Reason.DRAWING)))
    rested = await thought(asked, Model(), album=Album(draws=Resting(60.0)))
    off = await thought(asked, Model(), voice=Voice("m", drawing_model=""))

    assert (refused.state, refused.reason) == (State.FAILED, Reason.DRAWING)
    assert (rested.state, rested.not_before) == (State.QUEUED, 1063.0)
    assert (off.state, off.reason) == (State.FAILED, Reason.DRAWING)


async def test_an_answer_with_hidden_words_is_a_failure_with_its_reason() -> None:
    after = await thought(ASKED, Model("坏", "话"), hides=lambda words: "坏话" in words)

    assert (after.state, after.reason, after.answer) == (State.FAILED, Reason.FILTERED, "")


async def test_fetching_a_photo_counts_as_thinking() -> None:
    class Slow(Album):
        async def look(self, place: str) -> Picture:
            await asyncio.Event().wait()
            raise AssertionError

    asked = replace(ASKED, kind=Kind.PHOTO, photo="http://x")
    after = await thought(asked, Model("好"), album=Slow(), settings=ThinkingSettings(answer_seconds=0.01))

    assert (after.state, after.reason) == (State.FAILED, Reason.TIMEOUT)
