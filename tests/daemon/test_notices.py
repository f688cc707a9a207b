"""What is news of the keys, the pool and the upstreams, and how it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.texts import Texts
from daemon.notices import AGAIN_SECONDS, FALLS, STEADY_SECONDS, Event, Notice, Seen, Watch, seen, sentence
from proxy.health import KeyView
from proxy.ledger import CellRecord, Health, KeyRecord

LONGEST_STEADY = STEADY_SECONDS[Event.POOL_USABLE]


def view(name: str, state: str) -> KeyView:
    return KeyView(name, "", "openai", "", state, "", "", None, None, 0, 0, 0, "")


def at(*resting: str, pool: bool = True, **states: str) -> Seen:
    """`resting` are upstreams; `states` are keys of the upstream openai, by names that are their fingerprints too."""
    keys = [KeyRecord(name, state, "auth", "401 invalid_api_key", name=name) for name, state in states.items()]
    cells = [CellRecord(("upstream", name), 0.0, 0.0, rule="breaker", reason="broken") for name in resting]
    views = [view("spare", "ready"), *(view(*each) for each in states.items())]
    return seen(views, Health(tuple(keys), tuple(cells)), has_eligible=pool)


def told(start: Seen, *looks: tuple[float, Seen]) -> list[str]:
    """What is told of `looks`, each so many seconds after the start."""
    watch = Watch(start, 0.0)
    return [f"{now:.0f}: {notice}" for now, after in looks for notice in watch.news(after, now)]


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (at(a="ready"), at(a="dead"), ["60: key.dead a"]),
        (at(a="suspect"), at(a="exhausted"), ["60: key.exhausted a"]),
        (at(a="ready", b="ready"), at(a="blocked_ip", b="dead"), ["60: key.blocked_ip a", "60: key.dead b"]),
        (at(a="dead"), at(a="exhausted"), ["60: key.exhausted a"]),
        (at(a="dead"), at(a="dead"), []),
        (at(a="dead"), at(a="ready"), []),
        (at(a="ready"), at(a="suspect"), []),
        (at(a="ready"), at(a="disabled"), []),
        (at(), at(new="dead"), []),
        (at(a="dead"), at(), []),
        (at("openai"), at("openai"), []),
        (at(), at("openai"), ["60: upstream.down openai"]),
        (at("openai"), at(), ["60: upstream.up openai"]),
    ],
)
def test_only_what_is_new_is_told(before: Seen, after: Seen, news: list[str]) -> None:
    assert told(before, (60, after), (61, after)) == news


def test_a_pool_that_is_empty_for_a_moment_is_no_news() -> None:
    empty, usable = at(pool=False), at()
    assert told(usable, (2, empty), (10, empty), (12, usable), (80, usable)) == []
    assert told(usable, (2, empty), (10, empty), (12, empty)) == ["12: pool.empty"]


def test_a_pool_is_usable_again_when_it_stays_so() -> None:
    """Between two rests of a broken upstream its keys may be tried for a moment."""
    empty, usable = at(pool=False), at()
    looks = [
        (2, empty),
        (12, empty),
        (20, usable),
        (30, empty),
        (90, usable),
        (110, usable),
        (119, usable),
        (120, usable),
    ]
    assert told(usable, *looks) == ["12: pool.empty", "120: pool.usable"]


def test_a_pool_that_was_empty_at_the_start_is_told_only_when_it_is_usable() -> None:
    empty, usable = at(pool=False), at()
    assert told(empty, (60, empty), (70, usable), (100, usable)) == ["100: pool.usable"]


TRIED = at("openai")  # its rest may be over, but no answer has come since


def test_a_pool_is_usable_again_only_when_an_answer_has_shown_it() -> None:
    empty, usable = at("openai", pool=False), at()
    looks = [(2, empty), (12, empty), (20, TRIED), (3000, TRIED), (3010, usable), (3040, usable)]
    assert [line for line in told(at(), *looks) if "pool" in line] == ["12: pool.empty", "3040: pool.usable"]


@pytest.mark.parametrize(
    ("start", "empties"), [(at(pool=False), []), (at(), ["72: pool.empty"]), (TRIED, ["72: pool.empty"])]
)
def test_a_pool_that_is_only_to_be_tried_is_what_it_was(start: Seen, empties: list[str]) -> None:
    looks = [(2, TRIED), (62, at(pool=False)), (72, at(pool=False)), (80, TRIED), (600, TRIED)]
    assert [line for line in told(start, *looks) if "pool" in line] == empties


def test_a_pool_that_was_only_to_be_tried_at_the_start_is_not_told_usable() -> None:
    assert told(TRIED, (2, TRIED), (60, at()), (120, at())) == ["60: upstream.up openai"]


@pytest.mark.parametrize(
    ("views", "event"),
    [
        ([view("a", "ready")], Event.POOL_USABLE),
        ([view("a", "cooling")], Event.POOL_USABLE),  # of a model, or it would not be eligible
        ([view("a", "exhausted")], Event.POOL_TRIED),
        ([view("a", "suspect"), view("b", "blocked_ip")], Event.POOL_TRIED),
        ([view("a", "exhausted"), view("b", "ready")], Event.POOL_USABLE),
        ([replace(view("a", "ready"), upstream="broken")], Event.POOL_TRIED),
    ],
)
def test_a_key_that_was_refused_and_a_broken_upstream_are_only_to_be_tried(views: list[KeyView], event: Event) -> None:
    health = Health((), (CellRecord(("upstream", "broken"), 0.0, 0.0),))
    assert seen(views, health, has_eligible=True)["pool"].event is event
    assert seen(views, health, has_eligible=False)["pool"].event is Event.POOL_EMPTY


def test_what_falls_again_and_again_is_told_once_in_ten_minutes_and_its_recoveries_as_often() -> None:
    looks = [(2.0 * look, at("openai") if look % 2 else at()) for look in range(1, 300)]
    assert told(at(), *looks) == ["2: upstream.down openai", "4: upstream.up openai"]


def test_a_fall_that_lasts_is_told_when_the_ten_minutes_are_over() -> None:
    down, up = at("openai", a="dead"), at(a="ready")
    assert told(up, (2, down), (4, up), (6, down), (601, down), (602, down), (604, down), (606, up)) == [
        "2: key.dead a",
        "2: upstream.down openai",
        "4: upstream.up openai",
        "602: key.dead a",
        "602: upstream.down openai",
        "606: upstream.up openai",
    ]


def test_another_name_of_a_key_is_no_news() -> None:
    renamed = seen([], Health((KeyRecord("a", "dead", name="b"),)), has_eligible=True)
    watch = Watch(at(a="ready"), 0.0)
    assert [str(notice) for notice in watch.news(renamed, 2.0)] == ["key.dead b"]
    assert watch.news(at(a="dead"), 4.0) == []


def test_a_key_that_comes_back_to_the_config_is_a_new_one() -> None:
    assert told(at(a="ready"), (2, at()), (4, at(a="dead")), (6, at(a="ready")), (8, at(a="dead"))) == ["8: key.dead a"]


def test_a_notice_has_the_rule_and_the_reason() -> None:
    watch = Watch(at(a="ready"), 0.0)
    assert watch.news(at("openai", a="dead"), 2.0) == [
        Notice(Event.KEY_DEAD, "a", "auth", "401 invalid_api_key"),
        Notice(Event.UPSTREAM_DOWN, "openai", "breaker", "broken"),
    ]


def test_rests_of_one_model_or_one_key_are_no_news() -> None:
    cells = (CellRecord(("upstream-model", "openai", "gpt-5"), 9e9, 0.0), CellRecord(("key", "a"), 9e9, 0.0))
    assert told(at(), (60, seen([], Health((), cells), has_eligible=True))) == []


Looks = st.lists(st.tuples(st.floats(0.5, 400.0), st.booleans(), st.booleans()), max_size=60)


@given(Looks)
def test_falls_are_bounded_recoveries_follow_them_and_the_last_word_is_true(
    steps: Sequence[tuple[float, bool, bool]],
) -> None:
    watch, now, news = Watch(at(a="ready"), 0.0), 0.0, list[tuple[float, Notice]]()
    after = at(a="ready")
    for seconds, is_up, has_key in steps:
        now += seconds
        after = at(*([] if is_up else ["openai"]), pool=has_key, a="ready" if has_key else "dead")
        news += [(now, notice) for notice in watch.news(after, now)]
    now += LONGEST_STEADY + AGAIN_SECONDS
    news += [(now, notice) for look in (now, now + LONGEST_STEADY) for notice in watch.news(after, look)]

    for subject in ("key", "pool", "upstream"):
        of_it = [(when, notice.event) for when, notice in news if notice.event.startswith(f"{subject}.")]
        falls = [when for when, event in of_it if event in FALLS]
        assert all(later - sooner >= AGAIN_SECONDS for sooner, later in pairwise(falls))
        if subject != "key":
            assert [event in FALLS for _, event in of_it] == [place % 2 == 0 for place in range(len(of_it))]

    def last(subject: str) -> Event | None:
        return next((notice.event for _, notice in reversed(news) if notice.event.startswith(subject)), None)

    if after["pool"].event is not Event.POOL_TRIED:
        assert (last("pool.") is Event.POOL_EMPTY) == (after["pool"].event is Event.POOL_EMPTY)
    assert (last("upstream.") is Event.UPSTREAM_DOWN) == ("upstream openai" in after)


@pytest.mark.parametrize(
    ("notice", "words"),
    [
        (
            Notice(Event.KEY_DEAD, "main", "auth"),
            "密钥 main：已失效。请在 posthouse.toml 中换上新密钥。每 24 小时会再检查一次。到状态页看原因。",
        ),
        (Notice(Event.KEY_EXHAUSTED, "main"), "密钥 main：额度用尽。请为账户充值，或等待额度恢复。到状态页看原因。"),
        (
            Notice(Event.KEY_BLOCKED_IP, "main"),
            "密钥 main：地址被拒。请在服务商的控制台放行本服务器的地址。到状态页看原因。",
        ),
        (Notice(Event.POOL_EMPTY), "现在没有一把密钥可用，问题都在等。到状态页看原因。"),
        (Notice(Event.POOL_USABLE), "又有密钥可用了，在等的问题会接着回答。"),
        (
            Notice(Event.UPSTREAM_DOWN, "openai", "incident"),
            "上游 openai 暂停使用。许多密钥同时被拒，上游先歇一会。请检查本服务器的出口地址。恢复了会再通知。",
        ),
        (Notice(Event.UPSTREAM_DOWN, "openai", "of next year"), "上游 openai 暂停使用。恢复了会再通知。"),
        (Notice(Event.UPSTREAM_UP, "openai"), "上游 openai 恢复了。"),
    ],
)
def test_a_sentence_says_what_happened_and_what_to_do(notice: Notice, words: str) -> None:
    assert sentence(notice, Texts()) == words


def test_an_operator_may_word_it_otherwise() -> None:
    assert sentence(Notice(Event.KEY_DEAD, "main"), Texts(overrides={"notice_key": "{key}!"})) == "main!"
