from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.operator.cards import (
    CELLS_SHOWN,
    MOMENTS_SHOWN,
    MOST_CARDS,
    TONE_OF_EVENT,
    KeyCard,
    key_cards,
    last_moments,
)
from daemon.operator.words import WORDS, Language
from proxy.health import KeyView
from proxy.health import State as KeyState
from proxy.history import HistoryView, Moment
from proxy.lease import EVENT_OF_STATE
from tests.daemon.operator.house import a_cell, a_key

PROXY = Path(__file__).resolve().parents[3] / "proxy"


def cards(*keys: KeyView, language: Language = "en", **tokens_today: int) -> tuple[KeyCard, ...]:
    return key_cards(keys, tokens_today, WORDS[language])


def a_past(*moments: Moment) -> HistoryView:
    return HistoryView(moments=moments)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("state", [*KeyState, "cooling"])
def test_every_state_of_a_key_has_a_word_and_a_tone_in_both_languages(state: str, language: Language) -> None:
    [card] = cards(a_key(state=str(state)), language=language)
    assert card.state != state
    assert card.tone == {"ready": "well", "cooling": "resting", "suspect": "resting", "disabled": "off"}.get(
        state, "ill"
    )


def test_a_cooling_key_tells_why_and_for_how_long() -> None:
    resting = a_key(state="cooling", rule="rate", reason="429, try again in 34 s", since_seconds=6.0, seconds_left=33.2)
    [card] = cards(resting)
    assert (card.reason, card.rule) == ("The upstream limits how often it may ask.", "rate")
    assert card.detail == "429, try again in 34 s"
    assert card.countdown is not None
    assert (card.countdown.text, card.countdown.seconds, card.countdown.of_seconds) == ("0:34", 34, 39)


def test_a_rule_without_words_of_its_own_still_shows_the_pools_sentence() -> None:
    [card] = cards(a_key(state="cooling", rule="comet", reason="hit by a comet"))
    assert (card.reason, card.detail) == ("", "hit by a comet")


def test_a_ready_key_does_not_carry_its_old_troubles() -> None:
    [card] = cards(a_key(state="ready", rule="rate", reason="429", seconds_left=0.0))
    assert (card.reason, card.rule, card.detail, card.countdown) == ("", "", "", None)


def test_a_key_that_was_rejected_with_all_others_is_not_blamed() -> None:
    incident = replace(a_cell("", scope="upstream"), rule="incident")
    [card] = cards(a_key(state="suspect", rule="auth", cells=(incident,)))
    assert card.rule == "incident"
    assert card.reason.startswith("Many keys were rejected at once")


def test_models_that_rest_are_shown_soonest_first_and_only_some_of_them() -> None:
    cells = (a_cell("", scope="key"), *(a_cell(f"model-{n}", seconds_left=100.0 - n) for n in range(CELLS_SHOWN + 3)))
    [card] = cards(a_key(cells=cells))
    assert [row.model for row in card.cells] == [f"model-{n}" for n in range(CELLS_SHOWN + 2, 2, -1)]
    assert card.more_cells == "and 3 more"


def test_a_models_name_is_a_strangers_and_is_cut() -> None:
    [card] = cards(a_key(cells=(a_cell("\u202e" + "m" * 10_000),), last_request_id="r" * 500))
    assert card.cells[0].model == "m" * 64 + "…"
    assert card.request_id == "r" * 64 + "…"


@pytest.mark.parametrize(
    ("states", "order"),
    [(["ready", "cooling", "dead", "disabled", "exhausted"], [2, 4, 0, 1, 3])],
)
def test_keys_that_need_a_hand_come_first_and_no_card_jumps_when_one_cools(states: list[str], order: list[int]) -> None:
    shown = cards(*(a_key(name=str(place), state=state) for place, state in enumerate(states)))
    assert [int(card.view.name) for card in shown] == order


def test_in_a_table_the_resting_come_next_and_the_disabled_last() -> None:
    states = ["ready", "cooling", "dead", "disabled"] + ["ready"] * (MOST_CARDS - 3)
    shown = cards(*(a_key(name=str(place), state=state) for place, state in enumerate(states)))
    assert [card.view.name for card in shown[:4]] == ["2", "1", "0", "4"]
    assert shown[-1].view.name == "3"


def test_keys_of_one_organization_are_told_how_many_they_are() -> None:
    [first, second, alone] = cards(
        a_key(name="a", organization="org-1"),
        a_key(name="b", organization="org-1"),
        a_key(name="c", organization="org-2"),
    )
    assert (first.shared, second.shared, alone.shared) == ("2 keys share its limits", "2 keys share its limits", "")


@pytest.mark.parametrize(
    ("changes", "buttons"),
    [
        ({}, ["check", "disable"]),
        ({"cells": (a_cell("m"),)}, ["check", "clear", "disable"]),
        ({"state": "cooling"}, ["check", "clear", "disable"]),
        ({"state": "dead"}, ["check", "clear", "disable"]),
        ({"state": "disabled"}, ["check", "enable"]),
    ],
)
def test_only_what_would_do_something_has_a_button(changes: dict[str, object], buttons: list[str]) -> None:
    [card] = cards(a_key(**changes))
    assert [button.operation for button in card.buttons] == buttons


def test_a_day_is_told_in_shares_tokens_and_an_hour_of_both() -> None:
    history = HistoryView(minutes=((3, 0),) * 59 + ((0, 2),), answered=900, failed=100)
    [card] = cards(a_key(history=history), main=1_234)
    assert (card.success, card.tokens, card.counts, card.is_idle) == ("90 %", "1,234", "177 answered, 2 failed", False)


def test_a_key_that_did_nothing_is_idle_and_has_no_success_to_speak_of() -> None:
    [card] = cards(a_key(history=HistoryView(minutes=((0, 0),) * 60)))
    assert (card.is_idle, card.sparkline, card.counts, card.success) == (True, None, "", "–")


@pytest.mark.parametrize(
    "busy", [{"in_flight": 1}, {"history": HistoryView(answered=1)}, {"history": HistoryView(failed=1)}]
)
def test_a_key_that_does_anything_is_not_idle(busy: dict[str, object]) -> None:
    assert not cards(a_key(**busy))[0].is_idle


def test_the_past_of_a_key_reads_from_the_newest() -> None:
    past = a_past(Moment(60.0, "key.recovered", "rate"), Moment(94.0, "key.cooled", "rate", "429, try again in 34 s"))
    [card] = cards(a_key(history=past), language="zh")
    assert [(row.ago, row.event, row.why, row.tone) for row in card.moments] == [
        ("1 分钟前", "恢复", "", "well"),
        ("1 分钟前", "开始冷却", "rate · 429, try again in 34 s", "resting"),
    ]


def test_what_happened_last_to_any_key_is_told_of_all_together() -> None:
    keys = [
        a_key(name=f"k{n}", history=a_past(*(Moment(10.0 * n + at, "key.cooled") for at in range(6)))) for n in (1, 2)
    ]
    rows = last_moments(keys, WORDS["en"])
    assert [row.key for row in rows] == ["k1"] * 6 + ["k2"] * (MOMENTS_SHOWN - 6)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_everything_that_can_happen_to_a_key_has_words(language: Language) -> None:
    named = {f"key.{event}" for event in EVENT_OF_STATE.values()}
    for path in PROXY.glob("*.py"):
        named |= set(re.findall(r'"((?:key|limit|upstream)\.[a-z]+)"', path.read_text("utf-8")))
    assert named == set(WORDS[language].key.events)
    assert set(TONE_OF_EVENT) <= named
