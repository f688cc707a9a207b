"""Answers brought by customer-service message, or kept: the real desk and visits, and a post that does what the test says."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace

import pytest

from bot.ask import Resting
from bot.exchange import Exchange, Kind, Reason, State
from bot.memory_store import MemoryStore
from bot.picture import Picture
from bot.wechat.api_errors import ApiError, ApiKind, ApiOutcomeUnknown, ApiRefused, ApiUnreachable
from bot.wechat.courier import MOST_PAGES, Courier
from bot.wechat.passive import Style
from bot.wechat.push import Push
from bot.wechat.view import Standing
from bot.wechat.visit import PROMISE

SHORT = 0.02
NOT_ALLOWED = ApiRefused(48001, ApiKind.NOT_ALLOWED)
BUSY = ApiRefused(-1, ApiKind.BUSY)
PIXEL = Picture("png", b"\x89PNG")


class Post:
    """What was sent, and what is refused next: `refuses[call]` is used up from its beginning."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.calls: list[str] = []
        self.refuses: defaultdict[str, list[ApiError | None]] = defaultdict(list)
        self.may_send = asyncio.Event()
        self.may_send.set()

    async def send_text(self, openid: str, words: str) -> None:
        await self._call("text", openid)
        self.sent.append(f"{openid}: {words}")

    async def send_image(self, openid: str, media_id: str) -> None:
        await self._call("image", openid)
        self.sent.append(f"{openid}: [{media_id}]")

    async def typing(self, openid: str) -> None:
        await self._call("typing", openid)

    async def upload_image(self, data: bytes, kind: str) -> str:
        await self._call("upload", kind)
        return "media-1"

    async def _call(self, call: str, about: str) -> None:
        self.calls.append(f"{call} {about}")
        if call in ("text", "image"):
            await self.may_send.wait()
        if self.refuses[call] and (error := self.refuses[call].pop(0)) is not None:
            raise error


@pytest.fixture
def post():
    return Post()


@pytest.fixture
async def served(bot, post):
    """A bot whose account has customer service, and deliveries that are soon held no longer."""
    bot.post = post
    await bot.start(hold_seconds=SHORT, patience_seconds=SHORT, longest_seconds=SHORT)
    return bot


async def asked(bot, text="问题", **facts):
    """A question that is not answered within its delivery; what WeChat got."""
    page = await bot.visits.deliver(bot.text(text, **facts))
    await bot.settled()
    return page


async def test_the_right_is_found_out_by_the_typing_state_before_anything_is_promised(served, post):
    assert served.courier.standing() is Standing.UNKNOWN

    assert await asked(served) is PROMISE

    assert post.calls[0] == "typing o1"
    assert served.courier.standing() is Standing.ALLOWED


async def test_a_late_answer_is_brought_and_leaves_the_mailbox(served, post):
    await asked(served)
    served.model.answers("问题", "答案")
    await served.settled()

    assert post.sent == ["o1: 答案"]
    assert await served.states() == ["collected"]


async def test_an_answer_in_time_is_the_reply_and_is_not_brought(served, post):
    served.model.answers("问题", "答案")

    assert await served.tell(served.text("问题")) == "答案"
    await served.settled()

    assert post.sent == []


async def test_an_account_that_may_not_send_keeps_to_three_deliveries_and_its_mailbox(served, post):
    post.refuses["typing"] = [NOT_ALLOWED]

    push = served.text("问题")
    assert await served.visits.deliver(push) is None
    assert await served.visits.deliver(push) is None
    assert "还在想" in (await served.tell(push))
    served.model.answers("问题", "答案")
    await served.settled()

    assert post.sent == []
    assert await served.tell(served.text("继续")) == "答案"


async def test_a_refusal_is_remembered_for_a_day(served, post):
    post.refuses["typing"] = [NOT_ALLOWED]
    await served.visits.deliver(served.text("一"))
    await served.visits.deliver(served.text("二", openid="o2"))
    assert [call for call in post.calls if "typing" in call] == ["typing o1"]

    served.now += 86_401
    await served.visits.deliver(served.text("三", openid="o3"))

    assert post.calls.count("typing o3") >= 1


@pytest.mark.parametrize("kind", [ApiKind.SUBSCRIBER, ApiKind.WINDOW, ApiKind.OTHER])
async def test_a_typing_state_that_is_refused_for_another_reason_says_that_the_account_may(served, post, kind):
    post.refuses["typing"] = [ApiRefused(45081, kind)]

    assert await asked(served) is PROMISE


async def test_while_the_server_is_out_of_reach_nothing_is_promised(served, post):
    post.refuses["typing"] = [ApiUnreachable()] * 9

    assert await asked(served) is None
    assert served.courier.standing() is Standing.UNKNOWN


async def test_a_long_answer_comes_in_five_messages_at_most_and_the_last_has_a_link_to_the_rest(served, post):
    await asked(served)
    whole = "".join(f"这是第{number}句话。" for number in range(1200))
    served.model.answers("问题", whole)
    await served.settled()

    assert len(post.sent) == MOST_PAGES
    told = [words.removeprefix("o1: ").partition("\n\n")[0] for words in post.sent]
    assert whole.startswith("".join(told))  # each page once, in order
    assert all("点这里看下一页" in words for words in post.sent)
    assert await served.tell(served.text("继续")) is not None
    assert served.visits.counts().answered == 1


