"""What every store of exchanges does. A test here knows the port alone, so it holds for each engine."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bot.exchange import Event, Exchange, Kind, Reason, State, advance
from bot.store import ExchangeStore

UNFINISHED = (State.QUEUED, State.THINKING)


def exchange(name: str, **fields: Any) -> Exchange:
    facts = {"account": "gh_a", "openid": "o_anna", "push_id": f"push-{name}", "question": f"question {name}"}
    return Exchange(id=name, **{**facts, "asked_at": 100.0, **fields})


async def keep(store: ExchangeStore, *rows: Exchange) -> None:
    """Begin each as a question, then save it as it shall stand."""
    for row in rows:
        await store.begin(replace(row, state=State.QUEUED))
        assert await store.save(row)


def answered(name: str, at: float, **fields: Any) -> Exchange:
    facts = {"state": State.ANSWERED, "answer": f"answer {name}", "asked_at": at - 1, "answered_at": at}
    return exchange(name, **{**facts, **fields})


async def find(store: ExchangeStore, account: str, openid: str, push_id: str) -> Exchange | None:
    return (await store.glance(account, openid, push_id, today=0.0, lately=0.0)).known


def ids(rows: Any) -> list[str]:
    return [row.id for row in rows]


# begin, save, get


async def test_a_begun_exchange_is_there_with_every_field(store: ExchangeStore) -> None:
    asked = exchange("a", not_before=130.5, deaths=1)

    assert await store.begin(asked) == asked
    assert await store.get("a") == asked


async def test_a_saved_exchange_comes_back_with_every_field(store: ExchangeStore) -> None:
    full = exchange(
        "a",
        state=State.FAILED,
        answer="as far as it came",
        reason=Reason.TRUNCATED,
        asked_at=100.125,
        started_at=101.25,
        answered_at=102.5,
        collected_at=103.75,
        not_before=99.5,
        next_page=3,
        collected_by="push-b",
        deaths=1,
        kind=Kind.DRAWING,
        photo="http://mmbiz.qpic.cn/1",
        picture="picture-1",
        media_id="media-1",
        parts=("the beginning, \n\n", "“and more”"),
        sent_pages=2,
    )
    await store.begin(exchange("a", asked_at=100.125, kind=Kind.DRAWING, photo="http://mmbiz.qpic.cn/1"))

    assert await store.save(full)
    assert await store.get("a") == full


async def test_an_exchange_that_stands_as_it_was_seen_is_saved(store: ExchangeStore) -> None:
    seen = answered("a", 105.5)
    await keep(store, seen)
    collected = advance(seen, Event.COLLECT, next_page=1, collected_by="push-b", collected_at=107.5)

    assert await store.save(collected, instead_of=seen)
    assert await store.get("a") == collected


@pytest.mark.parametrize(
    "meanwhile",
    [
        {"sent_pages": 1},
        {"next_page": 1, "collected_by": "push-b", "collected_at": 106.0},
        {"state": State.COLLECTED, "next_page": 1},
        {"state": State.QUEUED, "not_before": 140.0},
        {"started_at": 104.0},
    ],
)
async def test_an_exchange_that_has_changed_since_it_was_seen_is_left(
    store: ExchangeStore, meanwhile: dict[str, Any]
) -> None:
    seen = answered("a", 105.5)
    changed = replace(seen, **meanwhile)
    await keep(store, changed)

    assert not await store.save(advance(seen, Event.COLLECT, next_page=1, collected_by="push-c"), instead_of=seen)
    assert await store.get("a") == changed


@pytest.mark.parametrize("state", State)
async def test_each_state_comes_back_as_itself(store: ExchangeStore, state: State) -> None:
    await keep(store, exchange("a", state=state))

    found = await store.get("a")

    assert found is not None
    assert found.state is state


async def test_each_reason_comes_back_as_itself(store: ExchangeStore) -> None:
    await keep(store, *(exchange(reason, state=State.FAILED, reason=reason) for reason in Reason))

    for reason in Reason:
        found = await store.get(reason)
        assert found is not None
        assert found.reason is reason


@pytest.mark.parametrize(
    "words",
    [
        "字" * 34_000,
        "x" * 100_000,
        "👨‍👩‍👧‍👦🇨🇳 e\u0301 \U0001f9d1\U0001f3fd",
        "line\n\n'; DROP TABLE exchanges; --\t\"`]]>",
        " \n",
        "NUL \x00 in the middle",
    ],
    ids=["100 KB of Chinese", "100 KB of Latin", "emoji", "markup and SQL", "white space", "NUL"],
)
async def test_words_come_back_to_the_byte(store: ExchangeStore, words: str) -> None:
    await keep(store, exchange("a", question=words, state=State.ANSWERED, answer=words))

    found = await store.get("a")

    assert found is not None
    assert (found.question, found.answer) == (words, words)


async def test_a_push_delivered_again_finds_the_exchange_as_it_stands_now(store: ExchangeStore) -> None:
    thinking = advance(exchange("a"), Event.START, started_at=101.0)
    await keep(store, thinking)

    assert await store.begin(exchange("b", push_id="push-a", question="other words")) == thinking
    assert await store.get("b") is None


async def test_one_push_begun_many_times_at_once_is_one_exchange(store: ExchangeStore) -> None:
    begun = await asyncio.gather(*(store.begin(exchange(f"a{n}", push_id="push-a")) for n in range(25)))

    assert len(set(ids(begun))) == 1
    assert ids(await store.unfinished()) == [begun[0].id]


async def test_many_pushes_begun_at_once_are_each_an_exchange(store: ExchangeStore) -> None:
    rows = [exchange(f"a{n}", openid=f"o_{n % 5}", asked_at=float(n)) for n in range(25)]

    await asyncio.gather(*map(store.begin, rows))

    assert await store.unfinished() == rows


async def test_the_same_push_id_belongs_to_each_subscriber_of_each_account(store: ExchangeStore) -> None:
    rows = [
        exchange("a", push_id="7"),
        exchange("b", push_id="7", openid="o_ben"),
        exchange("c", push_id="7", account="gh_b"),
    ]
    for row in rows:
        assert await store.begin(row) == row

    for row in rows:
        assert await find(store, row.account, row.openid, "7") == row


async def test_two_questions_of_the_same_words_are_two_exchanges(store: ExchangeStore) -> None:
    await keep(store, answered("a", 101.0, question="继续"), exchange("b", question="继续"))

    assert ids(await store.mailbox("gh_a", "o_anna")) == ["a", "b"]


async def test_nothing_is_saved_where_nothing_was_begun(store: ExchangeStore) -> None:
    assert not await store.save(exchange("a"))
    assert await store.get("a") is None
    assert await store.mailbox("gh_a", "o_anna") == []


async def test_saving_one_exchange_leaves_the_others(store: ExchangeStore) -> None:
    await store.begin(exchange("a"))
    await store.begin(exchange("b"))

    await store.save(answered("a", 105.0))

    assert await store.get("b") == exchange("b")


# find


async def test_a_push_that_collected_is_found_by_what_it_collected(store: ExchangeStore) -> None:
    row = answered("a", 105.0, collected_by="push-tap", collected_at=110.0)
    await keep(store, row)

    assert await find(store, "gh_a", "o_anna", "push-tap") == row
    assert await find(store, "gh_a", "o_anna", "push-a") == row


async def test_a_push_that_collected_twice_finds_the_last(store: ExchangeStore) -> None:
    await keep(
        store,
        answered("a", 105.0, collected_by="push-tap", collected_at=111.0),
        answered("b", 106.0, collected_by="push-tap", collected_at=110.0),
    )

    found = await find(store, "gh_a", "o_anna", "push-tap")

    assert found is not None
    assert found.id == "a"


async def test_what_a_push_asked_goes_before_what_it_collected(store: ExchangeStore) -> None:
    await keep(store, exchange("a"), answered("b", 106.0, collected_by="push-a", collected_at=110.0))

    found = await find(store, "gh_a", "o_anna", "push-a")

    assert found is not None
    assert found.id == "a"


@pytest.mark.parametrize(
    ("account", "openid", "push_id"),
    [
        ("gh_b", "o_anna", "push-a"),
        ("gh_a", "o_ben", "push-a"),
        ("gh_a", "o_anna", "push-A"),
        ("gh_a", "o_anna", "push-"),
        ("gh_a", "o_anna", "push-%"),
        ("gh_b", "o_anna", "push-tap"),
        ("gh_a", "o_ben", "push-tap"),
    ],
)
async def test_nobody_finds_the_exchange_of_another(
    store: ExchangeStore, account: str, openid: str, push_id: str
) -> None:
    await keep(store, answered("a", 105.0, collected_by="push-tap", collected_at=110.0))

    assert await find(store, account, openid, push_id) is None


# mailbox, last_collected


async def test_the_mailbox_has_what_is_owed_oldest_first(store: ExchangeStore) -> None:
    await keep(
        store,
        exchange("queued", asked_at=140.0),
        exchange("thinking", asked_at=130.0, state=State.THINKING),
        answered("answered", 121.0),
        exchange("failed", asked_at=110.0, state=State.FAILED, reason=Reason.TIMEOUT),
        exchange("told", asked_at=100.0, state=State.FAILED, reason=Reason.TIMEOUT, collected_by="push-told"),
        answered("collected", 91.0, state=State.COLLECTED, collected_by="push-collected"),
    )

    assert ids(await store.mailbox("gh_a", "o_anna")) == ["failed", "answered", "thinking", "queued"]


async def test_questions_of_one_moment_stay_in_the_order_they_came(store: ExchangeStore) -> None:
    names = ["m", "z", "a", "k"]
    for name in names:
        await store.begin(exchange(name))

    assert ids(await store.mailbox("gh_a", "o_anna")) == names
    assert ids(await store.pending(10)) == names
    assert ids(await store.unfinished()) == names


async def test_a_partly_collected_answer_is_still_owed(store: ExchangeStore) -> None:
    await keep(store, answered("a", 105.0, next_page=1, collected_by="push-a", collected_at=106.0))

    assert ids(await store.mailbox("gh_a", "o_anna")) == ["a"]


@pytest.mark.parametrize(("account", "openid"), [("gh_b", "o_anna"), ("gh_a", "o_ben"), ("gh_a", "O_ANNA")])
async def test_nobody_reads_the_mailbox_or_the_past_of_another(store: ExchangeStore, account: str, openid: str) -> None:
    await keep(store, answered("a", 105.0, collected_by="push-a", collected_at=106.0))

    assert await store.mailbox(account, openid) == []
    assert await store.recent(account, openid, since=0.0, limit=10) == []
    assert await store.last_collected(account, openid, since=0.0) is None


async def test_the_page_that_went_out_last_is_the_one_to_repeat(store: ExchangeStore) -> None:
    await keep(
        store,
        answered("a", 105.0, state=State.COLLECTED, collected_by="push-a", collected_at=120.0),
        answered("b", 106.0, next_page=1, collected_by="push-b", collected_at=130.0),
        answered("c", 107.0, state=State.COLLECTED, collected_by="push-c", collected_at=110.0),
        answered("d", 108.0),
    )

    last = await store.last_collected("gh_a", "o_anna", since=130.0)

    assert last is not None
    assert last.id == "b"
    assert await store.last_collected("gh_a", "o_anna", since=130.1) is None


async def test_what_is_asked_again_has_no_page_to_repeat(store: ExchangeStore) -> None:
    told = exchange("a", state=State.FAILED, reason=Reason.EMPTY, collected_by="push-a", collected_at=120.0)
    await keep(store, advance(told, Event.RETRY))

    assert await store.last_collected("gh_a", "o_anna", since=0.0) is None


# recent, clear_memory


async def test_the_conversation_is_the_newest_answers_in_their_order(store: ExchangeStore) -> None:
    await keep(store, *(answered(str(n), 100.0 + n) for n in (3, 1, 4, 2, 0)))

    assert ids(await store.recent("gh_a", "o_anna", since=0.0, limit=3)) == ["2", "3", "4"]
    assert ids(await store.recent("gh_a", "o_anna", since=0.0, limit=10)) == ["0", "1", "2", "3", "4"]
    assert await store.recent("gh_a", "o_anna", since=0.0, limit=0) == []


async def test_a_question_asked_again_takes_its_place_by_its_answer(store: ExchangeStore) -> None:
    await keep(store, answered("again", 150.0, asked_at=10.0), answered("other", 120.0, asked_at=119.0))

    assert ids(await store.recent("gh_a", "o_anna", since=0.0, limit=10)) == ["other", "again"]


async def test_the_conversation_begins_at_since(store: ExchangeStore) -> None:
    await keep(store, answered("a", 119.9), answered("b", 120.0), answered("c", 121.0))

    assert ids(await store.recent("gh_a", "o_anna", since=120.0, limit=10)) == ["b", "c"]


@pytest.mark.parametrize("state", State)
async def test_only_what_was_answered_is_remembered(store: ExchangeStore, state: State) -> None:
    await keep(store, answered("a", 105.0, state=state))

    remembered = await store.recent("gh_a", "o_anna", since=0.0, limit=10)

    assert ids(remembered) == (["a"] if state in (State.ANSWERED, State.COLLECTED) else [])


async def test_a_cleared_memory_holds_only_what_was_asked_later(store: ExchangeStore) -> None:
    await keep(
        store,
        answered("before", 105.0, asked_at=99.0),
        answered("at", 106.0, asked_at=100.0),
        answered("after", 107.0, asked_at=101.0),
        answered("of another", 105.0, asked_at=99.0, openid="o_ben"),
        answered("elsewhere", 105.0, asked_at=99.0, account="gh_b"),
    )

    await store.clear_memory("gh_a", "o_anna", now=100.0)

    assert ids(await store.recent("gh_a", "o_anna", since=0.0, limit=10)) == ["after"]
    assert ids(await store.recent("gh_a", "o_ben", since=0.0, limit=10)) == ["of another"]
    assert ids(await store.recent("gh_b", "o_anna", since=0.0, limit=10)) == ["elsewhere"]
    assert ids(await store.mailbox("gh_a", "o_anna")) == ["before", "at", "after"]


async def test_memory_cleared_twice_stays_cleared_up_to_the_later_moment(store: ExchangeStore) -> None:
    await keep(store, answered("a", 105.0, asked_at=104.0))
    await store.clear_memory("gh_a", "o_anna", now=200.0)
    await store.clear_memory("gh_a", "o_anna", now=100.0)

    assert await store.recent("gh_a", "o_anna", since=0.0, limit=10) == []


async def test_a_question_asked_before_clearing_and_answered_after_it_is_not_remembered(
    store: ExchangeStore,
) -> None:
    await store.begin(exchange("a", asked_at=99.0))
    await store.clear_memory("gh_a", "o_anna", now=100.0)
    await store.save(answered("a", 105.0, asked_at=99.0))

    assert await store.recent("gh_a", "o_anna", since=0.0, limit=10) == []


# what the operator and a start see


async def keep_one_in_each_state(store: ExchangeStore, **fields: Any) -> None:
    for age, state in enumerate(State):
        await keep(store, exchange(state, state=state, openid=f"o_{state}", **{"asked_at": 100.0 - age, **fields}))


async def test_what_is_pending_comes_oldest_first_in_pages(store: ExchangeStore) -> None:
    await keep_one_in_each_state(store)
    await keep(store, exchange("elsewhere", account="gh_b", asked_at=50.0))

    everything = ["elsewhere", State.FAILED, State.ANSWERED, State.THINKING, State.QUEUED]

    assert ids(await store.pending(10)) == everything
    assert ids(await store.pending(2)) == everything[:2]
    assert ids(await store.pending(2, 2)) == everything[2:4]
    assert ids(await store.pending(2, 4)) == everything[4:]
    assert await store.pending(2, 5) == []
    assert await store.count_pending() == 5


async def test_an_empty_store_counts_nothing(store: ExchangeStore) -> None:
    assert await store.counts() == {"queued": 0, "thinking": 0, "answered": 0, "collected": 0, "failed": 0}
    assert await store.count_pending() == 0
    assert await store.unfinished() == []


async def test_the_counts_name_every_state(store: ExchangeStore) -> None:
    await keep_one_in_each_state(store)
    await keep(store, exchange("another", state=State.THINKING))

    assert await store.counts() == {"queued": 1, "thinking": 2, "answered": 1, "collected": 1, "failed": 1}


async def test_a_start_finds_what_is_unfinished_of_everyone_oldest_first(store: ExchangeStore) -> None:
    await keep_one_in_each_state(store)
    await keep(store, exchange("elsewhere", account="gh_b", asked_at=99.5))

    assert ids(await store.unfinished()) == [State.THINKING, "elsewhere", State.QUEUED]


# forget, expire


async def test_a_forgotten_subscriber_has_nothing_left_and_nobody_else_loses_anything(
    store: ExchangeStore,
) -> None:
    await keep(
        store,
        answered("a", 105.0, collected_by="push-tap", collected_at=110.0),
        exchange("b"),
        exchange("c", openid="o_ben"),
        exchange("d", account="gh_b"),
    )

    assert await store.forget("gh_a", "o_anna") == 2

    assert await store.get("a") is None
    assert await store.get("b") is None
    assert await find(store, "gh_a", "o_anna", "push-tap") is None
    assert await store.mailbox("gh_a", "o_anna") == []
    assert ids(await store.pending(10)) == ["c", "d"]
    assert await store.forget("gh_a", "o_anna") == 0


async def test_an_answer_that_comes_after_its_subscriber_left_is_not_kept(store: ExchangeStore) -> None:
    await store.begin(exchange("a"))
    await store.forget("gh_a", "o_anna")

    assert not await store.save(answered("a", 105.0))
    assert await store.count_pending() == 0


async def test_a_subscriber_who_comes_back_begins_anew(store: ExchangeStore) -> None:
    await keep(store, answered("a", 105.0))
    await store.clear_memory("gh_a", "o_anna", now=1000.0)
    await store.forget("gh_a", "o_anna")

    again = answered("b", 201.0, push_id="push-a")
    await keep(store, again)

    assert await find(store, "gh_a", "o_anna", "push-a") == again
    assert await store.recent("gh_a", "o_anna", since=0.0, limit=10) == [again]


@pytest.mark.parametrize("state", State)
async def test_only_what_is_finished_expires(store: ExchangeStore, state: State) -> None:
    await keep(store, exchange("old", state=state, asked_at=99.9), exchange("new", state=state, asked_at=100.0))

    stays = state in UNFINISHED

    assert await store.expire(before=100.0) == (0 if stays else 1)
    assert (await store.get("old") is not None) is stays
    assert await store.get("new") is not None


async def test_an_expired_exchange_is_gone_for_its_subscriber_too(store: ExchangeStore) -> None:
    await keep(store, answered("old", 50.0, collected_by="push-tap", collected_at=60.0))

    await store.expire(before=100.0)

    assert await find(store, "gh_a", "o_anna", "push-old") is None
    assert await store.last_collected("gh_a", "o_anna", since=0.0) is None
    assert not await store.save(answered("old", 50.0))
    assert await store.begin(exchange("again", push_id="push-old")) == exchange("again", push_id="push-old")


# glance, conversation


async def test_a_glance_has_what_waits_and_who_asks(store: ExchangeStore) -> None:
    await keep(store, answered("a", 105.0), answered("b", 107.0, state=State.COLLECTED, collected_by="push-b"))
    await store.choose_persona("gh_a", "o_anna", "teacher")

    seen = await store.glance("gh_a", "o_anna", "push-c", today=0.0, lately=105.5)

    assert seen.known is None
    assert ids(seen.waiting) == ["a"]
    assert (seen.subscriber.persona, seen.subscriber.asked_today, seen.subscriber.asked_lately) == ("teacher", 2, 1)


async def test_what_a_push_collected_is_known_at_a_glance_and_waits_no_more(store: ExchangeStore) -> None:
    await keep(store, answered("a", 105.0, state=State.COLLECTED, collected_by="push-tap", collected_at=106.0))

    seen = await store.glance("gh_a", "o_anna", "push-tap", today=0.0, lately=0.0)

    assert seen.known is not None
    assert (seen.known.id, list(seen.waiting)) == ("a", [])


async def test_a_conversation_is_what_was_answered_and_the_persona_that_was_chosen(store: ExchangeStore) -> None:
    await keep(store, *(answered(name, at) for name, at in (("a", 105.0), ("b", 106.0), ("c", 107.0))))

    before = await store.conversation("gh_a", "o_anna", limit=2)
    await store.choose_persona("gh_a", "o_anna", "teacher")
    after = await store.conversation("gh_a", "o_anna", limit=2)

    assert ids(before.recent) == ["b", "c"]
    assert (before.persona, after.persona) == ("", "teacher")


async def test_a_question_may_be_thought_about_from_its_first_row_on(store: ExchangeStore) -> None:
    asked = exchange("a", state=State.THINKING, started_at=100.5)

    assert await store.begin(asked) == asked
    assert ids(await store.unfinished()) == ["a"]
    assert await store.begin(exchange("b", push_id="push-a")) == asked
