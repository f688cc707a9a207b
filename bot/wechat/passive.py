"""
What a push asks for, and the words that answer it. Pure.

Rule 1: a tap names its exchange: it collects that one; asks it again when it failed and the subscriber knows; or repeats its
        last page. An id that names nothing of this subscriber's is as good as the word typed.
Rule 2: typed 继续, 1 or ? collect the oldest exchange waiting, and only when one waits. Otherwise they are questions, but 继续:
        that repeats the last page of the last ten minutes, or says that nothing waits.
Rule 3: the same text as an uncollected exchange's question collects that one. Nothing else collects.
Rule 4: any other text, typed or recognised from speech, is a new question. Behind the one that runs a few may wait; one more
        is refused in words, never swallowed.
Rule 5: a push that was seen before stands by the exchange it asked or collected then.
Rule 6: where an answer is split depends on the answer and the style alone, never on what else waits, so that a page stays the
        same page however often it is made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.exchange import Exchange, State
from bot.texts import Texts
from bot.wechat.markdown import plain
from bot.wechat.pages import LIMIT_BYTES, paginate
from bot.wechat.push import Push

ECHO_CHARACTERS = 20
# From this on a question has waited for another one (or for a key), and its answer says what it answers. One that found the
# desk free is started as soon as it is recorded.
WAITED_SECONDS = 1.0

MORE_SIGNS = ("1", "?", "？")  # as good as 继续 while something waits
# What WeChat sends in place of a sticker. Source: CowAgent, channel/wechatmp/passive_reply.py.
UNREADABLE = "【收到不支持的消息类型，暂无法显示】"
UNREAD_KINDS = {
    "voice": "voice",
    "image": "image",
    "location": "location",
    "link": "link",
    "video": "video",
    "shortvideo": "video",
    "miniprogrampage": "other",
}


@dataclass(frozen=True, slots=True)
class Ask:
    question: str


@dataclass(frozen=True, slots=True)
class Collect:
    """The next page of the exchange, or the last one again where there is no next."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Retry:
    """The failed exchange is to be asked again."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Say:
    name: str  # of a text
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clear:
    """The conversation so far is to be forgotten; answers stay collectable."""


@dataclass(frozen=True, slots=True)
class Forget:
    """The subscriber left: every row about them is to be deleted."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """`success`, WeChat's word for "seen, no reply"."""


Intent = Ask | Collect | Retry | Say | Clear | Forget | Nothing


@dataclass(frozen=True, slots=True)
class Box:
    """What is known of a push and its subscriber; every exchange in it is this subscriber's own."""

    known: Exchange | None = None  # what this very push asked or collected
    tapped: Exchange | None = None  # what the tap names
    waiting: Sequence[Exchange] = ()  # uncollected, oldest first
    last: Exchange | None = None  # whose page went out last, if that was within ten minutes


def at_once(push: Push, texts: Texts) -> Intent | None:
    """What the push asks for by itself, whatever waits; None when it takes the subscriber's `Box` to tell.

    Apart, so that 帮助 is answered while the store is not.
    """
    match push.kind:
        case "event":
            return _of_event(push, texts)
        case "text":
            if push.text in ("", UNREADABLE):
                return Say("other")
            if _is(push.text, texts.say("word_help")):
                words = {"more": "word_more", "clear": "word_clear", "help": "word_help", "my_id": "word_id"}
                return Say("help", {fact: texts.say(word) for fact, word in words.items()})
            if _is(push.text, texts.say("word_id")):
                return Say("your_id", {"openid": push.openid})
            return Clear() if _is(push.text, texts.say("word_clear")) else None
        case "voice" if _recognised(push):
            return None
        case kind:
            return Say(UNREAD_KINDS[kind]) if kind in UNREAD_KINDS else Nothing()


def intent(push: Push, box: Box, texts: Texts, *, queued_questions: int) -> Intent:
    """What the push asks for, with `queued_questions` allowed to wait behind the one that runs."""
    if (simple := at_once(push, texts)) is not None:
        return simple
    if box.known is not None:
        return Collect(box.known)
    if box.tapped is not None:
        return _of_tap(box.tapped)
    if push.kind == "voice":
        return _of_question(_recognised(push), box, texts, queued_questions)
    if box.waiting and (says_more(push, texts) or push.text in MORE_SIGNS):
        return Collect(box.waiting[0])
    if says_more(push, texts):
        return Say("nothing_waiting") if box.last is None else Collect(box.last)
    return _of_question(push.text, box, texts, queued_questions)


def says_more(push: Push, texts: Texts) -> bool:
    return push.kind == "text" and _is(push.text, texts.say("word_more"))


def _of_event(push: Push, texts: Texts) -> Intent:
    match push.event:
        case "subscribe":
            return Say("welcome", {"help": texts.say("word_help")})
        case "unsubscribe":
            return Forget()
        case _:
            return Nothing()


def _of_tap(tapped: Exchange) -> Intent:
    is_told_failure = tapped.state is State.FAILED and not tapped.is_uncollected
    return Retry(tapped) if is_told_failure else Collect(tapped)


def _of_question(question: str, box: Box, texts: Texts, queued_questions: int) -> Intent:
    for waiting in box.waiting:
        if waiting.question == question:
            return Collect(waiting)
    unfinished = sum(map(_is_unfinished, box.waiting))
    if unfinished > queued_questions:  # one of them runs
        return Say("too_many", {"waiting": unfinished, "link": link(box.waiting[0], texts)})
    return Ask(question)


