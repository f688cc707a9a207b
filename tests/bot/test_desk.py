"""The desk, with a model and a time that do what the test says, over the store in memory."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.ask import Message, Resting, Unanswered, Voice
from bot.desk import Desk, DeskSettings
from bot.exchange import Exchange, Reason, State
from bot.memory_store import MemoryStore
from bot.store import StoreUnavailable
from bot.thinking import Thinker, ThinkingSettings
from bot.tickets import Ticket

SOON = 5.0  # seconds; no test takes them, a broken one ends by them


def question(name: str, openid: str = "o_anna", **fields: Any) -> Exchange:
    asked = Exchange(f"id-{name}", "gh_a", openid, f"push-{name}", f"question {name}", asked_at=1000.0)
    return replace(asked, **fields)


class Call:
    """One question to the model. It is answered by `say` or `fail`."""

    def __init__(self, messages: Sequence[Message], model: str) -> None:
        self.messages = messages
        self.model = model
        self.outcome: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        self.is_open = True

    @property
    def question(self) -> str:
        return self.messages[-1].content

    def say(self, *pieces: str) -> None:
        self.outcome.set_result(pieces)

    def fail(self, error: Exception) -> None:
        self.outcome.set_exception(error)


class Model:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self._calls: asyncio.Queue[Call] = asyncio.Queue()

    async def __call__(self, messages: Sequence[Message], *, model: str) -> AsyncIterator[str]:
        call = Call(messages, model)
        self.asked.append(call.question)
        self._calls.put_nowait(call)
        try:
            for piece in await call.outcome:
                yield piece
        finally:
            call.is_open = False

    async def call(self) -> Call:
        async with asyncio.timeout(SOON):
            return await self._calls.get()


class Time:
    """A clock that stands, and sleeps that end when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleeps: asyncio.Queue[tuple[float, asyncio.Future[None]]] = asyncio.Queue()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeps.put_nowait((seconds, over))
        await over

    async def pass_one(self) -> float:
        """Let the next sleep pass; how long it was."""
        async with asyncio.timeout(SOON):
            seconds, over = await self._sleeps.get()
        self.now += seconds
        over.set_result(None)
        return seconds


class FaultyStore(MemoryStore):
    """Takes its time as an engine on disk does, refuses to write while the disk is full, and saves while it may."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = False
        self.is_saving = asyncio.Event()
        self.may_save = asyncio.Event()
        self.may_save.set()

    def _need_room(self) -> None:
        if self.is_full:
            raise StoreUnavailable("disk full")

    async def get(self, exchange_id: str) -> Exchange | None:
        row = await super().get(exchange_id)
        await asyncio.sleep(0)
        return row

    async def begin(self, exchange: Exchange) -> Exchange:
        self._need_room()
        return await super().begin(exchange)

    async def save(self, exchange: Exchange, *, instead_of: Exchange | None = None) -> bool:
        self._need_room()
        self.is_saving.set()
        await self.may_save.wait()
        return await super().save(exchange, instead_of=instead_of)

    async def forget(self, account: str, openid: str) -> int:
        self._need_room()
        return await super().forget(account, openid)


class SlowStore(MemoryStore):
    """Begins nothing before the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.may_begin = asyncio.Event()

    async def begin(self, exchange: Exchange) -> Exchange:
        await self.may_begin.wait()
        return await super().begin(exchange)


class SlowToSave(MemoryStore):
    """Saves nothing while the test does not let it."""

    def __init__(self) -> None:
        super().__init__()
        self.may_save = asyncio.Event()
        self.may_save.set()

    async def save(self, exchange: Exchange, *, instead_of: Exchange | None = None) -> bool:
        await self.may_save.wait()
        return await super().save(exchange, instead_of=instead_of)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


