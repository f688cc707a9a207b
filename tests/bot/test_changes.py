"""Changes of an exchange, several at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from bot import outcome
from bot.changes import changed
from bot.exchange import Exchange, State
from bot.memory_store import MemoryStore

ANSWERED = Exchange("a", "gh_a", "o_anna", "push-a", "why", State.ANSWERED, "so", answered_at=105.0)


class Unhurried(MemoryStore):
    """Between reading an exchange and writing it, others have their turn."""

    async def get(self, exchange_id: str) -> Exchange | None:
        row = await super().get(exchange_id)
        await asyncio.sleep(0)
        return row


@pytest.fixture
async def store() -> MemoryStore:
    store = Unhurried()
    await store.begin(ANSWERED)
    return store


def collected(exchange: Exchange) -> Exchange:
    return outcome.collected(exchange, "push-b", page=0, is_last=True, now=106.0)


async def test_a_page_collected_while_another_change_is_being_written_is_not_taken_back(store: MemoryStore) -> None:
    """The courier had read the exchange, its page was collected, and his note put it back into the mailbox."""
    noting = asyncio.ensure_future(changed(store, "a", lambda before: replace(before, sent_pages=1)))
    await asyncio.sleep(0)
    await changed(store, "a", collected, known=ANSWERED)
    await noting

    left = await store.get("a")
    assert left is not None
    assert (left.state, left.collected_by, left.sent_pages) == (State.COLLECTED, "push-b", 1)


async def test_what_is_known_out_of_date_is_read_again(store: MemoryStore) -> None:
    await store.save(replace(ANSWERED, sent_pages=1))

    after = await changed(store, "a", collected, known=ANSWERED)

    assert after is not None
    assert (after.state, after.sent_pages) == (State.COLLECTED, 1)


async def test_nothing_becomes_of_what_is_gone(store: MemoryStore) -> None:
    await store.forget("gh_a", "o_anna")

    assert await changed(store, "a", collected, known=ANSWERED) is None
    assert await changed(store, "a", collected) is None
