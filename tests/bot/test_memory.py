from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.ask import Message
from bot.exchange import Exchange, State
from bot.memory import MESSAGE_TOKENS, MemorySettings, messages, tokens

ROOMY = MemorySettings(exchanges=10, max_tokens=3000, idle_seconds=3600.0)
QUESTION = Exchange("now", "gh_a", "o_anna", "push-now", "and now?", State.THINKING, asked_at=10_000.0)


def past(n: int, **fields: Any) -> Exchange:
    """The n-th exchange: asked ten seconds after the one before it, answered two seconds later."""
    told = Exchange(str(n), "gh_a", "o_anna", f"push-{n}", f"q{n}", State.COLLECTED, f"a{n}")
    return replace(told, **{"asked_at": 9000.0 + 10 * n, "answered_at": 9002.0 + 10 * n, **fields})


def words(told: list[Message]) -> list[str]:
    return [message.content for message in told]


def test_a_first_question_is_the_prompt_and_itself() -> None:
    told = messages([], QUESTION, system_prompt="Be brief.", settings=ROOMY)

    assert told == [Message("system", "Be brief."), Message("user", "and now?")]


def test_without_a_system_prompt_there_is_no_system_message() -> None:
    assert messages([], QUESTION, system_prompt="", settings=ROOMY) == [Message("user", "and now?")]


def test_the_conversation_is_told_in_order_and_by_turns() -> None:
    told = messages([past(1), past(2)], QUESTION, system_prompt="", settings=ROOMY)

    assert words(told) == ["q1", "a1", "q2", "a2", "and now?"]
    assert [message.role for message in told] == ["user", "assistant", "user", "assistant", "user"]


def test_from_the_eleventh_text_on_the_question_still_reaches_the_model() -> None:
    """The article took the ten oldest rows, so its prompt ended with an old answer."""
    told = messages([past(n) for n in range(1, 16)], QUESTION, system_prompt="", settings=ROOMY)

    assert words(told)[-3:] == ["q15", "a15", "and now?"]
    assert words(told)[0] == "q6"


@pytest.mark.parametrize("state", [State.FAILED, State.QUEUED, State.THINKING])
def test_what_was_not_answered_is_left_out_and_takes_no_place(state: State) -> None:
    recent = [past(1), past(2), past(3, state=state, answer="")]

    told = messages(recent, QUESTION, system_prompt="", settings=replace(ROOMY, exchanges=2))

    assert words(told) == ["q1", "a1", "q2", "a2", "and now?"]


def test_no_exchange_is_remembered_where_none_is_allowed() -> None:
    told = messages([past(1)], QUESTION, system_prompt="", settings=replace(ROOMY, exchanges=0))

    assert words(told) == ["and now?"]


@pytest.mark.parametrize(
    ("pause_seconds", "remembered"), [(0.0, True), (3600.0, True), (3600.5, False), (-500.0, True)]
)
def test_a_long_pause_before_the_question_forgets_everything(pause_seconds: float, remembered: bool) -> None:
    """A negative pause is a question that was asked again after its failure."""
    question = replace(QUESTION, asked_at=past(2).answered_at + pause_seconds)

    told = messages([past(1), past(2)], question, system_prompt="", settings=ROOMY)

    assert words(told) == (["q1", "a1", "q2", "a2", "and now?"] if remembered else ["and now?"])


def test_what_was_forgotten_once_does_not_come_back_with_the_next_question() -> None:
    before_the_pause = past(1, asked_at=100.0, answered_at=102.0)

    told = messages([before_the_pause, past(2), past(3)], QUESTION, system_prompt="", settings=ROOMY)

    assert words(told) == ["q2", "a2", "q3", "a3", "and now?"]


def test_one_that_is_too_long_ends_what_is_remembered() -> None:
    recent = [past(1), past(2, answer="字" * 3000), past(3)]

    told = messages(recent, QUESTION, system_prompt="", settings=ROOMY)

    assert words(told) == ["q3", "a3", "and now?"]


def test_the_question_and_the_prompt_go_whole_however_long_they_are() -> None:
    question = replace(QUESTION, question="问" * 20_000)

    told = messages([past(1)], question, system_prompt="提" * 20_000, settings=ROOMY)

    assert words(told) == ["提" * 20_000, "q1", "a1", "问" * 20_000]


@pytest.mark.parametrize(
    ("text", "estimate"),
    [
        ("", 0),
        ("a", 1),
        ("four", 1),
        ("fives", 2),
        ("你好", 2),
        ("你好 GPT", 3),
        ("👍🏽", 2),
        ("ü" * 8, 8),
        ("x" * 400, 100),
    ],
)
def test_the_estimate(text: str, estimate: int) -> None:
    assert tokens(text) == estimate


def cost(exchange: Exchange) -> int:
    return tokens(exchange.question) + tokens(exchange.answer) + 2 * MESSAGE_TOKENS


conversations = st.lists(
    st.builds(
        lambda question, answer, state: past(0, question=question, answer=answer, state=state),
        st.text(max_size=60),
        st.text(max_size=200),
        st.sampled_from(State),
    ),
    max_size=15,
).map(lambda rows: [replace(row, asked_at=100.0 * n, answered_at=100.0 * n + 1) for n, row in enumerate(rows)])


@given(conversations, st.integers(0, 12), st.integers(0, 300))
def test_memory_is_the_longest_tail_within_both_bounds(recent: list[Exchange], exchanges: int, max_tokens: int) -> None:
    settings = MemorySettings(exchanges=exchanges, max_tokens=max_tokens, idle_seconds=1e9)

    told = messages(recent, QUESTION, system_prompt="p", settings=settings)

    answered = [row for row in recent if row.state in (State.ANSWERED, State.COLLECTED)]
    count = (len(told) - 2) // 2
    tail = answered[len(answered) - count :]
    assert words(told) == ["p", *(text for row in tail for text in (row.question, row.answer)), "and now?"]
    assert count <= exchanges
    assert sum(map(cost, tail)) <= max_tokens
    if count < min(exchanges, len(answered)):
        assert sum(map(cost, answered[len(answered) - count - 1 :])) > max_tokens


@given(st.text(max_size=300), st.text(max_size=300))
def test_the_estimate_never_shrinks_when_text_is_added(one: str, other: str) -> None:
    assert max(tokens(one), tokens(other)) <= tokens(one + other) <= tokens(one) + tokens(other)