def desk_over(store: MemoryStore, model: Model, time: Time, **settings: Any) -> Desk:
    thinking = ThinkingSettings(answer_seconds=settings.pop("answer_seconds", 300.0))
    return Desk(
        store,
        Thinker(
            model,
            voice_of=lambda account, persona: Voice(f"model of {account}", "Be brief."),
            clock=time.clock,
            settings=thinking,
        ),
        settings=DeskSettings(**{"grace_seconds": 0.0, **settings}),
        clock=time.clock,
        sleep=time.sleep,
    )


@pytest.fixture
async def desk(store: FaultyStore, model: Model, time: Time) -> AsyncIterator[Desk]:
    async with desk_over(store, model, time) as opened:
        yield opened


async def settled(desk: Desk, exchange_id: str) -> Exchange:
    async with asyncio.timeout(SOON):
        exchange = await desk.wait(exchange_id, 2 * SOON)
    assert exchange is not None
    assert exchange.state in (State.ANSWERED, State.COLLECTED, State.FAILED)
    return exchange


async def answer(desk: Desk, model: Model, asked: Exchange, *pieces: str) -> Exchange:
    desk.receive(asked)
    (await model.call()).say(*pieces)
    return await settled(desk, asked.id)


async def until_written(store: MemoryStore, exchange_id: str, **facts: Any) -> Exchange:
    """The desk writes deliveries by itself, so the test lets it run until the row is as expected."""
    async with asyncio.timeout(SOON):
        while True:
            row = await store.get(exchange_id)
            if row is not None and all(getattr(row, name) == fact for name, fact in facts.items()):
                return row
            await asyncio.sleep(0)


# One question


async def test_a_question_is_asked_and_its_answer_stored(
    desk: Desk, model: Model, store: MemoryStore, time: Time
) -> None:
    desk.receive(question("1"))
    call = await model.call()
    thinking = await store.get("id-1")
    time.now += 20.0
    call.say("\n\nA: a house ", "for horses")

    answered = await settled(desk, "id-1")

    assert call.messages == [Message("system", "Be brief."), Message("user", "question 1")]
    assert call.model == "model of gh_a"
    assert thinking == question("1", state=State.THINKING, started_at=1000.0)
    assert answered == replace(thinking, state=State.ANSWERED, answer="a house for horses", answered_at=1020.0)
    assert await store.get("id-1") == answered


async def test_a_caller_cancelled_after_handing_over_loses_nothing(desk: Desk, model: Model) -> None:
    async def push() -> None:
        desk.receive(question("1"))
        await desk.wait("id-1", SOON)

    caller = asyncio.create_task(push())
    call = await model.call()
    caller.cancel()
    await asyncio.wait([caller])

    call.say("here it is")

    assert caller.cancelled()
    assert (await settled(desk, "id-1")).answer == "here it is"
    assert model.asked == ["question 1"]


async def test_a_caller_gone_before_its_first_await_loses_nothing(desk: Desk, model: Model) -> None:
    desk.receive(question("1"))

    assert (await model.call()).question == "question 1"


async def test_waiting_ends_with_the_exchange_as_it_stands(desk: Desk, model: Model) -> None:
    desk.receive(question("1"))
    await model.call()

    thinking = await desk.wait("id-1", 0.001)

    assert thinking is not None
    assert thinking.state is State.THINKING


async def test_everyone_who_waits_gets_the_answer(desk: Desk, model: Model) -> None:
    desk.receive(question("1"))
    deliveries = [asyncio.create_task(desk.wait("id-1", SOON)) for _ in range(3)]
    (await model.call()).say("once")

    answers = await asyncio.gather(*deliveries)

    assert [exchange and exchange.answer for exchange in answers] == ["once"] * 3


async def test_nobody_waits_for_what_does_not_exist(desk: Desk) -> None:
    assert await desk.wait("id-unknown", SOON) is None


