"""
Changes of an exchange that no task is asking about.

Rule: a change is made of the exchange as it stands, and written only if it still stands so; else it is made anew. So of two
at once none is lost, and neither waits for the other.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.exchange import Exchange
from bot.store import ExchangeStore

Change = Callable[[Exchange], Exchange]


async def changed(
    store: ExchangeStore, exchange_id: str, change: Change, *, known: Exchange | None = None
) -> Exchange | None:
    """
    The exchange after the change, which may leave it as it is; None when it is gone.

    Where `known` is how it probably stands, it need not be read for that. Raises StoreUnavailable.
    """
    before = known or await store.get(exchange_id)
    while before is not None:
        after = change(before)
        if after is before or await store.save(after, instead_of=before):
            return after
        before = await store.get(exchange_id)
    return None


async def newly_changed(store: ExchangeStore, exchange_id: str, change: Change) -> Exchange | None:
    """The same; None also where the change leaves it as it is."""
    is_new = False

    def noticed(before: Exchange) -> Exchange:
        nonlocal is_new
        after = change(before)
        is_new = after is not before
        return after

    after = await changed(store, exchange_id, noticed)
    return after if is_new else None
