"""Brings administrators the news of the keys, by the couriers of their accounts; what is news stands in `daemon.notices`."""

from __future__ import annotations

from collections.abc import Mapping

from bot.store import ExchangeStore
from bot.texts import Texts
from bot.wechat.courier import Courier
from daemon.notices import Seen, notices, seen
from daemon.operator.words import WORDS
from proxy.keypool import KeyPool


class News:
    """`couriers` are by account; an account without one cannot send messages by itself."""

    def __init__(self, pool: KeyPool, store: ExchangeStore, couriers: Mapping[str, Courier], texts: Texts) -> None:
        self._pool = pool
        self._store = store
        self._couriers = couriers
        self._texts = texts
        self._seen = self._look()

    async def tell(self) -> None:
        """What has happened since the last time, to everybody who wants notices. Raises StoreUnavailable."""
        before, self._seen = self._seen, self._look()
        if not (news := notices(before, self._seen, WORDS["zh"].key_states)):
            return
        words = "\n".join(self._texts.say(notice.name, **notice.facts) for notice in news)
        for account, openid in await self._store.notified():
            if (courier := self._couriers.get(account)) is not None:
                await courier.tell(openid, words)

    def _look(self) -> Seen:
        return seen(self._pool.snapshot(), has_eligible=self._pool.has_eligible())