async def test_memory_keeps_nothing_of_a_settled_exchange(desk: Desk, model: Model) -> None:
    await answer(desk, model, question("1"), "done")
    await answer(desk, model, question("2", "o_ben"), "done, and later")
    gc.collect()

    kept = [thing.exchange.id for thing in gc.get_objects() if isinstance(thing, Ticket)]
    assert "id-1" not in kept
    assert len(kept) <= 1
    assert (await settled(desk, "id-1")).answer == "done"


# Delivered again


@pytest.mark.parametrize("other_id", ["id-1", "id-of-the-second-delivery"])
async def test_a_push_delivered_again_is_not_asked_again(desk: Desk, model: Model, other_id: str) -> None:
    again = question("1", id=other_id)
    desk.receive(question("1"))
    desk.receive(again)
    call = await model.call()
    desk.receive(again)
    call.say("once")

    assert (await settled(desk, other_id)).id == "id-1"
    desk.receive(again)
    assert (await settled(desk, other_id)).answer == "once"
    assert model.asked == ["question 1"]


async def test_a_redelivery_keeps_no_place_in_the_line(desk: Desk, model: Model) -> None:
    await answer(desk, model, question("1"), "one")
    desk.receive(question("1", id="id-again"))
    desk.receive(question("2"))

    assert (await settled(desk, "id-again")).answer == "one"
    assert (await model.call()).question == "question 2"


@pytest.mark.parametrize("error", [Unanswered(Reason.REFUSED), Resting(None)])
async def test_a_failure_delivered_again_is_the_same_failure(desk: Desk, model: Model, error: Exception) -> None:
    desk.receive(question("1"))
    (await model.call()).fail(error)
    failed = await settled(desk, "id-1")

    desk.receive(question("1", id="id-again"))

    assert await settled(desk, "id-again") == failed
    assert model.asked == ["question 1"]


# Lines


async def test_a_second_question_waits_for_the_first_and_nobody_else_does(desk: Desk, model: Model) -> None:
    desk.receive(question("1"))
    desk.receive(question("2"))
    desk.receive(question("3", "o_ben"))
    first, of_another = await model.call(), await model.call()
    waiting = await desk.wait("id-2", 0)
    first.say("one")
    second = await model.call()

    assert (first.question, of_another.question) == ("question 1", "question 3")
    assert waiting is not None
    assert waiting.state is State.QUEUED
    assert second.question == "question 2"


async def test_the_answer_before_is_part_of_the_next_question(desk: Desk, model: Model) -> None:
    desk.receive(question("1"))
    desk.receive(question("2"))
    (await model.call()).say("one")

    second = await model.call()

    assert [message.content for message in second.messages] == ["Be brief.", "question 1", "one", "question 2"]


async def test_the_twelfth_question_reaches_the_model(desk: Desk, model: Model, time: Time) -> None:
    """The article's bot sent the ten oldest rows, and from the eleventh text on its prompt ended with an old answer."""
    for n in range(11):
        time.now += 10.0
        await answer(desk, model, question(str(n), asked_at=time.now), f"answer {n}")
    desk.receive(question("last", asked_at=time.now))

    call = await model.call()

    told = [message.content for message in call.messages]
    assert told[1:3] == ["question 1", "answer 1"]
    assert told[-2:] == ["answer 10", "question last"]


async def test_a_cleared_memory_is_not_told(desk: Desk, model: Model, time: Time) -> None:
    await answer(desk, model, question("1"), "one")
    await desk.clear_memory("gh_a", "o_anna")
    time.now += 1.0
    desk.receive(question("2", asked_at=time.now))

    assert [message.content for message in (await model.call()).messages] == ["Be brief.", "question 2"]


async def test_two_hundred_subscribers_are_asked_for_at_once_and_once_each(desk: Desk, model: Model) -> None:
    asked = [question(str(n), f"o_{n}") for n in range(200)]
    for exchange in asked:
        desk.receive(exchange)
    calls = [await model.call() for _ in asked]
    for call in calls:
        call.say(f"answer to {call.question}")

    for exchange in asked:
        assert (await settled(desk, exchange.id)).answer == f"answer to {exchange.question}"
    assert sorted(model.asked) == sorted(exchange.question for exchange in asked)


