"""
The words that answer a push. Pure.

Rule 1: where an answer is split depends on the answer, on the parts that were shown of it before it was whole, and on the
        style; never on what else waits: so a page stays the same page however often it is made.
Rule 2: the label stands on the last page of what a model made, and on each part that is for now the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from bot.exchange import Exchange, Kind, State
from bot.texts import Texts
from bot.value import replaced, value_type
from bot.wechat import early
from bot.wechat.intent import is_unfinished
from bot.wechat.link import link
from bot.wechat.pages import LIMIT_BYTES, paginate
from bot.wechat.plain import plain

ECHO_CHARACTERS = 20
# From this on a question has waited for another one (or for a key), and its answer says what it answers. One that found the
# desk free is started as soon as it is recorded.
WAITED_SECONDS = 1.0
MEDIA_SECONDS = 71 * 3600.0  # WeChat keeps a picture for three days. Source: its media/upload


@value_type
class Style:
    """
    How an account words its replies. `label` says that a model wrote them, as China requires since 2025-09-01.

    `picture_link` gives the address of an exchange's drawn picture, which works for `picture_hours`.
    """

    texts: Texts
    prefix: str = ""
    label: str = "（内容由AI生成）"
    picture_link: Callable[[Exchange], str] = lambda exchange: ""
    picture_hours: int = 72

    def __post_init__(self) -> None:
        some = Exchange("0" * 36, "", "", "", "?" * ECHO_CHARACTERS)
        around = (_echo(some, self.texts), self.prefix, _more(some, self), self.label, _others(some, 999, self))
        if (size := len("".join(around).encode())) > LIMIT_BYTES // 2:
            raise ValueError(
                f"prefix, label, echo, more_pages and more_waiting take {size} bytes of a page's {LIMIT_BYTES}"
            )

    @property
    def tail(self) -> str:
        return f"\n\n{self.label}" if self.label else ""


@value_type
class Page:
    """
    Finished words, or a picture by its id with WeChat. They take page `index` of the exchange `claims` from the mailbox once
    they are written; `part` is what they show of an answer that is not yet whole.
    """

    words: str
    claims: Exchange | None = None
    index: int = 0
    is_last: bool = True
    part: str = ""
    media_id: str = ""


def words(
    exchange: Exchange,
    style: Style,
    *,
    push_id: str,
    waiting: Sequence[Exchange],
    is_up: bool,
    now: float,
    so_far: str = "",
) -> Page | None:
    """What the push `push_id` gets of the exchange as it stands, or None for silence while there is time left.

    `waiting` is the subscriber's mailbox; `is_up` says that this delivery can be held no longer; `so_far` is what the model
    has said already.
    """
    match exchange.state:
        case State.FAILED:
            return Page(_failure(exchange, style.texts, now), claims=exchange if exchange.is_uncollected else None)
        case State.ANSWERED | State.COLLECTED:
            exchange = _as_of(exchange, now)
            pages = _pages(exchange, style)
            # The same push gets the same words, also when it is the store that remembers it.
            index = exchange.next_page - (exchange.collected_by == push_id)
            return _page(exchange, style, pages, min(index, len(pages) - 1), waiting)
        case _ if not is_up:
            return None
        case _ if exchange.parts and exchange.collected_by == push_id:
            return Page(_part(exchange, style, len(exchange.parts) - 1))
        case _:
            return _early(exchange, style, so_far) or Page(_meanwhile(exchange, style.texts, waiting, now))


def pushed(exchange: Exchange, style: Style, *, now: float) -> Page:
    """What is sent of a settled exchange without being asked for: its next page, or the news of its failure."""
    if exchange.state is State.FAILED:
        return Page(_failure(exchange, style.texts, now), claims=exchange)
    exchange = _as_of(exchange, now)
    pages = _pages(exchange, style)
    return _page(exchange, style, pages, min(exchange.next_page, len(pages) - 1), ())


def waits(exchange: Exchange, style: Style, *, now: float) -> str:
    """What is sent where a question waits for a key."""
    return _echo(exchange, style.texts) + _meanwhile(exchange, style.texts, (), now)


def _pages(exchange: Exchange, style: Style) -> Sequence[str]:
    """All but the line about other answers, for which each page leaves room."""
    if exchange.kind is Kind.DRAWING:
        return (_picture(exchange, style),)
    parts = tuple(_part(exchange, style, index) for index in range(len(exchange.parts)))
    rest = paginate(
        early.rest_of(plain(exchange.answer), exchange.parts),
        head="" if parts else _head(exchange, style),
        more=_more(exchange, style),
        tail=style.tail,
        limit=LIMIT_BYTES - len(_others(exchange, 999, style).encode()),
    )
    # Where nothing is left the parts were all of it; an answer of nothing but markup has no parts either.
    return parts + (rest or ((style.texts.say("ended") if parts else "…") + style.tail,))


def _page(exchange: Exchange, style: Style, pages: Sequence[str], index: int, waiting: Sequence[Exchange]) -> Page:
    is_last = index == len(pages) - 1
    ready = [other for other in waiting if other.id != exchange.id and not is_unfinished(other)]
    others = _others(ready[0], len(ready), style) if is_last and ready and not exchange.media_id else ""
    claims = exchange if index == exchange.next_page else None  # else it went out before
    return Page(pages[index] + others, claims=claims, index=index, is_last=is_last, media_id=exchange.media_id)


def _as_of(exchange: Exchange, now: float) -> Exchange:
    """Without the id of a picture that WeChat has no more."""
    return replaced(exchange, media_id="") if now - exchange.answered_at > MEDIA_SECONDS else exchange


def _early(exchange: Exchange, style: Style, so_far: str) -> Page | None:
    """The next part of an answer that is being written, None where there is nothing worth it."""
    around = _head(exchange, style) + style.tail + _more(exchange, style, "part_more")
    part = early.next_part(so_far, "".join(exchange.parts), LIMIT_BYTES - len(around.encode()))
    if not part or exchange.state is not State.THINKING:
        return None
    shown = replaced(exchange, parts=(*exchange.parts, part))
    index = len(exchange.parts)
    return Page(_part(shown, style, index), claims=exchange, index=index, is_last=False, part=part)


def _part(exchange: Exchange, style: Style, index: int) -> str:
    head = "" if index else _head(exchange, style)
    return head + exchange.parts[index].strip("\n").rstrip() + style.tail + _more(exchange, style, "part_more")


def _picture(exchange: Exchange, style: Style) -> str:
    """The words that stand for a picture where it cannot be sent itself."""
    address = style.picture_link(exchange)
    said = style.texts.say("picture", url=address, hours=style.picture_hours)
    return _echo_where_due(exchange, style.texts) + said + style.tail


def _head(exchange: Exchange, style: Style) -> str:
    return _echo_where_due(exchange, style.texts) + style.prefix


def _more(exchange: Exchange, style: Style, name: str = "more_pages") -> str:
    return "\n\n" + style.texts.say(name, link=link(exchange, style.texts))


def _others(first: Exchange, count: int, style: Style) -> str:
    return "\n\n" + style.texts.say("more_waiting", count=count, link=link(first, style.texts))


def _meanwhile(exchange: Exchange, texts: Texts, waiting: Sequence[Exchange], now: float) -> str:
    address = link(exchange, texts)
    if exchange.not_before > now:
        return texts.say("resting", minutes=_minutes(exchange.not_before - now), link=address)
    ahead = sum(is_unfinished(other) and other.asked_at < exchange.asked_at for other in waiting)
    if exchange.state is State.QUEUED and ahead:
        return texts.say("queued", ahead=ahead, link=address)
    since = exchange.started_at or exchange.asked_at
    doing = "drawing" if exchange.kind is Kind.DRAWING else "thinking"
    return texts.say(doing, seconds=max(round(now - since), 0), link=address)


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
