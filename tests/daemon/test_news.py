"""Administrators hear what is news, each from an account that may send messages, and once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bot.store import StoreUnavailable
from bot.texts import Texts
from daemon.news import MOST_UNTOLD, Administrators
from daemon.notices import Event, Notice

EMPTY, USABLE = Notice(Event.POOL_EMPTY), Notice(Event.POOL_USABLE)
TEXTS = Texts(overrides={"notice_no_key": "none", "notice_key_again": "again", "notice_key": "{key}"})


class Town:
    """`wanting` are those who want notices, as (account, openid); the store gives them unless it `is_full`."""

    def __init__(self, *wanting: tuple[str, str]) -> None:
        self.wanting = wanting
        self.is_full = False
        self.sent: list[tuple[str, str]] = []
        self.administrators = Administrators(
            self._notified, {"verified": self._tell}, TEXTS, {"verified": ["o_boss", "o_other"], "plain": ["o_boss"]}
        )

    async def _notified(self) -> Sequence[tuple[str, str]]:
        if self.is_full:
            raise StoreUnavailable("disk full")
        return self.wanting

    async def _tell(self, openid: str, words: str) -> bool:
        self.sent.append((openid, words))
        return True


async def test_all_news_is_one_message_and_is_told_once() -> None:
    town = Town(("verified", "o_boss"), ("verified", "o_other"))
    town.administrators.hear([EMPTY])
    town.administrators.hear([USABLE])
    await town.administrators.tell()
    await town.administrators.tell()
    assert town.sent == [("o_boss", "none\nagain"), ("o_other", "none\nagain")]


async def test_whoever_is_no_administrator_any_more_or_has_no_verified_account_hears_nothing() -> None:
    town = Town(("verified", "o_dismissed"), ("plain", "o_boss"), ("gone", "o_boss"))
    town.administrators.hear([EMPTY])
    await town.administrators.tell()
    assert town.sent == []


async def test_news_waits_for_a_store_that_is_silent() -> None:
    town = Town(("verified", "o_boss"))
    town.is_full = True
    town.administrators.hear([EMPTY])
    with pytest.raises(StoreUnavailable):
        await town.administrators.tell()
    town.is_full = False
    town.administrators.hear([USABLE])
    await town.administrators.tell()
    assert town.sent == [("o_boss", "none\nagain")]


async def test_of_much_that_waits_the_latest_is_told() -> None:
    town = Town(("verified", "o_boss"))
    town.administrators.hear([Notice(Event.KEY_DEAD, f"k{number}") for number in range(MOST_UNTOLD + 5)])
    await town.administrators.tell()
    [(_, words)] = town.sent
    assert words.splitlines() == [f"k{number}" for number in range(5, MOST_UNTOLD + 5)]