async def test_with_few_calls_at_once_subscribers_take_turns(store: MemoryStore, model: Model, time: Time) -> None:
    async with desk_over(store, model, time, concurrency=1) as desk:
        for asked in (
            question("1"),
            question("2"),
            question("3"),
            question("b", "o_ben"),
            question("c", "o_cy"),
        ):
            desk.receive(asked)
        for _ in range(5):
            (await model.call()).say("yes")

    assert [words.removeprefix("question ") for words in model.asked] == ["1", "b", "c", "2", "3"]


# Failures


@pytest.mark.parametrize("reason", Reason)
async def test_a_question_that_is_not_answered_fails_with_the_reason(desk: Desk, model: Model, reason: Reason) -> None:
    desk.receive(question("1"))
    (await model.call()).fail(Unanswered(reason))

    failed = await settled(desk, "id-1")

    assert (failed.state, failed.reason, failed.is_uncollected) == (State.FAILED, reason, True)


async def test_an_empty_answer_is_a_failure(desk: Desk, model: Model) -> None:
    failed = await answer(desk, model, question("1"), "\n", "A: ")

    assert (failed.state, failed.reason) == (State.FAILED, Reason.EMPTY)


@pytest.mark.parametrize("error", [ValueError("their words"), TimeoutError("their words")])
async def test_a_crash_fails_the_question_and_the_log_has_no_words(desk: Desk, model: Model, error: Exception) -> None:
    with capture_logs() as logs:
        desk.receive(question("1"))
        (await model.call()).fail(error)
        failed = await settled(desk, "id-1")

    assert failed.reason is Reason.CRASHED
    assert {"event": "answer.crashed", "error": type(error).__name__, "log_level": "error"} in logs
    assert "words" not in str(logs)


async def test_a_model_that_takes_too_long_is_left(store: MemoryStore, model: Model, time: Time) -> None:
    async with desk_over(store, model, time, answer_seconds=0.01) as desk:
        desk.receive(question("1"))
        call = await model.call()

        failed = await settled(desk, "id-1")

    assert failed.reason is Reason.TIMEOUT
    assert not call.is_open


async def test_waiting_for_a_turn_is_not_the_models_time(store: MemoryStore, model: Model, time: Time) -> None:
    async with desk_over(store, model, time, answer_seconds=0.05, concurrency=1) as desk:
        desk.receive(question("1"))
        desk.receive(question("2", "o_ben"))
        assert (await settled(desk, "id-1")).reason is Reason.TIMEOUT
        await model.call()
        (await model.call()).say("in time")

        assert (await settled(desk, "id-2")).answer == "in time"


async def test_a_failed_question_makes_room_for_the_next(desk: Desk, model: Model) -> None:
    desk.receive(question("1"))
    desk.receive(question("2"))
    (await model.call()).fail(Unanswered(Reason.REFUSED))

    assert (await model.call()).question == "question 2"


async def test_the_log_tells_outcomes_and_neither_words_nor_subscribers(desk: Desk, model: Model, time: Time) -> None:
    with capture_logs() as logs:
        desk.receive(question("1"))
        call = await model.call()
        time.now += 2.0
        call.say("fine words")
        await settled(desk, "id-1")

    assert logs == [{"event": "answer.given", "seconds": 2.0, "characters": 10, "log_level": "info"}]


# Rests


async def test_a_resting_question_is_asked_again_at_its_moment(
    desk: Desk, model: Model, store: MemoryStore, time: Time
) -> None:
    desk.receive(question("1"))
    (await model.call()).fail(Resting(34.0))
    desk.receive(question("2"))  # stays behind it
    resting = await until_written(store, "id-1", state=State.QUEUED)

    slept = await time.pass_one()
    again = await model.call()
    again.say("back")
    answered = await settled(desk, "id-1")

    assert resting.not_before == 1034.0
    assert slept == 34.0
    assert (answered.answer, answered.not_before, answered.started_at) == ("back", 0.0, 1034.0)
    assert model.asked[:2] == ["question 1", "question 1"]