@pytest.mark.parametrize(
    "error",
    [ApiRefused(45015, ApiKind.WINDOW), ApiRefused(45047, ApiKind.QUOTA), ApiRefused(45002, ApiKind.TOO_LONG)],
    ids=lambda error: str(error.code),
)
async def test_what_wechat_does_not_take_stays_in_the_mailbox_from_that_page_on(served, post, error):
    await asked(served)
    post.refuses["text"] = [None, error]
    served.model.answers("问题", "一句话。" * 400)
    await served.settled()

    assert len(post.sent) == 1
    rest = await served.tell(served.text("继续"))
    assert rest.startswith("一句话。")
    assert served.courier.view().kept == 1


async def test_a_page_that_may_have_arrived_is_not_sent_again_and_waits_in_the_mailbox(served, post):
    await asked(served)
    post.refuses["text"] = [ApiOutcomeUnknown()]
    served.model.answers("问题", "答案")
    await served.settled()

    assert post.calls.count("text o1") == 1
    await served.start(hold_seconds=SHORT)  # nor after a restart
    await served.courier.resume()
    await served.settled()
    assert post.calls.count("text o1") == 1
    assert await served.tell(served.text("继续")) == "答案"


async def test_a_page_is_noted_for_sending_once_until_it_certainly_was_not_sent(served, post):
    """Whoever looked before it was noted, and noted it after, gave WeChat the same page again."""
    await asked(served)
    post.refuses["text"] = [ApiOutcomeUnknown()]
    served.model.answers("问题", "答案")
    await served.settled()

    assert await served.desk.sending("x1") is None
    await served.desk.unsent("x1")
    noted = await served.desk.sending("x1")
    assert noted is not None
    assert (noted.sent_pages, noted.next_page) == (1, 0)


@pytest.mark.parametrize("error", [BUSY, ApiUnreachable()], ids=["busy", "unreachable"])
async def test_a_page_that_certainly_was_not_sent_is_tried_again(served, post, error):
    served.sleeps = True
    await asked(served)
    post.refuses["text"] = [error, error]
    served.model.answers("问题", "答案")
    await served.settled()

    assert post.calls.count("text o1") == 3
    assert post.sent == ["o1: 答案"]


async def test_a_failure_is_brought_with_its_reason_and_a_link_to_ask_again(served, post):
    await asked(served)
    served.model.answers("问题", RuntimeError())
    await served.settled()

    [words] = post.sent
    assert "点这里再问一次" in words
    assert await served.store.mailbox(served.account, "o1") == []


async def test_a_tap_while_the_answer_is_on_its_way_does_not_get_it_a_second_time(served, post):
    await asked(served)
    post.may_send.clear()
    served.model.answers("问题", "答案")
    await served.settled()

    tapped = asyncio.ensure_future(served.tell(served.text("继续")))
    await served.settled()
    post.may_send.set()

    assert post.sent == [] or post.sent == ["o1: 答案"]
    assert await tapped == ""
    await served.settled()
    assert post.sent == ["o1: 答案"]
    assert await served.states() == ["collected"]


async def test_an_answer_whose_reply_was_not_written_is_brought_after_wechat_might_have_come_again(served, post):
    served.sleeps = True
    await asked(served, "先问一句")  # so that the right is known
    served.model.answers("问题", "答案")
    push = served.text("问题", openid="o2")

    page = await served.visits.deliver(push)
    served.visits.unwritten(push, page)
    await served.settled()

    assert post.sent == ["o2: 答案"]


async def test_an_answer_that_comes_as_wechat_leaves_early_is_brought(served, post):
    served.sleeps = True
    await asked(served, "先问一句")
    delivery = asyncio.ensure_future(served.visits.deliver(served.text("问题", openid="o2")))
    await served.until_asked("问题")
    served.model.answers("问题", "答案")
    delivery.cancel()  # the way back is long, and the connection is gone before its time
    await asyncio.wait([delivery])
    await served.settled()

    assert post.sent == ["o2: 答案"]


async def test_a_redelivery_is_not_held_up_by_a_courier_who_waits_for_it(served, post):
    post.refuses["typing"] = [ApiUnreachable()] * 9  # so that nobody knows whether the account may send
    push = served.text("问题")
    assert await served.visits.deliver(push) is None
    served.model.answers("问题", "答案")

    assert await served.tell(push) == "答案"


async def test_an_answer_that_settles_just_as_its_courier_looked_is_brought(served, post):
    await asked(served)
    for _ in range(3):
        served.courier.take("x1")  # looks, finds that the model still thinks, and looks again
    served.model.answers("问题", "答案")
    await served.settled()

    assert post.sent == ["o1: 答案"]


