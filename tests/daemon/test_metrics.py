from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from bot.wechat.view import KINDS, Pushes
from daemon.demo.refusals import Limited
from daemon.demo.steps import Answer
from daemon.metrics import SLICE, STATES, Sources, exposition
from daemon.operator.seen import Seen
from proxy.tally import ANSWER_BOUNDS, ROUTES, Histogram, Tally
from proxy.usage import Kind, Tokens
from proxy.usage_book import Days, UsageBook
from proxy.verdict import Rule
from tests.daemon.operator.house import a_key, an_account
from tests.flows.daemon_bench import TOKEN, Town, town, words

CONTRACT = {
    "posthouse_requests_total": {"caller", "route", "status"},
    "posthouse_upstream_responses_total": {"key", "rule"},
    "posthouse_key_state": {"key", "state"},
    "posthouse_key_cooldown_seconds": {"key"},
    "posthouse_key_in_flight": {"key"},
    "posthouse_first_byte_seconds_bucket": {"le"},
    "posthouse_first_byte_seconds_count": set(),
    "posthouse_first_byte_seconds_sum": set(),
    "posthouse_added_seconds_bucket": {"le"},
    "posthouse_added_seconds_count": set(),
    "posthouse_added_seconds_sum": set(),
    "posthouse_streams_open": set(),
    "posthouse_streams_truncated_total": set(),
    "posthouse_outcome_unknown_total": set(),
    "posthouse_queue_depth": set(),
    "posthouse_tokens_total": {"caller", "key", "model", "kind"},
    "posthouse_questions": {"state"},
    "posthouse_answer_seconds_bucket": {"le"},
    "posthouse_answer_seconds_count": set(),
    "posthouse_answer_seconds_sum": set(),
    "posthouse_wechat_pushes_total": {"account", "kind", "outcome"},
}
KEYS, CALLERS, MODELS = ("k1", "k2"), ("laptop", "bot"), ("gpt-5",)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def sources(seen: Seen | None = None, **changes: Any) -> Sources:
    values: dict[str, Any] = {
        "look": lambda: seen or Seen(),
        "tally": Tally(),
        "line": (),
        "totals": {},
        "answer_seconds": Histogram(ANSWER_BOUNDS),
    }
    return Sources(**{**values, **changes})