@pytest.mark.parametrize(("back_in_seconds", "reason"), [(3601.0, Reason.RESTING), (None, Reason.EXHAUSTED)])
async def test_a_rest_that_is_too_long_is_a_failure(
    desk: Desk, model: Model, back_in_seconds: float | None, reason: Reason
) -> None:
    desk.receive(question("1"))
    (await model.call()).fail(Resting(back_in_seconds))

    assert (await settled(desk, "id-1")).reason is reason


async def test_a_wall_clock_set_back_does_not_prolong_a_rest(store: MemoryStore, model: Model, time: Time) -> None:
    await store.begin(question("1", not_before=time.now + 400 * 86_400))
    async with desk_over(store, model, time):
        slept = await time.pass_one()

        assert slept == 3600.0
        assert (await model.call()).question == "question 1"


# Starts and ends


async def test_a_start_asks_what_was_queued_in_its_order_and_at_its_moment(
    store: MemoryStore, model: Model, time: Time
) -> None:
    await store.begin(question("2", asked_at=999.0))
    await store.begin(question("1", asked_at=998.0))
    await store.begin(question("resting", "o_ben", not_before=1034.0))
    async with desk_over(store, model, time):
        (await model.call()).say("one")
        await model.call()
        slept = await time.pass_one()
        await model.call()

    assert slept == 34.0
    assert model.asked == ["question 1", "question 2", "question resting"]


async def test_a_question_that_the_process_died_over_is_asked_once_more_and_then_fails(
    store: MemoryStore, model: Model, time: Time
) -> None:
    async with desk_over(store, model, time) as desk:
        desk.receive(question("1"))
        await model.call()
    async with desk_over(store, model, time):
        await model.call()
        once = await store.get("id-1")
    async with desk_over(store, model, time) as desk:
        twice = await settled(desk, "id-1")

    assert once is not None
    assert (once.state, once.deaths) == (State.THINKING, 1)
    assert twice.reason is Reason.INTERRUPTED
    assert await store.get("id-1") == twice
    assert model.asked == ["question 1"] * 2


async def test_a_push_delivered_again_after_a_death_finds_what_the_start_took_up(
    store: MemoryStore, model: Model, time: Time
) -> None:
    await store.begin(question("1"))
    async with desk_over(store, model, time) as desk:
        desk.receive(question("1", id="id-again"))
        (await model.call()).say("here")

        assert (await settled(desk, "id-again")).id == "id-1"
    assert model.asked == ["question 1"]


async def test_a_running_answer_is_waited_for_and_a_queued_one_is_left_to_the_next_start(
    store: MemoryStore, model: Model, time: Time
) -> None:
    async with desk_over(store, model, time) as desk:
        desk.receive(question("1"))
        desk.receive(question("2"))
        call = await model.call()
        closing = asyncio.create_task(desk.close(SOON))
        await desk.wait("id-2", SOON)  # its task is the first to go
        call.say("just in time")
        await closing

    assert [exchange.id for exchange in await store.unfinished()] == ["id-2"]
    assert (await until_written(store, "id-1", state=State.ANSWERED)).answer == "just in time"
    assert model.asked == ["question 1"]


async def test_a_resting_question_does_not_hold_up_the_end(store: MemoryStore, model: Model, time: Time) -> None:
    desk = desk_over(store, model, time)
    async with desk:
        desk.receive(question("1"))
        (await model.call()).fail(Resting(34.0))
        await until_written(store, "id-1", state=State.QUEUED)
        async with asyncio.timeout(SOON / 2):
            await desk.close(SOON)

    assert [exchange.not_before for exchange in await store.unfinished()] == [1034.0]