async def test_what_was_answered_just_before_a_restart_is_brought_and_what_is_older_is_not(served, post):
    rows = {"new": served.now - 5, "old": served.now - 3600}
    for name, at in rows.items():
        row = Exchange(name, served.account, f"o_{name}", name, "?", asked_at=at)
        await served.store.begin(row)
        await served.store.save(
            Exchange(name, served.account, f"o_{name}", name, "?", State.ANSWERED, name, asked_at=at, answered_at=at)
        )

    await served.courier.resume()
    await served.settled()

    assert post.sent == ["o_new: new"]


async def test_a_question_that_waits_for_a_key_is_told_when_and_its_answer_is_brought(served, post):
    await asked(served, "先问一句")
    served.model.answers("问题", Resting(700.0))
    words = await served.tell(served.text("问题", openid="o2"))

    assert "大约 12 分钟后" in words
    assert post.sent == []  # the reply has said it


async def test_who_was_promised_an_answer_hears_once_when_every_key_rests(served, post):
    await asked(served)
    served.model.answers("问题", Resting(700.0))
    await served.settled()

    [words] = post.sent
    assert words.startswith("o1: 问：问题\n问的人太多，大约 12 分钟后")


async def test_an_answer_whose_writing_takes_long_is_not_overwritten_by_its_sending(served, post):
    """The courier read the old row, noted its sending in it, and wrote it back over the answer."""

    class Slow(MemoryStore):
        may_save = asyncio.Event()

        async def save(self, exchange, *, instead_of=None):
            if exchange.state is State.ANSWERED and not exchange.sent_pages:
                await self.may_save.wait()
            return await super().save(exchange, instead_of=instead_of)

    served.store = store = Slow()
    await served.start(hold_seconds=SHORT)
    served.courier._allow()
    page = asyncio.ensure_future(served.visits.deliver(served.text("问题")))
    await served.until_asked("问题")
    await page
    served.model.answers("问题", "答案")
    await served.settled()
    served.courier.take("x1")
    await served.settled()
    store.may_save.set()
    await served.settled()

    assert post.sent == ["o1: 答案"]
    [row] = await store.of(served.account, "o1")
    assert (row.answer, row.state) == ("答案", State.COLLECTED)


async def test_a_failure_just_before_a_restart_is_brought(served, post):
    row = Exchange("f", served.account, "o_f", "f", "?", asked_at=served.now, started_at=served.now)
    await served.store.begin(row)
    await served.store.save(replace(row, state=State.FAILED, reason=Reason.TIMEOUT))

    await served.courier.resume()
    await served.settled()

    assert len(post.sent) == 1


async def test_who_leaves_during_a_pause_is_sent_nothing(served, post):
    await asked(served)
    post.refuses["text"] = [BUSY]
    served.model.answers("问题", "答案")
    await served.settled()
    await served.tell(Push(served.account, "o1", "left", "event", event="unsubscribe"))

    assert post.sent == []
    assert await served.store.of(served.account, "o1") == []


async def test_while_wechat_is_busy_a_tap_gets_the_answer(served, post):
    await asked(served)
    post.refuses["text"] = [BUSY]
    served.model.answers("问题", "答案")
    await served.settled()

    assert await served.tell(served.text("继续")) == "答案"


async def test_a_picture_is_sent_as_one_and_as_a_link_when_wechat_has_it_no_more(bot, post):
    style = Style(bot.texts, label="", picture_link=lambda exchange: "https://bot.example/p")
    bot.post = post
    await bot.start()
    courier = Courier(bot.account, post, bot.desk, bot.store, style, clock=bot.clock, sleep=bot.sleep)
    row = Exchange(
        "d",
        bot.account,
        "o1",
        "p",
        "猫",
        State.ANSWERED,
        kind=Kind.DRAWING,
        picture="x",
        media_id="m",
        answered_at=bot.now,
    )
    for refused, openid in ((None, "o1"), (ApiRefused(40007, ApiKind.CONTENT), "o2")):
        post.refuses["image"] = [refused]
        drawn = Exchange(**{**{f: getattr(row, f) for f in row.__slots__}, "id": openid, "openid": openid})
        await bot.store.begin(drawn)
        await bot.store.save(drawn)
        courier.take(openid)
        await bot.settled()

    assert post.sent == ["o1: [m]", 'o2: 画好了，72 小时内有效：<a href="https://bot.example/p">点这里看图</a>']
    await courier.close()


async def test_a_picture_that_wechat_does_not_take_has_no_media_id_and_is_not_tried_again(served, post):
    post.refuses["upload"] = [NOT_ALLOWED]
    row = Exchange("d", served.account, "o1", "p", "猫")

    assert await served.courier.upload(row, PIXEL) == ""
    assert await served.courier.upload(row, PIXEL) == ""
    assert post.calls.count("upload png") == 1
    assert served.courier.standing() is Standing.UNKNOWN  # another right


async def test_closing_leaves_what_has_not_begun_in_the_mailbox(served, post):
    await asked(served)
    await served.courier.close()
    served.model.answers("问题", "答案")
    await served.settled()

    assert post.sent == []
    assert await served.states() == ["answered"]
