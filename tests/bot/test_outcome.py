from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given as each
from hypothesis import strategies as st

from bot.exchange import Exchange, Reason, State
from bot.outcome import collected, failed, given, rested, tidied

THINKING = Exchange("id-1", "gh_a", "o_anna", "push-1", "why?", State.THINKING, asked_at=90.0, started_at=95.0)
ANSWERED = replace(THINKING, state=State.ANSWERED, answer="because", answered_at=100.0)


def test_an_answer_is_kept_with_its_moment() -> None:
    assert given(THINKING, "because", now=100.0) == ANSWERED


@pytest.mark.parametrize("text", ["", " ", "\n\n", "A: ", "\n\nA: \n", "\u3000\t"])
def test_an_answer_of_nothing_is_a_failure(text: str) -> None:
    assert given(THINKING, text, now=100.0) == replace(THINKING, state=State.FAILED, reason=Reason.EMPTY)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("hello", "hello"),
        ("\n\nhello", "hello"),
        ("\r\nhello", "hello"),
        ("A: hello", "hello"),
        ("\n\nA: hello", "hello"),
        ("\n A: hello", "hello"),
        ("A: \nhello", "hello"),
        ("A: A: hello", "A: hello"),
        ("A:hello", "A:hello"),
        ("    code\n    more", "    code\n    more"),
        ("hello\n\nA: not here\n", "hello\n\nA: not here\n"),
        ("\ud83d\ude00", "😀"),
        ("half \ud83d", "half \ufffd"),
    ],
)
def test_an_answer_loses_its_mark_and_nothing_else(text: str, answer: str) -> None:
    assert tidied(text) == answer


@each(st.text(st.characters(), max_size=50))
def test_a_tidied_answer_can_be_written(text: str) -> None:
    tidied(text).encode("utf-8")


@pytest.mark.parametrize(
    ("back_in_seconds", "state", "reason", "not_before"),
    [
        (0.0, State.QUEUED, None, 101.0),
        (0.2, State.QUEUED, None, 101.0),
        (34.0, State.QUEUED, None, 134.0),
        (3600.0, State.QUEUED, None, 3700.0),
        (3600.1, State.FAILED, Reason.RESTING, 3700.1),
        (None, State.FAILED, Reason.EXHAUSTED, 0.0),
    ],
)
def test_a_rest_of_up_to_an_hour_is_a_promise(
    back_in_seconds: float | None, state: State, reason: Reason | None, not_before: float
) -> None:
    after = rested(THINKING, back_in_seconds, now=100.0)

    assert after == replace(THINKING, state=state, reason=reason, not_before=not_before)


def test_a_failure_has_its_reason() -> None:
    assert failed(THINKING, Reason.REFUSED) == replace(THINKING, state=State.FAILED, reason=Reason.REFUSED)


def test_a_page_leaves_the_mailbox_and_the_last_one_empties_it() -> None:
    first = collected(ANSWERED, "push-1", page=0, is_last=False, now=101.0)
    last = collected(first, "push-2", page=1, is_last=True, now=102.0)

    assert first == replace(ANSWERED, next_page=1, collected_by="push-1", collected_at=101.0)
    assert last == replace(ANSWERED, state=State.COLLECTED, next_page=2, collected_by="push-2", collected_at=102.0)


def test_an_earlier_page_delivered_again_does_not_take_the_mailbox_back() -> None:
    second = collected(ANSWERED, "push-2", page=1, is_last=False, now=102.0)

    assert collected(second, "push-1", page=0, is_last=False, now=103.0) is second


def test_the_news_of_a_failure_are_told_once() -> None:
    told = collected(failed(THINKING, Reason.TIMEOUT), "push-1", page=0, is_last=True, now=101.0)

    assert (told.state, told.collected_by, told.is_uncollected) == (State.FAILED, "push-1", False)


@pytest.mark.parametrize("state", [State.QUEUED, State.THINKING, State.COLLECTED])
def test_where_no_page_is_waiting_none_is_taken(state: State) -> None:
    before = replace(THINKING, state=state)

    assert collected(before, "push-1", page=0, is_last=True, now=101.0) is before