async def test_a_question_received_while_closing_is_kept_and_not_asked(
    store: MemoryStore, model: Model, time: Time
) -> None:
    async with desk_over(store, model, time) as desk:
        desk.receive(question("1"))
        await desk.close(SOON)

    assert await store.unfinished() == [question("1")]
    assert model.asked == []


async def test_a_question_whose_task_never_ran_leaves_nobody_waiting(
    store: MemoryStore, model: Model, time: Time
) -> None:
    async with desk_over(store, model, time) as desk:
        desk.receive(question("1"))
        waiting = asyncio.create_task(desk.wait("id-1", SOON))
        await desk.close(0)
        async with asyncio.timeout(SOON / 2):
            with pytest.raises(StoreUnavailable):
                await waiting

    assert await store.unfinished() == []


# Pages and retries


async def test_pages_leave_the_mailbox_as_they_are_delivered(desk: Desk, model: Model, store: MemoryStore) -> None:
    answered = await answer(desk, model, question("1"), "two pages")

    desk.delivered(answered, "push-1", page=0, is_last=False)
    half = await until_written(store, "id-1", next_page=1)
    waiting = await desk.mailbox("gh_a", "o_anna")
    desk.delivered(half, "push-tap", page=1, is_last=True)
    whole = await until_written(store, "id-1", next_page=2)

    assert (half.state, half.collected_by) == (State.ANSWERED, "push-1")
    assert waiting == [half]
    assert (whole.state, whole.collected_by) == (State.COLLECTED, "push-tap")
    assert await desk.mailbox("gh_a", "o_anna") == []
    assert (await desk.glance("gh_a", "o_anna", "push-tap", today=0.0, lately=0.0)).known == whole
    assert await desk.last_collected("gh_a", "o_anna", since=0.0) == whole


async def test_a_tap_that_comes_before_a_page_is_written_sees_that_it_went_out(model: Model, time: Time) -> None:
    """On a slow disk a tap overtook the writing of the page before it, and brought the same page again."""
    store = SlowToSave()
    async with desk_over(store, model, time) as desk:
        answered = await answer(desk, model, question("1"), "two pages")
        store.may_save.clear()

        desk.delivered(answered, "push-1", page=0, is_last=False)
        seen = await desk.wait("id-1", 0)
        assert seen is not None
        assert (seen.next_page, seen.collected_by) == (1, "push-1")
        assert await desk.mailbox("gh_a", "o_anna") == [seen]
        desk.delivered(seen, "push-tap", page=1, is_last=True)
        assert await desk.mailbox("gh_a", "o_anna") == []

        store.may_save.set()
        assert (await until_written(store, "id-1", state=State.COLLECTED)).next_page == 2


async def test_what_is_delivered_at_once_is_all_written(desk: Desk, model: Model, store: MemoryStore) -> None:
    answered = await answer(desk, model, question("1"), "three pages")

    for page in range(3):
        desk.delivered(answered, f"push-{page}", page=page, is_last=page == 2)

    assert (await until_written(store, "id-1", state=State.COLLECTED)).next_page == 3


async def test_an_earlier_page_reported_late_takes_nothing_back(desk: Desk, model: Model, store: MemoryStore) -> None:
    answered = await answer(desk, model, question("1"), "two pages")

    desk.delivered(answered, "push-tap", page=1, is_last=True)
    desk.delivered(answered, "push-1", page=0, is_last=False)
    await desk.close(SOON)

    assert (await until_written(store, "id-1", state=State.COLLECTED)).collected_by == "push-tap"


async def test_a_failed_question_is_asked_again_once_however_often_it_is_tapped(
    desk: Desk, model: Model, store: MemoryStore
) -> None:
    desk.receive(question("1"))
    (await model.call()).fail(Unanswered(Reason.TIMEOUT))
    failed = await settled(desk, "id-1")
    desk.delivered(failed, "push-1", page=0, is_last=True)
    told = await until_written(store, "id-1", collected_by="push-1")

    desk.retry(told)
    desk.retry(told)
    (await model.call()).say("now it works")

    answered = await settled(desk, "id-1")
    assert (answered.answer, answered.collected_by, answered.reason) == ("now it works", "", None)
    assert model.asked == ["question 1"] * 2