def samples(text: bytes) -> Samples:
    families = list(text_string_to_metric_families(text.decode()))
    assert all(family.documentation for family in families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def scraped(of: Sources, questions: dict[str, int] | None = None) -> Samples:
    return samples(asyncio.run(exposition(of, "", questions))[0])


def busy() -> Sources:
    """Where every metric has something to say."""
    tally, answers, pushes = Tally(), Histogram(ANSWER_BOUNDS), Pushes()
    tally.asked("laptop", "/v1/chat/completions", 200)
    tally.asked("", "/v1/../etc", 401)
    tally.responses.update({("k1", Rule.OK): 3, ("k1", Rule.RATE): 1})
    tally.first_byte.add(0.3)
    tally.added.add(0.0004)
    tally.streams_open, tally.streams_truncated, tally.outcomes_unknown = 2, 1, 4
    for seconds in (0.5, 1.0, 3.0, 999.0):
        answers.add(seconds)
    pushes.count("text", "answered")
    keys = (a_key(name="k1", state="cooling", seconds_left=12.5, in_flight=2), a_key(name="k2", state="dead"))
    seen = Seen(keys=keys, accounts=(an_account(pushes=pushes.view()),))
    totals = Counter({("laptop", "k1", "gpt-5", "reported"): 70, ("bot", "k2", "other", "estimated"): 5})
    return sources(seen, tally=tally, line=(1, 2, 3), totals=totals, answer_seconds=answers)


def test_the_names_and_labels_are_those_of_the_contract() -> None:
    found: dict[str, set[str]] = {}
    for name, labels in scraped(busy(), {"thinking": 1}):
        found.setdefault(name, set()).update(label for label, _ in labels)
    assert found == CONTRACT


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        ("posthouse_requests_total", {"caller": "laptop", "route": "/v1/chat/completions", "status": "200"}, 1),
        ("posthouse_requests_total", {"caller": "other", "route": "other", "status": "401"}, 1),
        ("posthouse_upstream_responses_total", {"key": "k1", "rule": "ok"}, 3),
        ("posthouse_upstream_responses_total", {"key": "k1", "rule": "rate"}, 1),
        ("posthouse_key_state", {"key": "k1", "state": "cooling"}, 1),
        ("posthouse_key_state", {"key": "k1", "state": "ready"}, 0),
        ("posthouse_key_state", {"key": "k2", "state": "dead"}, 1),
        ("posthouse_key_cooldown_seconds", {"key": "k1"}, 12.5),
        ("posthouse_key_cooldown_seconds", {"key": "k2"}, 0),
        ("posthouse_key_in_flight", {"key": "k1"}, 2),
        ("posthouse_first_byte_seconds_bucket", {"le": "0.25"}, 0),
        ("posthouse_first_byte_seconds_bucket", {"le": "0.5"}, 1),
        ("posthouse_first_byte_seconds_sum", {}, 0.3),
        ("posthouse_added_seconds_bucket", {"le": "0.0005"}, 1),
        ("posthouse_streams_open", {}, 2),
        ("posthouse_streams_truncated_total", {}, 1),
        ("posthouse_outcome_unknown_total", {}, 4),
        ("posthouse_queue_depth", {}, 3),
        ("posthouse_tokens_total", {"caller": "laptop", "key": "k1", "model": "gpt-5", "kind": "reported"}, 70),
        ("posthouse_tokens_total", {"caller": "bot", "key": "k2", "model": "other", "kind": "estimated"}, 5),
        ("posthouse_questions", {"state": "thinking"}, 1),
        ("posthouse_answer_seconds_bucket", {"le": "1.0"}, 2),
        ("posthouse_answer_seconds_bucket", {"le": "600.0"}, 3),
        ("posthouse_answer_seconds_bucket", {"le": "+Inf"}, 4),
        ("posthouse_answer_seconds_count", {}, 4),
        ("posthouse_answer_seconds_sum", {}, 1003.5),
        ("posthouse_wechat_pushes_total", {"account": "gh_1", "kind": "text", "outcome": "answered"}, 1),
    ],
)
def test_each_metric_says_what_was_counted(name: str, labels: dict[str, str], value: float) -> None:
    assert scraped(busy(), {"thinking": 1})[name, tuple(sorted(labels.items()))] == value


def test_a_key_is_in_one_state_of_all_that_there_are() -> None:
    states = {dict(labels)["state"]: value for (name, labels), value in scraped(busy()).items() if "key_state" in name}
    assert set(states) == {"ready", "cooling", "suspect", "exhausted", "dead", "blocked_ip", "disabled"} == set(STATES)
    one = sources(Seen(keys=tuple(a_key(name=state, state=state) for state in STATES)))
    assert sum(value for (name, _), value in scraped(one).items() if name == "posthouse_key_state") == len(STATES)


def test_a_silent_database_leaves_the_questions_out_and_nothing_else() -> None:
    with_questions, without = scraped(busy(), {"thinking": 1}), scraped(busy())
    assert {name for name, _ in with_questions.keys() - without.keys()} == {"posthouse_questions"}


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4;q=0.5", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=nine", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=x,*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0", openmetrics.exposition.CONTENT_TYPE_LATEST),
    ],
)
def test_the_scraper_gets_the_form_it_asks_for(accept: str, content_type: str) -> None:
    text, given = asyncio.run(exposition(busy(), accept, {"thinking": 1}))
    assert given.partition("; escaping")[0] == content_type.partition("; escaping")[0]
    if "openmetrics" in given:
        assert list(openmetrics_parser.text_string_to_metric_families(text.decode()))


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text;version=1.0.0"])
async def test_many_keys_are_written_in_turns_and_read_as_one(accept: str) -> None:
    keys = tuple(a_key(name=f"k{number}", state="dead") for number in range(2 * SLICE + 1))
    turns, done = 0, asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(others())
        text, _ = await exposition(sources(Seen(keys=keys)), accept, None)
        done.set()
    parse = openmetrics_parser.text_string_to_metric_families if accept else text_string_to_metric_families
    families = list(parse(text.decode()))
    assert [len(family.samples) for family in families if "key" in family.name and family.samples] == [
        len(keys) * len(STATES),
        len(keys),
        len(keys),
    ]
    assert text.count(b"# HELP posthouse_key_state ") == 1
    assert text.count(b"# EOF") == bool(accept)
    assert turns >= len(keys) * len(STATES) // SLICE


