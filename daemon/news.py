"""Looks at the pool, and hands what is news (`daemon.notices`) to whoever tells it: a webhook, and the couriers of accounts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

from bot.texts import Texts
from bot.wechat.pages import LIMIT_BYTES, cut
from daemon.jobs import Job
from daemon.jobs import running as jobs_running
from daemon.notices import Notice, Seen, Watch, seen, sentence
from proxy.keypool import KeyPool

Hear = Callable[[Sequence[Notice]], None]  # takes news and waits for nothing
Tell = Callable[[str, str], Awaitable[bool]]  # an openid and words; whether they were sent

NEWS_SECONDS = 2.0  # between two looks at the pool
MOST_UNTOLD = 20  # notices; a message has about 2 KB


class News:
    """`clock` is monotonic, in seconds."""

    def __init__(self, pool: KeyPool, hearers: Collection[Hear], *, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._hearers = hearers
        self._clock = clock
        self._watch = Watch(self._seen(), clock())

    async def look(self) -> None:
        """Hand on what has happened since the last time."""
        if news := self._watch.news(self._seen(), self._clock()):
            for hear in self._hearers:
                hear(news)

    def _seen(self) -> Seen:
        pool = self._pool
        return seen(pool.snapshot(), pool.health(wall=0.0), has_eligible=pool.has_eligible())


@contextlib.asynccontextmanager
async def telling_news(pool: KeyPool, hearers: Collection[Hear]) -> AsyncIterator[None]:
    news = News(pool, hearers, clock=time.monotonic)
    async with jobs_running(Job("news", news.look, NEWS_SECONDS)):
        yield


class Administrators:
    """
    Who hears news from their account. `notified` gives (account, openid) of those who want to; `tells` and `administrators` are
    by account, and one that cannot send messages by itself is not in `tells`.
    """

    def __init__(
        self,
        notified: Callable[[], Awaitable[Sequence[tuple[str, str]]]],
        tells: Mapping[str, Tell],
        texts: Texts,
        administrators: Mapping[str, Collection[str]],
    ) -> None:
        self._notified = notified
        self._tells = tells
        self._texts = texts
        self._administrators = administrators
        self._untold: list[Notice] = []

    def hear(self, news: Sequence[Notice]) -> None:
        self._untold = [*self._untold, *news][-MOST_UNTOLD:]

    async def tell(self) -> None:
        """What was heard since the last time, to everybody who wants notices. Raises StoreUnavailable: then it waits."""
        if not self._untold:
            return
        people = await self._notified()
        news, self._untold = self._untold, []
        words, _ = cut("\n".join(sentence(notice, self._texts) for notice in news), LIMIT_BYTES)
        for account, openid in people:
            if account in self._tells and openid in self._administrators.get(account, ()):  # one may be dismissed
                await self._tells[account](openid, words)