async def test_only_a_failure_is_asked_again(desk: Desk, model: Model) -> None:
    answered = await answer(desk, model, question("1"), "done")

    desk.retry(replace(answered, state=State.FAILED))  # as a tap saw it that came late

    assert await settled(desk, "id-1") == answered
    assert model.asked == ["question 1"]


async def test_what_is_tapped_after_its_subscriber_left_is_gone(desk: Desk, model: Model) -> None:
    answered = await answer(desk, model, question("1"), "done")
    await desk.forget("gh_a", "o_anna")

    desk.retry(replace(answered, state=State.FAILED))

    assert await desk.wait("id-1", SOON) is None


# Subscribers who leave


async def test_a_subscriber_who_leaves_is_forgotten_with_what_runs(
    desk: Desk, model: Model, store: MemoryStore
) -> None:
    for asked in (question("1"), question("2"), question("3", "o_ben")):
        desk.receive(asked)
    call, of_another = await model.call(), await model.call()
    waiting = asyncio.create_task(desk.wait("id-2", SOON))

    assert await desk.forget("gh_a", "o_anna") == 2

    of_another.say("still here")
    assert not call.is_open
    assert await waiting is None
    assert await desk.wait("id-1", SOON) is None
    assert (await settled(desk, "id-3")).answer == "still here"
    assert await store.count_pending() == 1
    assert model.asked == ["question 1", "question 3"]


async def test_forgetting_goes_on_when_its_caller_has_gone(
    desk: Desk, model: Model, store: FaultyStore, time: Time
) -> None:
    await answer(desk, model, question("1"), "done")
    store.is_full = True
    caller = asyncio.create_task(desk.forget("gh_a", "o_anna"))
    assert await time.pass_one() == 0.5
    caller.cancel()
    await asyncio.wait([caller])

    store.is_full = False
    await time.pass_one()

    assert caller.cancelled()
    async with asyncio.timeout(SOON):
        while await store.get("id-1"):
            await asyncio.sleep(0)


async def test_an_answer_whose_row_is_gone_ends_in_silence(desk: Desk, model: Model, store: MemoryStore) -> None:
    """Another program may delete a subscriber's rows."""
    desk.receive(question("1"))
    call = await model.call()
    waiting = asyncio.create_task(desk.wait("id-1", SOON))
    await store.forget("gh_a", "o_anna")
    call.say("too late")

    assert await waiting is None


# A store that refuses


async def test_a_question_that_cannot_be_written_is_not_accepted(desk: Desk, model: Model, store: FaultyStore) -> None:
    store.is_full = True
    desk.receive(question("1"))
    with pytest.raises(StoreUnavailable, match="disk full"):
        await desk.wait("id-1", SOON)

    store.is_full = False
    desk.receive(question("1", id="id-again"))
    (await model.call()).say("after all")

    assert (await settled(desk, "id-again")).answer == "after all"
    assert model.asked == ["question 1"]


async def test_nothing_is_claimed_while_a_question_is_being_written(model: Model, time: Time) -> None:
    store = SlowStore()
    async with desk_over(store, model, time) as desk:
        desk.receive(question("1"))
        with pytest.raises(StoreUnavailable):
            await desk.wait("id-1", 0.001)
        store.may_begin.set()
        (await model.call()).say("slow but sure")

        assert (await settled(desk, "id-1")).answer == "slow but sure"


async def test_the_mailbox_has_the_question_of_a_moment_ago(model: Model, time: Time) -> None:
    store = SlowStore()
    async with desk_over(store, model, time) as desk:
        desk.receive(question("1"))
        mailbox = asyncio.create_task(desk.mailbox("gh_a", "o_anna"))
        with pytest.raises(StoreUnavailable):
            await desk.wait("id-1", 0.001)
        store.may_begin.set()

        assert [exchange.id for exchange in await mailbox] == ["id-1"]