paths = st.text() | st.sampled_from(sorted(ROUTES)) | st.text().map(lambda text: f"/v1/{text}")
asking = st.tuples(st.sampled_from(["", *CALLERS]), paths, st.integers(-10, 70_000))
using = st.tuples(st.sampled_from(CALLERS), st.sampled_from(KEYS), st.text() | st.sampled_from(MODELS))
pushing = st.tuples(st.text() | st.sampled_from(sorted(KINDS)), st.sampled_from(["answered", "unanswered", "success"]))
ALLOWED = {
    "caller": {*CALLERS, "other"},
    "route": {*ROUTES, "other"},
    "model": {*MODELS, "other"},
    "kind": {*KINDS, *Kind, "other"},
    "status": {*map(str, range(100, 600)), "other"},
}


@settings(max_examples=40)
@given(st.lists(asking), st.lists(using), st.lists(pushing))
def test_no_caller_and_no_subscriber_can_make_a_row(
    asked: list[tuple[str, str, int]], used: list[tuple[str, str, str]], pushed: list[tuple[str, str]]
) -> None:
    tally, pushes = Tally(), Pushes()
    book = UsageBook(MODELS, Days(UTC, lambda: 0.0))
    for caller, path, status in asked:
        tally.asked(caller, path, status)
    for caller, key, model in used:
        book.add(caller, key, model, Tokens(1, 1, 0, Kind.REPORTED))
    for kind, outcome in pushed:
        pushes.count(kind, outcome)
    seen = Seen(accounts=(an_account(pushes=pushes.view()),))
    for _, labels in scraped(sources(seen, tally=tally, totals=book.totals)):
        for label, value in labels:
            assert value in ALLOWED.get(label, {value})


async def scrape(town: Town) -> Samples:
    headers = {"Authorization": "Bearer journey-password"}
    async with town.session.get(f"{town.daemon.url}/metrics", headers=headers) as answer:
        assert answer.status == 200
        return samples(await answer.read())


async def test_a_daemons_metrics_tell_of_its_journeys(tmp_path: Path) -> None:
    scripts = {"sk-1": [Limited("30"), Answer("Hi.")], "sk-2": [Answer("Hello."), Answer("42")]}
    async with town(tmp_path, scripts) as place:
        for token, path in ((TOKEN, "/v1/chat/completions"), ("wrong", f"/v1/{'x' * 50}"), (TOKEN, "/v1/nowhere/1")):
            body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
            headers = {"Authorization": f"Bearer {token}"}
            async with place.session.post(f"{place.daemon.url}{path}", json=body, headers=headers) as answer:
                await answer.read()
        assert words(await place.side.say("o_1", "生命的意义？")) == "42\n\n（内容由AI生成）"
        await place.has_told()
        found = await scrape(place)
    chat = {"caller": "test", "route": "/v1/chat/completions", "status": "200"}
    pushes = {"account": next(iter(place.sides)), "kind": "text", "outcome": "answered"}
    for name, labels, value in (
        ("posthouse_requests_total", chat, 1),
        ("posthouse_requests_total", {"caller": "other", "route": "other", "status": "401"}, 1),
        ("posthouse_upstream_responses_total", {"key": "k1", "rule": "rate"}, 1),
        ("posthouse_key_state", {"key": "k1", "state": "cooling"}, 1),
        ("posthouse_questions", {"state": "collected"}, 1),
        ("posthouse_answer_seconds_count", {}, 1),
        ("posthouse_wechat_pushes_total", pushes, 1),
    ):
        assert found[name, tuple(sorted(labels.items()))] == value, (name, labels)
    assert not any("x" * 50 in value or "nowhere" in value for _, labels in found for _, value in labels)
    assert {name for name, _ in found} == set(CONTRACT)