def _is(text: str, word: str) -> bool:
    return text.strip().casefold() == word.strip().casefold()


def _recognised(push: Push) -> str:
    """What WeChat heard in a voice message; it has been switching that off since 2023, and then it is empty."""
    return push.fields.get("Recognition", "").strip()


def _is_unfinished(exchange: Exchange) -> bool:
    return exchange.state in (State.QUEUED, State.THINKING)


@dataclass(frozen=True, slots=True)
class Style:
    """How an account words its replies. `label` says that a model wrote them, as China requires since 2025-09-01."""

    texts: Texts
    prefix: str = ""
    label: str = "（内容由AI生成）"

    def __post_init__(self) -> None:
        some = Exchange("0" * 36, "", "", "", "?" * ECHO_CHARACTERS)
        around = (_echo(some, self.texts), self.prefix, _more(some, self), self.label, _others(some, 999, self))
        if (size := len("".join(around).encode())) > LIMIT_BYTES // 2:
            raise ValueError(
                f"prefix, label, echo, more_pages and more_waiting take {size} bytes of a page's {LIMIT_BYTES}"
            )


@dataclass(frozen=True, slots=True)
class Page:
    """Finished words. They take page `index` of the exchange `claims` from the mailbox once they are written."""

    words: str
    claims: Exchange | None = None
    index: int = 0
    is_last: bool = True


def words(
    exchange: Exchange, style: Style, *, push_id: str, waiting: Sequence[Exchange], is_up: bool, now: float
) -> Page | None:
    """What the push `push_id` gets of the exchange as it stands, or None for silence while there is time left.

    `waiting` is the subscriber's mailbox; `is_up` says that this delivery can be held no longer.
    """
    match exchange.state:
        case State.FAILED:
            return Page(_failure(exchange, style.texts, now), claims=exchange if exchange.is_uncollected else None)
        case State.ANSWERED | State.COLLECTED:
            pages = _pages(exchange, style)
            # The same push gets the same words, also when it is the store that remembers it.
            index = exchange.next_page - (exchange.collected_by == push_id)
            return _page(exchange, style, pages, min(index, len(pages) - 1), waiting)
        case _:
            return Page(_meanwhile(exchange, style.texts, waiting, now)) if is_up else None


def link(exchange: Exchange, texts: Texts) -> str:
    """An address that, tapped in the chat, sends 继续 with the exchange's id as `bizmsgmenuid`."""
    return f"weixin://bizmsgmenu?msgmenucontent={texts.say('word_more').strip()}&msgmenuid={exchange.id}"


def _pages(exchange: Exchange, style: Style) -> Sequence[str]:
    """All but the line about other answers, for which each page leaves room."""
    return paginate(
        plain(exchange.answer),
        head=_echo_where_due(exchange, style.texts) + style.prefix,
        more=_more(exchange, style),
        tail=f"\n\n{style.label}" if style.label else "",
        limit=LIMIT_BYTES - len(_others(exchange, 999, style).encode()),
    ) or ("…",)  # an answer of nothing but markup


def _page(exchange: Exchange, style: Style, pages: Sequence[str], index: int, waiting: Sequence[Exchange]) -> Page:
    is_last = index == len(pages) - 1
    ready = [other for other in waiting if other.id != exchange.id and not _is_unfinished(other)]
    others = _others(ready[0], len(ready), style) if is_last and ready else ""
    claims = exchange if index == exchange.next_page else None  # else it went out before
    return Page(pages[index] + others, claims=claims, index=index, is_last=is_last)


def _more(exchange: Exchange, style: Style) -> str:
    return "\n\n" + style.texts.say("more_pages", link=link(exchange, style.texts))


def _others(first: Exchange, count: int, style: Style) -> str:
    return "\n\n" + style.texts.say("more_waiting", count=count, link=link(first, style.texts))


def _meanwhile(exchange: Exchange, texts: Texts, waiting: Sequence[Exchange], now: float) -> str:
    address = link(exchange, texts)
    if exchange.not_before > now:
        return texts.say("resting", minutes=_minutes(exchange.not_before - now), link=address)
    ahead = sum(_is_unfinished(other) and other.asked_at < exchange.asked_at for other in waiting)
    if exchange.state is State.QUEUED and ahead:
        return texts.say("queued", ahead=ahead, link=address)
    since = exchange.started_at or exchange.asked_at
    return texts.say("thinking", seconds=max(round(now - since), 0), link=address)


def _failure(exchange: Exchange, texts: Texts, now: float) -> str:
    minutes = _minutes(exchange.not_before - now)
    failure = texts.say(f"failed_{exchange.reason}", link=link(exchange, texts), minutes=minutes)
    return _echo_where_due(exchange, texts) + failure


def _minutes(seconds: float) -> int:
    return max(math.ceil(seconds / 60), 1)


def _echo_where_due(exchange: Exchange, texts: Texts) -> str:
    """Where the question had to wait, others may have come between it and its answer."""
    has_waited = exchange.started_at - exchange.asked_at >= WAITED_SECONDS
    return _echo(exchange, texts) if has_waited else ""


def _echo(exchange: Exchange, texts: Texts) -> str:
    start = " ".join(exchange.question.split()).replace("<", "＜")  # half an <a …> would swallow what follows it
    if len(start) > ECHO_CHARACTERS:
        start = start[:ECHO_CHARACTERS] + "…"
    return texts.say("echo", question=start) + "\n"
