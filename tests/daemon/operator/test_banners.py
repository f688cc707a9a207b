from __future__ import annotations

from collections.abc import Sequence

import pytest

from bot.wechat.view import AccountView, Attempt
from daemon.operator.banners import FORGED_PUSHES, UPSTREAM_TROUBLES, Banner, banners
from daemon.operator.seen import Seen
from daemon.operator.words import WORDS, Language
from daemon.verification import Misdirected
from proxy.health import CellView, KeyView
from tests.daemon.operator.house import a_key, an_account
from tests.daemon.operator.scenes import everything_failing

NOW = 10_000.0


def told(seen: Seen, *, language: Language = "en", database_answers: bool = True) -> tuple[Banner, ...]:
    return banners(seen, database_answers=database_answers, now=NOW, language=language, words=WORDS[language])


def of_keys(*keys: KeyView) -> list[str]:
    return [banner.code for banner in told(Seen(keys=keys))]


def of_account(*attempts: Attempt, answered: int = 0, **seen: object) -> list[tuple[str, str]]:
    account = an_account(*attempts, answered=answered)
    found = told(Seen(keys=[a_key()], accounts=[account], listen=["0.0.0.0:80"], **seen))  # type: ignore[arg-type]
    return [(banner.code, banner.tone) for banner in found]


def resting(rule: str, *, scope: str = "upstream", upstream: str = "openai", state: str = "cooling") -> KeyView:
    cell = CellView(scope, "", 22.0, rule, "")
    return a_key(name=rule, upstream=upstream, state=state, seconds_left=22.0, cells=(cell,))


def test_where_all_is_well_nothing_is_said() -> None:
    verified = Attempt(NOW - 60, "verification", "accepted")
    account = an_account(verified, answered=3)
    seen = Seen(keys=[a_key(), a_key(name="b")], accounts=[account], front_buffers=False)
    assert told(seen) == ()
    assert told(Seen()) == ()


def test_a_silent_database_comes_before_all() -> None:
    [banner] = told(Seen(keys=[a_key()]), database_answers=False)
    assert (banner.code, banner.tone, banner.what) == ("database", "ill", "The database does not answer.")


@pytest.mark.parametrize(
    ("keys", "codes"),
    [
        ((), []),
        ((a_key(), a_key(state="dead")), []),
        ((a_key(state="disabled"),), ["none_enabled"]),
        ((a_key(state="dead"), a_key(state="disabled")), ["none_left"]),
        ((a_key(state="cooling", seconds_left=9.0), a_key(state="dead")), ["none_ready"]),
        ((a_key(state="suspect"), a_key(state="dead")), ["none_ready"]),
        ((a_key(state="blocked_ip", seconds_left=9.0),), ["none_left"]),
        ((a_key(state="exhausted", seconds_left=9.0), a_key(state="cooling", seconds_left=99.0)), ["none_ready"]),
    ],
)
def test_an_empty_pool_says_whether_it_fills_by_itself(keys: Sequence[KeyView], codes: list[str]) -> None:
    assert of_keys(*keys) == codes


def test_the_first_key_to_come_back_is_counted_down_to() -> None:
    keys = [a_key(state="cooling", seconds_left=seconds) for seconds in (90.0, 33.2)]
    others = [a_key(state="disabled", seconds_left=1.0), a_key(state="exhausted", seconds_left=2.0)]
    [banner] = told(Seen(keys=[*keys, *others]))
    assert banner.countdown is not None
    assert (banner.until, banner.countdown.text) == ("first back in", "0:34")


def test_keys_that_need_a_hand_are_tried_again_all_the_same() -> None:
    [banner] = told(Seen(keys=[a_key(state="exhausted", seconds_left=600.0), a_key(state="dead")]))
    assert banner.countdown is not None
    assert (banner.code, banner.until, banner.countdown.text) == ("none_left", "tried again in", "10:00")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("rule", UPSTREAM_TROUBLES)
def test_an_upstream_that_rests_is_named_once_and_explains_the_empty_pool(rule: str, language: Language) -> None:
    [banner] = told(Seen(keys=[resting(rule), resting(rule)]), language=language)
    assert (banner.code, banner.about) == (rule, ("openai",))
    assert "openai" in banner.what
    assert banner.countdown is not None
    assert banner.countdown.text == "0:22"


def test_an_upstream_that_rests_does_not_explain_keys_of_another() -> None:
    assert of_keys(resting("region"), a_key(state="cooling", upstream="azure", seconds_left=3.0)) == [
        "region",
        "none_ready",
    ]


def test_a_key_that_rests_alone_is_no_news_of_its_upstream() -> None:
    assert of_keys(resting("rate", scope="key"), a_key()) == []
    assert of_keys(resting("rate"), a_key()) == []


