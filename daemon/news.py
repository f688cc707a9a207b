"""Brings administrators the news of the keys, by the couriers of their accounts; what is news stands in `daemon.notices`."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bot.store import ExchangeStore
from bot.texts import Texts
from bot.wechat.courier import Courier
from bot.wechat.pages import LIMIT_BYTES, cut
from daemon.notices import Seen, notices, seen
from daemon.operator.words import WORDS
from proxy.keypool import KeyPool


class News:
    """`couriers` and `administrators` are by account; an account without a courier cannot send messages by itself."""

    def __init__(
        self,
        pool: KeyPool,
        store: ExchangeStore,
        couriers: Mapping[str, Courier],
        texts: Texts,
        administrators: Mapping[str, Collection[str]],
    ) -> None:
        self._pool = pool
        self._store = store
        self._couriers = couriers
        self._texts = texts
        self._administrators = administrators
        self._seen = self._look()

    async def tell(self) -> None:
        """What has happened since the last time, to everybody who wants notices. Raises StoreUnavailable."""
        now = self._look()
        if news := notices(self._seen, now, WORDS["zh"].key_states):
            words, _ = cut("\n".join(self._texts.say(each.name, **each.facts) for each in news), LIMIT_BYTES)
            for account, openid in await self._store.notified():
                courier = self._couriers.get(account)
                if courier is not None and openid in self._administrators.get(account, ()):  # one may be dismissed
                    await courier.tell(openid, words)
        self._seen = now

    def _look(self) -> Seen:
        return seen(self._pool.snapshot(), has_eligible=self._pool.has_eligible())