async def test_the_model_is_not_asked_before_thinking_is_written(
    desk: Desk, model: Model, store: FaultyStore, time: Time
) -> None:
    desk.receive(question("1"))
    (await model.call()).fail(Resting(34.0))
    await until_written(store, "id-1", state=State.QUEUED)
    store.is_full = True
    pauses = [await time.pass_one() for _ in range(10)]
    asked_meanwhile = list(model.asked)
    store.is_full = False
    (await model.call()).say("at last")

    assert pauses == [34.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert asked_meanwhile == ["question 1"]
    assert (await settled(desk, "id-1")).answer == "at last"


async def test_the_next_question_waits_until_the_answer_before_it_is_written(
    desk: Desk, model: Model, store: FaultyStore, time: Time
) -> None:
    desk.receive(question("1"))
    desk.receive(question("2"))
    call = await model.call()
    await desk.mailbox("gh_a", "o_anna")  # both are accepted
    store.is_full = True
    call.say("one")
    await time.pass_one()
    await time.pass_one()
    asked_meanwhile = list(model.asked)
    store.is_full = False
    second = await model.call()

    assert asked_meanwhile == ["question 1"]
    assert [message.content for message in second.messages] == ["Be brief.", "question 1", "one", "question 2"]


async def test_an_answer_that_cannot_be_written_is_given_out_and_collected_all_the_same(
    desk: Desk, model: Model, store: FaultyStore, time: Time
) -> None:
    desk.receive(question("1"))
    call = await model.call()
    store.is_full = True
    call.say("in memory")

    answered = await settled(desk, "id-1")
    in_mailbox = await desk.mailbox("gh_a", "o_anna")
    desk.delivered(answered, "push-1", page=0, is_last=True)
    left_in_mailbox = await desk.mailbox("gh_a", "o_anna")
    store.is_full = False
    await time.pass_one()

    assert answered.answer == "in memory"
    assert in_mailbox == [answered]
    assert left_in_mailbox == []
    assert (await until_written(store, "id-1", state=State.COLLECTED)).answer == "in memory"


async def test_what_is_collected_while_its_answer_is_being_written_is_collected(
    desk: Desk, model: Model, store: FaultyStore, time: Time
) -> None:
    desk.receive(question("1"))
    call = await model.call()
    store.is_full = True
    call.say("in memory")
    answered = await settled(desk, "id-1")
    store.is_full = False
    store.is_saving.clear()
    store.may_save.clear()
    await time.pass_one()
    await store.is_saving.wait()

    desk.delivered(answered, "push-1", page=0, is_last=True)
    store.may_save.set()

    assert (await until_written(store, "id-1", state=State.COLLECTED)).collected_by == "push-1"


async def test_a_tap_that_cannot_be_written_leaves_the_failure_as_it_was(
    desk: Desk, model: Model, store: FaultyStore
) -> None:
    desk.receive(question("1"))
    (await model.call()).fail(Unanswered(Reason.TIMEOUT))
    failed = await settled(desk, "id-1")
    store.is_full = True
    desk.retry(failed)

    with pytest.raises(StoreUnavailable):
        await desk.wait("id-1", SOON)
    assert await settled(desk, "id-1") == failed
    assert model.asked == ["question 1"]


async def test_a_delivery_that_cannot_be_written_is_written_later(
    desk: Desk, model: Model, store: FaultyStore, time: Time
) -> None:
    answered = await answer(desk, model, question("1"), "done")
    store.is_full = True
    desk.delivered(answered, "push-1", page=0, is_last=True)
    await time.pass_one()
    store.is_full = False

    assert (await until_written(store, "id-1", state=State.COLLECTED)).collected_by == "push-1"
