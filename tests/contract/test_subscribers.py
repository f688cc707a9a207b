"""What every store knows of subscribers beside their questions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bot.exchange import Exchange, Kind, Reason, State
from bot.store import ExchangeStore
from bot.subscriber import Subscriber

ANNA = ("gh_a", "o_anna")


def asked(name: str, at: float, **fields: Any) -> Exchange:
    facts: dict[str, Any] = {"account": "gh_a", "openid": "o_anna", "push_id": name, "question": "?", "asked_at": at}
    return Exchange(name, **{**facts, **fields})


async def keep(store: ExchangeStore, *rows: Exchange) -> None:
    for row in rows:
        await store.begin(replace(row, state=State.QUEUED))
        assert await store.save(row)


async def known(store: ExchangeStore, who: tuple[str, str] = ANNA) -> Subscriber:
    return await store.subscriber(*who, today=1000.0, lately=1940.0)


async def test_of_a_stranger_nothing_is_known(store: ExchangeStore) -> None:
    assert await known(store) == Subscriber()


async def test_what_was_asked_counts_from_the_moments_on_that_are_named(store: ExchangeStore) -> None:
    await keep(
        store,
        asked("yesterday", 999.0),
        asked("midnight", 1000.0, state=State.COLLECTED),
        asked("picture", 1900.0, state=State.ANSWERED, kind=Kind.DRAWING),
        asked("photo", 1940.0, kind=Kind.PHOTO),
        asked("failed", 1950.0, state=State.FAILED, reason=Reason.UNREACHABLE),
        asked("took too long", 1950.0, state=State.FAILED, reason=Reason.TIMEOUT),
        asked("another's", 1950.0, openid="o_ben"),
        asked("another account's", 1950.0, account="gh_b"),
    )

    # A failure that cost the model nothing is not of the day's share; in a minute everything counts.
    assert await known(store) == Subscriber(asked_today=4, drawn_today=1, asked_lately=3)


async def test_leaving_and_coming_back_gives_no_new_share_and_lifts_no_block(store: ExchangeStore) -> None:
    await keep(store, asked("picture", 1950.0, kind=Kind.DRAWING), asked("text", 1950.0))
    await keep(store, asked("failed", 1950.0, state=State.FAILED, reason=Reason.UNREACHABLE))
    await store.choose_persona(*ANNA, "teacher")
    await store.want_notices(*ANNA, wants=True)
    await store.block(*ANNA, is_blocked=True)

    assert await store.forget(*ANNA) == 3
    await keep(store, asked("again", 1960.0))

    assert await known(store) == Subscriber(is_blocked=True, asked_today=3, drawn_today=1, asked_lately=3)
    assert await known(store, ("gh_b", "o_anna")) == Subscriber()


async def test_what_a_leaver_asked_is_no_longer_counted_when_it_would_have_expired(store: ExchangeStore) -> None:
    await keep(store, asked("old", 1000.0), asked("new", 1500.0))
    await store.forget(*ANNA)

    await store.expire(before=1200.0)

    assert (await known(store)).asked_today == 1


async def test_a_persona_is_kept_until_another_is_chosen(store: ExchangeStore) -> None:
    await store.choose_persona(*ANNA, "teacher")
    await store.choose_persona(*ANNA, "poet")

    assert (await known(store)).persona == "poet"
    assert (await known(store, ("gh_a", "o_ben"))).persona == ""


async def test_a_block_can_be_lifted(store: ExchangeStore) -> None:
    await store.block(*ANNA, is_blocked=True)
    await store.block(*ANNA, is_blocked=True)
    assert (await known(store)).is_blocked

    await store.block(*ANNA, is_blocked=False)

    assert not (await known(store)).is_blocked


async def test_who_wants_notices_is_listed_beside_what_else_is_chosen(store: ExchangeStore) -> None:
    await store.want_notices("gh_b", "o_cleo", wants=True)
    await store.choose_persona(*ANNA, "teacher")
    await store.want_notices(*ANNA, wants=True)
    await store.want_notices("gh_b", "o_dora", wants=True)
    await store.want_notices("gh_b", "o_dora", wants=False)

    assert list(await store.notified()) == [ANNA, ("gh_b", "o_cleo")]
    assert (await known(store)).persona == "teacher"


async def test_everything_of_one_subscriber_is_listed_oldest_first(store: ExchangeStore) -> None:
    await keep(store, asked("b", 2.0), asked("a", 1.0, state=State.COLLECTED), asked("c", 3.0, openid="o_ben"))

    assert [row.id for row in await store.of(*ANNA)] == ["a", "b"]
