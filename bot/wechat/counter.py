"""
What is answered without asking a model: commands of subscribers and administrators.

Rule 1: a command has taken effect before its words are said.
Rule 2: how the keys are is somebody else's to know: the port `Backstage` says it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from bot.desk import Desk
from bot.store import ExchangeStore
from bot.subscriber import MINUTE, DayStart, Subscriber
from bot.wechat.commands import Command
from bot.wechat.intent import Rules, is_administrator, is_unfinished
from bot.wechat.intents import Act, Choose, Clear, Report, Say
from bot.wechat.push import Push


class Backstage(Protocol):
    def keys(self) -> Mapping[str, str]:
        """The state of each key by its name, the operator's words for both."""

    def usable(self) -> int:
        """How many of them can serve now."""

    def switch(self, key: str, *, is_on: bool) -> bool:
        """Enable or disable; False where there is no such key."""


class Counter:
    """One account's. `can_notify` says whether messages can be sent without being asked for."""

    def __init__(
        self,
        store: ExchangeStore,
        desk: Desk,
        rules: Rules,
        *,
        clock: Callable[[], float],
        day_start: DayStart,
        backstage: Backstage | None = None,
        can_notify: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._desk = desk
        self._rules = rules
        self._clock = clock
        self._day_start = day_start
        self._backstage = backstage
        self._can_notify = can_notify

    async def subscriber(self, account: str, openid: str) -> Subscriber:
        """Raises StoreUnavailable."""
        today, lately = self.moments()
        return await self._store.subscriber(account, openid, today=today, lately=lately)

    def moments(self) -> tuple[float, float]:
        """From which on questions count in a day's share, and in a minute's."""
        now = self._clock()
        return self._day_start(now), now - MINUTE

    async def words(self, wanted: Say | Clear | Choose | Report | Act, push: Push) -> str:
        """Raises StoreUnavailable."""
        texts = self._rules.texts
        match wanted:
            case Say(name, facts):
                return texts.say(name, **facts)
            case Clear():
                await self._desk.clear_memory(push.account, push.openid)
                return texts.say("cleared")
            case Choose(persona):
                await self._store.choose_persona(push.account, push.openid, persona)
                return texts.say("persona_chosen", persona=persona) if persona else texts.say("persona_default")
            case Report():
                return await self._report(push)
            case Act(command, about):
                return await self._act(command, about, push)

    async def _report(self, push: Push) -> str:
        texts = self._rules.texts
        waiting = await self._desk.mailbox(push.account, push.openid)
        known = await self.subscriber(push.account, push.openid)
        unfinished = sum(map(is_unfinished, waiting))
        own = texts.say(
            "status",
            waiting=unfinished,
            ready=len(waiting) - unfinished,
            persona=known.persona or texts.say("no_persona"),
            asked=known.asked_today,
        )
        if self._backstage is None or not is_administrator(push, self._rules):
            return own
        keys = self._backstage.keys()
        pool = texts.say(
            "admin_status", keys=len(keys), usable=self._backstage.usable(), pending=await self._store.count_pending()
        )
        each = [texts.say("admin_key", key=key, state=state) for key, state in list(keys.items())[:MOST_KEYS]]
        return "\n".join([pool, *each, "", own])

    async def _act(self, command: Command, about: str, push: Push) -> str:
        match command:
            case Command.ENABLE | Command.DISABLE:
                return self._switch(about, is_on=command is Command.ENABLE)
            case Command.BLOCK | Command.UNBLOCK:
                return await self._block(about, push, is_blocked=command is Command.BLOCK)
            case _:
                return await self._notices(push)

    def _switch(self, key: str, *, is_on: bool) -> str:
        texts = self._rules.texts
        keys: Mapping[str, str] = self._backstage.keys() if self._backstage else {}
        if self._backstage is None or not self._backstage.switch(key, is_on=is_on):
            return texts.say("admin_no_key", key=key[:64], keys="、".join(list(keys)[:MOST_KEYS]))
        return texts.say("admin_key", key=key, state=self._backstage.keys()[key])

    async def _block(self, openid: str, push: Push, *, is_blocked: bool) -> str:
        if not openid or len(openid) > MOST_OPENID or openid in self._rules.administrators:
            return self._rules.texts.say("admin_no_openid")
        await self._store.block(push.account, openid, is_blocked=is_blocked)
        return self._rules.texts.say("admin_blocked" if is_blocked else "admin_unblocked", openid=openid)

    async def _notices(self, push: Push) -> str:
        known = await self.subscriber(push.account, push.openid)
        if not known.wants_notices and not self._can_notify():
            return self._rules.texts.say("admin_notices_impossible")
        await self._store.want_notices(push.account, push.openid, wants=not known.wants_notices)
        return self._rules.texts.say("admin_notices_off" if known.wants_notices else "admin_notices_on")


MOST_KEYS = 20  # in one reply; a page has about 2 KB
MOST_OPENID = 64  # characters
