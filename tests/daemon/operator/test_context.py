from __future__ import annotations

import json
from dataclasses import fields, replace

import jinja2
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import meta

from bot.exchange import Exchange, State
from daemon.operator.assets import read_assets
from daemon.operator.context import (
    CELLS_SHOWN,
    WORDS_SHOWN,
    Mail,
    StatusPage,
    as_json,
    countdown,
    excerpt,
    masked,
    status_page,
)
from daemon.operator.gate import SignInPage
from daemon.operator.page import setup_templates
from daemon.operator.seen import Seen
from proxy.health import KeyView
from proxy.health import State as KeyState
from tests.daemon.operator.house import a_cell, a_key

NOTHING = Mail(pending=(), pending_count=0, counts={})
QUESTION = Exchange(
    id="e1",
    account="gh_1",
    openid="oABCdefghijklmnopqrstuvwxy9z",
    push_id="1",
    question="为什么天是蓝的",
    asked_at=940.0,
)


def page(keys: list[KeyView], mail: Mail | None = NOTHING, **changes: object) -> StatusPage:
    values = {
        "seen": Seen(keys=keys, accounts=changes.pop("accounts", ())),  # type: ignore[arg-type]
        "mail": mail,
        "now": 1_000.0,
        "language": "en",
        "show_words": True,
        **changes,
    }
    return status_page(**values)  # type: ignore[arg-type]


def mail(*pending: Exchange, count: int | None = None) -> Mail:
    return Mail(pending=pending, pending_count=len(pending) if count is None else count, counts={"thinking": 1})


@pytest.mark.parametrize(
    ("states", "pending", "english", "chinese"),
    [
        ([], 0, "No key configured, no answers waiting", "还没有密钥，没有待取的回答"),
        (["ready"], 1, "1 of 1 keys usable, 1 answer waiting", "1 把密钥中 1 把可用，1 条回答待取"),
        (
            ["ready", "cooling", "dead", "ready"],
            2,
            "2 of 4 keys usable, 2 answers waiting",
            "4 把密钥中 2 把可用，2 条回答待取",
        ),
    ],
)
def test_the_headline_says_in_words_how_things_stand(
    states: list[str], pending: int, english: str, chinese: str
) -> None:
    keys = [a_key(state=state) for state in states]
    waiting = mail(*[QUESTION] * pending)
    assert page(keys, waiting).headline == english
    assert page(keys, waiting, language="zh").headline == chinese


@pytest.mark.parametrize(
    ("states", "tone"),
    [([], "ill"), (["dead"], "ill"), (["ready", "ready"], "well"), (["ready", "cooling"], "resting")],
)
def test_the_lamp_beside_the_headline_goes_by_the_usable_keys(states: list[str], tone: str) -> None:
    assert page([a_key(state=state) for state in states]).tone == tone


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("state", [*KeyState, "cooling"])
def test_every_state_of_a_key_has_a_word_and_a_tone_in_both_languages(state: str, language: str) -> None:
    [card] = page([a_key(state=str(state))], language=language).keys
    assert card.state != state
    assert card.tone == {"ready": "well", "cooling": "resting", "suspect": "resting", "disabled": "off"}.get(
        state, "ill"
    )


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("state", State)
def test_every_state_of_a_question_has_a_word_in_both_languages(state: State, language: str) -> None:
    [row] = page([], mail(replace(QUESTION, state=state)), language=language).pending
    assert row.state != state.value


def test_a_cooling_key_tells_why_and_for_how_long() -> None:
    resting = a_key(state="cooling", rule="rate", reason="429, try again in 34 s", since_seconds=6.0, seconds_left=33.2)
    [card] = page([resting]).keys
    assert card.reason == "The upstream limits how often it may ask."
    assert card.detail == "429, try again in 34 s"
    assert card.countdown is not None
    assert (card.countdown.text, card.countdown.seconds, card.countdown.of_seconds) == ("0:34", 34, 39)


def test_a_rule_without_words_of_its_own_still_shows_the_pools_sentence() -> None:
    [card] = page([a_key(state="cooling", rule="comet", reason="hit by a comet")]).keys
    assert (card.reason, card.detail) == ("", "hit by a comet")


def test_a_ready_key_does_not_carry_its_old_troubles() -> None:
    [card] = page([a_key(state="ready", rule="rate", reason="429", seconds_left=0.0)]).keys
    assert (card.reason, card.detail, card.countdown) == ("", "", None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0:01"), (34.0, "0:34"), (34.1, "0:35"), (320.0, "5:20"), (3_723.0, "1:02:03"), (86_400.0, "24:00:00")],
)
def test_a_countdown_is_rounded_up_and_reads_like_a_clock(seconds: float, text: str) -> None:
    counted = countdown(seconds)
    assert counted is not None
    assert counted.text == text


