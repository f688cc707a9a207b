from __future__ import annotations

import json
import re
from dataclasses import fields, replace

import jinja2
import pytest
from aiohttp import web
from jinja2 import meta

from bot.exchange import Exchange, State
from daemon.operator.assets import read_assets
from daemon.operator.context import Mail, StatusPage, as_json, status_page
from daemon.operator.gate import SignInPage
from daemon.operator.page import setup_templates
from daemon.operator.seen import CallerView, Seen
from daemon.verification import Misdirected
from proxy.health import KeyView
from proxy.tally import UpstreamView
from tests.daemon.operator.house import a_cell, a_key
from tests.daemon.operator.scenes import NOW, SCENES, the_most

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
        "seen": Seen(keys=keys),
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
            12_345,
            "2 of 4 keys usable, 12,345 answers waiting",
            "4 把密钥中 2 把可用，12,345 条回答待取",
        ),
    ],
)
def test_the_headline_says_in_words_how_things_stand(
    states: list[str], pending: int, english: str, chinese: str
) -> None:
    keys = [a_key(state=state) for state in states]
    waiting = mail(QUESTION, count=pending)
    assert page(keys, waiting).headline == english
    assert page(keys, waiting, language="zh").headline == chinese


@pytest.mark.parametrize(
    ("states", "tone"),
    [([], "ill"), (["dead"], "ill"), (["ready", "ready"], "well"), (["ready", "cooling"], "resting")],
)
def test_the_lamp_beside_the_headline_goes_by_the_usable_keys(states: list[str], tone: str) -> None:
    assert page([a_key(state=state) for state in states]).tone == tone


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("state", State)
def test_every_state_of_a_question_has_a_word_in_both_languages(state: State, language: str) -> None:
    [row] = page([], mail(replace(QUESTION, state=state)), language=language).pending
    assert row.state != state.value


def test_a_silent_database_is_said_and_is_not_an_empty_mailbox() -> None:
    silent = page([a_key()], None)
    assert silent.headline == "1 of 1 keys usable, the database does not answer"
    assert (silent.mail_is_known, silent.tone) == (False, "ill")
    assert as_json(silent)["pending_count"] is None
    assert [banner.code for banner in silent.banners] == ["database"]


def test_words_are_not_even_in_the_context_when_they_are_switched_off() -> None:
    hidden = page([], mail(QUESTION), show_words=False)
    assert hidden.pending[0].question == ""
    assert QUESTION.question not in repr(hidden)
    assert as_json(hidden)["pending"][0]["question"] is None


def test_the_json_is_the_same_view_with_names_and_seconds() -> None:
    resting = a_key(state="cooling", rule="rate", reason="429", seconds_left=33.2, cells=(a_cell("m"),))
    seen = Seen(
        keys=[resting],
        upstreams=[UpstreamView("openai", 2, 0.5, 0.9, 0.001)],
        callers=[CallerView("laptop", 3, 1_000, 1, tokens_per_day=5_000)],
        tokens_today={"main": 700},
        misdirected=[Misdirected(990.0, "/wechat/", "GET")],
    )
    view = json.loads(json.dumps(as_json(page([], mail(QUESTION), seen=seen))))
    assert view["headline"] == "0 of 1 keys usable, 1 answer waiting"
    assert (view["accounts"], view["database_answers"]) == ([], True)
    assert [banner["code"] for banner in view["banners"]] == ["none_ready", "verification"]
    key = view["keys"][0]
    assert (key["state"], key["seconds_left"], key["tokens_today"], key["cells"][0]["model"]) == (
        "cooling",
        33.2,
        700,
        "m",
    )
    assert key["history"] == {"minutes": [], "answered": 0, "failed": 0, "moments": []}
    assert view["upstreams"][0]["first_byte_p95"] == 0.9
    assert view["callers"][0]["tokens_per_day"] == 5_000
    assert view["misdirected"] == [{"age_seconds": 10, "path": "/wechat/", "method": "GET"}]
    assert (view["questions"], view["pending_count"]) == ({"thinking": 1}, 1)
    assert view["pending"] == [
        {"age_seconds": 60, "subscriber": "oABC…9z", "question": "为什么天是蓝的", "state": "queued"}
    ]


# --- the templates


@pytest.fixture(scope="module")
def templates() -> jinja2.Environment:
    return setup_templates(web.Application(), read_assets()).environment


def rendered(templates: jinja2.Environment, template: str, context: StatusPage, without: str = "") -> str:
    values = {field.name: getattr(context, field.name) for field in fields(context) if field.name != without}
    return templates.get_template(template).render(values)


@pytest.mark.parametrize(("template", "context"), [("status.html", StatusPage), ("sign_in.html", SignInPage)])
def test_a_template_uses_exactly_the_fields_of_its_context(
    templates: jinja2.Environment, template: str, context: type
) -> None:
    assert _names(templates, template) - set(templates.globals) == {field.name for field in fields(context)}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_can_be_told_and_its_main_without_any_secret_of_a_viewer(
    templates: jinja2.Environment, scene: str, language: str
) -> None:
    there = SCENES[scene]()
    shown = page([], there.mail, seen=there.seen, now=NOW, language=language, form_token="of-this-viewer")
    main = rendered(templates, "_main.html", shown, without="form_token")
    assert main.strip().startswith("<main>")
    assert main in rendered(templates, "status.html", shown)
    assert "<script" not in main
    assert not any(f' {name}="' in main for name in ("style", "onclick", "onload"))


def test_pages_of_what_waits_are_links_that_keep_the_language(templates: jinja2.Environment) -> None:
    shown = page([], mail(*[QUESTION] * 50, count=120), language="zh", pending_page=2)
    html = rendered(templates, "_main.html", shown)
    assert re.findall(r'<a href="([^"]+)" rel="(\w+)"', html) == [
        ("?lang=zh&amp;page=1#pending", "prev"),
        ("?lang=zh&amp;page=3#pending", "next"),
    ]
    assert "第 51–100 条，共 120 条" in html


def test_ten_keys_with_every_trouble_and_a_full_page_of_answers_stay_under_forty_kilobytes(
    templates: jinja2.Environment,
) -> None:
    there = the_most()
    assert (len(there.seen.keys), there.mail.pending_count) == (10, 10_000)
    for language in ("en", "zh"):
        shown = page([], there.mail, seen=there.seen, now=NOW, language=language, form_token="f" * 64)
        assert len(rendered(templates, "status.html", shown).encode()) < 40_000


def _names(env: jinja2.Environment, template: str) -> set[str]:
    """Every name that the template, the templates it includes and the one it extends take from outside."""
    assert env.loader is not None
    tree = env.parse(env.loader.get_source(env, template)[0])
    others = [name for name in meta.find_referenced_templates(tree) if name]
    return meta.find_undeclared_variables(tree).union(*(_names(env, other) for other in others))