def test_a_proxy_in_front_that_holds_back_is_said_with_what_to_set() -> None:
    [banner] = told(Seen(keys=[a_key()], front_buffers=True))
    assert banner.code == "front_buffers"
    assert "proxy_buffering off" in banner.to_do


def test_keys_of_one_organization_are_named_calmly() -> None:
    keys = [a_key(name=name, organization="org-1") for name in "abcd"]
    [banner] = told(Seen(keys=[*keys, a_key(name="e", organization="org-2")]))
    assert (banner.tone, banner.about) == ("off", ("org-1",))
    assert banner.what == "Keys of one organization share its limits: org-1 (a, b, c, …)."


def test_only_some_organizations_are_named() -> None:
    keys = [a_key(name=f"k{number}", organization=f"org-{number % 5}") for number in range(10)]
    [banner] = told(Seen(keys=keys))
    assert banner.what.endswith("org-2 (k2, k7) · and 2 more.")
    assert len(banner.about) == 5


@pytest.mark.parametrize(
    ("outcome", "answered", "expected"),
    [
        ("signature", 0, [("verification", "ill")]),
        ("timestamp", 0, [("verification", "ill")]),
        ("undecipherable", 3, [("verification", "resting")]),  # others get through
        ("missing_parameter", 0, []),  # a browser, or a scanner; it is told at the account
    ],
)
def test_what_keeps_wechat_out_is_said_with_its_first_cause(
    outcome: str, answered: int, expected: list[tuple[str, str]]
) -> None:
    assert of_account(Attempt(NOW - 5, "push", outcome), answered=answered) == expected


def test_what_can_only_be_supposed_is_no_banner() -> None:
    assert of_account() == []
    assert of_account(public_url="https://post.example.org:8443") == []


def test_the_words_that_the_console_uses_are_found_on_the_page() -> None:
    account = an_account(Attempt(NOW - 5, "verification", "signature"))
    [banner] = told(Seen(keys=[a_key()], accounts=[account], listen=["0.0.0.0:80"]), language="zh")
    assert banner.what.startswith("“Token 验证失败”（gh_1）：")
    assert (banner.about, "Token" in banner.to_do) == (("gh_1",), True)


def test_a_request_to_nobodys_path_is_said_once_however_many_accounts_wait_for_one() -> None:
    accounts = [an_account(), an_account(Attempt(NOW - 9, "push", "app_id"))]
    seen = Seen(keys=[a_key()], accounts=[*accounts, accounts[0]], misdirected=[Misdirected(NOW - 5, "/WeChat", "GET")])
    assert [banner.what for banner in told(seen)] == [
        "“Token 验证失败” (gh_1): A signed request came to /WeChat, which is no account's path.",
        "gh_1: A push opened and names another AppID than `app_id`.",
    ]


def test_a_push_without_an_account_is_said() -> None:
    [banner] = told(Seen(keys=[a_key()], misdirected=[Misdirected(NOW - 5, "/wechat", "GET")]))
    assert banner.code == "verification"
    assert "[[bot.accounts]]" in banner.to_do


@pytest.mark.parametrize(
    ("count", "age", "answered", "is_said"),
    [(FORGED_PUSHES, 5.0, 1, True), (FORGED_PUSHES - 1, 5.0, 1, False), (FORGED_PUSHES, 601.0, 1, False)],
)
def test_forged_pushes_are_many_and_lately_and_beside_real_ones(
    count: int, age: float, answered: int, is_said: bool
) -> None:
    attempts = [Attempt(NOW - age, "push", "signature")] * count
    assert of_account(*attempts, answered=answered) == [("forged", "resting")] * is_said


def test_a_wrong_token_is_not_taken_for_forgery() -> None:
    assert of_account(*[Attempt(NOW - 5, "push", "signature")] * 20) == [("verification", "ill")]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_needs_a_hand_comes_first(language: Language) -> None:
    found = told(everything_failing().seen, language=language, database_answers=False)
    assert [banner.tone for banner in found] == ["ill"] * 3 + ["resting"] * 3 + ["off"]
    assert all(banner.what and banner.to_do for banner in found)
    assert not any("{" in banner.what + banner.to_do for banner in found)


def test_every_saying_is_one_that_something_leads_to() -> None:
    reached = {banner.code for banner in told(everything_failing().seen, database_answers=False)}
    reached |= {"none_left", "none_enabled", "none_ready", "region"}
    assert reached - {"forged"} | {"forged"} == set(WORDS["en"].banners.sayings)


def test_the_longest_names_and_a_clock_that_went_back_are_no_trouble() -> None:
    account = AccountView(
        "g" * 64, "/{path}", (Attempt(NOW + 99, "push", "signature"),) * 20, an_account(answered=1).counts
    )
    seen = Seen(keys=[a_key(name="{0}", organization="{organization}")] * 2, accounts=[account])
    found = told(seen)
    assert [banner.code for banner in found] == ["forged", "organization"]
    assert "/{path}" in found[0].what