@pytest.mark.parametrize("seconds", [None, 0.0, -3.0])
def test_what_is_over_or_unknown_has_no_countdown(seconds: float | None) -> None:
    assert countdown(seconds) is None


def test_models_that_rest_are_shown_soonest_first_and_only_some_of_them() -> None:
    cells = (a_cell("", scope="key"), *(a_cell(f"model-{n}", seconds_left=100.0 - n) for n in range(CELLS_SHOWN + 3)))
    [card] = page([a_key(cells=cells)]).keys
    assert [row.model for row in card.cells] == [f"model-{n}" for n in range(CELLS_SHOWN + 2, 2, -1)]
    assert card.more_cells == "and 3 more"


@pytest.mark.parametrize(
    ("asked_at", "english", "chinese"),
    [
        (1_000.0, "0 s", "0 秒"),
        (940.5, "59 s", "59 秒"),
        (940.0, "1 min", "1 分钟"),
        (1_000.0 - 7_300, "2 h", "2 小时"),
        (1_000.0 - 200_000, "2 d", "2 天"),
        (1_005.0, "0 s", "0 秒"),
    ],
)
def test_an_age_is_one_unit(asked_at: float, english: str, chinese: str) -> None:
    asked = mail(replace(QUESTION, asked_at=asked_at))
    assert page([], asked).pending[0].age == english
    assert page([], asked, language="zh").pending[0].age == chinese


def test_pending_answers_beyond_the_shown_are_counted() -> None:
    shown = page([], mail(QUESTION, count=51))
    assert (shown.headline, shown.more_pending) == ("No key configured, 51 answers waiting", "and 50 more")


def test_a_silent_database_is_said_and_is_not_an_empty_mailbox() -> None:
    silent = page([a_key()], None)
    assert silent.headline == "1 of 1 keys usable, the database does not answer"
    assert (silent.mail_is_known, silent.tone) == (False, "ill")


def test_words_are_not_even_in_the_context_when_they_are_switched_off() -> None:
    hidden = page([], mail(QUESTION), show_words=False)
    assert hidden.pending[0].question == ""
    assert QUESTION.question not in repr(hidden)
    assert as_json(hidden)["pending"][0]["question"] is None


@given(st.text(min_size=13))
def test_a_mask_leaves_six_characters_of_an_openid(openid: str) -> None:
    assert masked(openid) == openid[:4] + "…" + openid[-2:]


@given(st.text(max_size=12))
def test_a_short_openid_is_hidden_whole(openid: str) -> None:
    assert masked(openid) == "…"


@given(st.text())
def test_an_excerpt_is_one_short_line_that_can_be_printed(question: str) -> None:
    line = excerpt(question)
    assert line.isprintable()
    assert len(line) <= WORDS_SHOWN + 1


def test_an_excerpt_loses_marks_that_turn_the_page_around() -> None:
    assert excerpt("ab\u202ecd\n\n\x00 ef") == "ab cd ef"


def test_the_json_is_the_same_view_with_names_and_seconds() -> None:
    resting = a_key(state="cooling", rule="rate", reason="429", seconds_left=33.2, cells=(a_cell("m"),))
    view = json.loads(json.dumps(as_json(page([resting], mail(QUESTION)))))
    assert view["headline"] == "0 of 1 keys usable, 1 answer waiting"
    assert (view["accounts"], view["database_answers"]) == ([], True)
    assert (view["keys"][0]["state"], view["keys"][0]["seconds_left"]) == ("cooling", 33.2)
    assert view["keys"][0]["cells"][0]["model"] == "m"
    assert view["pending"] == [
        {"age_seconds": 60, "subscriber": "oABC…9z", "question": "为什么天是蓝的", "state": "queued"}
    ]


@pytest.mark.parametrize(("template", "context"), [("status.html", StatusPage), ("sign_in.html", SignInPage)])
def test_a_template_uses_exactly_the_fields_of_its_context(template: str, context: type) -> None:
    env = setup_templates(web.Application(), read_assets())
    assert _names(env, template) - set(env.globals) == {field.name for field in fields(context)}


def _names(env: jinja2.Environment, template: str) -> set[str]:
    """Every name that the template, the templates it includes and the one it extends take from outside."""
    assert env.loader is not None
    tree = env.parse(env.loader.get_source(env, template)[0])
    others = [name for name in meta.find_referenced_templates(tree) if name]
    return meta.find_undeclared_variables(tree).union(*(_names(env, other) for other in others))
