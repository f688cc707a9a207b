from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bot.wechat.view import AccountView, Attempt, ServiceView, Standing
from daemon.operator.seen import Seen
from daemon.operator.wechat import ATTEMPTS_SHOWN, PATHS_SHOWN, AccountCard, account_card, accounts_json, path_rows
from daemon.operator.words import WORDS, Language
from daemon.verification import Misdirected
from tests.daemon.operator.house import an_account

NOW = 1_000.0


def a_card(account: AccountView, language: Language = "en", **seen: object) -> AccountCard:
    there = Seen(accounts=[account], **seen)  # type: ignore[arg-type]
    return account_card(account, there, NOW, language, WORDS[language])


def test_the_last_attempts_are_shown_newest_first() -> None:
    attempts = [Attempt(float(at), "push", "signature") for at in range(ATTEMPTS_SHOWN + 3)]
    rows = a_card(an_account(*attempts)).attempts
    assert [row.view.at for row in rows] == [7.0, 6.0, 5.0, 4.0, 3.0]


@pytest.mark.parametrize(
    ("language", "attempt", "said"),
    [
        ("en", Attempt(940.0, "verification", "accepted"), ("1 min ago", "Verification", "Accepted.", "well")),
        ("zh", Attempt(940.0, "verification", "accepted"), ("1 分钟前", "验证", "通过。", "well")),
        ("en", Attempt(1_005.0, "push", "app_id"), ("0 s ago", "Push", "Refused: it is for another AppID.", "ill")),
        ("zh", Attempt(995.0, "push", "app_id"), ("5 秒前", "推送", "拒绝：是发给另一个 AppID 的。", "ill")),
        ("en", Attempt(995.0, "push", "comet"), ("5 s ago", "Push", "comet", "ill")),
    ],
)
def test_an_attempt_says_when_what_and_what_became_of_it(
    language: Language, attempt: Attempt, said: tuple[str, ...]
) -> None:
    [row] = a_card(an_account(attempt), language).attempts
    assert (row.age, row.kind, row.outcome, row.tone) == said


@pytest.mark.parametrize("outcome", ["missing_parameter", "duplicate_parameter", "malformed", "too_large"])
def test_what_is_probably_not_wechat_is_no_alarm(outcome: str) -> None:
    assert a_card(an_account(Attempt(995.0, "push", outcome))).attempts[0].tone == "off"


def test_where_pushes_arrive_nothing_is_to_be_entered_in_the_console() -> None:
    verified = Attempt(900.0, "verification", "accepted")
    card = a_card(an_account(verified, answered=1))
    assert (card.no_attempts_advice, card.causes) == ("", ())


@pytest.mark.parametrize(
    ("language", "public_url", "url"),
    [
        ("en", "https://post.example.org", "https://post.example.org/wechat"),
        ("en", "", "http://YOUR-SERVER/wechat"),
        ("zh", "", "http://你的域名/wechat"),
    ],
)
def test_where_nobody_knocked_the_url_to_enter_is_told_and_what_may_be_in_the_way(
    language: Language, public_url: str, url: str
) -> None:
    card = a_card(an_account(), language, public_url=public_url, listen=["0.0.0.0:80"])
    assert url in card.no_attempts_advice
    assert [cause.code for cause in card.causes] == ["unreachable"]
    assert url in card.causes[0].to_do


def test_each_cause_of_a_failed_verification_is_told_with_what_to_do() -> None:
    refused = Attempt(990.0, "verification", "signature")
    card = a_card(an_account(refused), misdirected=[Misdirected(995.0, "/wechat/", "GET")])
    assert [cause.code for cause in card.causes] == ["path", "token"]
    assert "/wechat/" in card.causes[0].what
    assert all(cause.to_do for cause in card.causes)


@pytest.mark.parametrize(
    ("answered", "unanswered", "said"),
    [(0, 0, "answered within 5 s"), (9, 1, "answered within 5 s (90 %)"), (10, 0, "answered within 5 s (100 %)")],
)
def test_the_share_that_was_answered_in_time_is_told(answered: int, unanswered: int, said: str) -> None:
    assert a_card(an_account(answered=answered, unanswered=unanswered)).in_time == said


def test_of_paths_that_are_no_accounts_the_last_request_is_shown_once_each() -> None:
    knocks = [Misdirected(float(at), f"/{at % 3}", "GET") for at in range(20)] + [Misdirected(1_099.0, "/0", "POST")]
    assert [(row.view.path, row.view.method, row.age) for row in path_rows(knocks, NOW, WORDS["en"])] == [
        ("/0", "POST", "0 s ago"),
        ("/1", "GET", "16 min ago"),
        ("/2", "GET", "16 min ago"),
    ]


def test_only_some_paths_that_are_no_accounts_are_shown() -> None:
    knocks = [Misdirected(float(at), f"/{at}", "GET") for at in range(20)]
    assert [row.view.path for row in path_rows(knocks, NOW, WORDS["en"])] == ["/19", "/18", "/17", "/16", "/15"]
    assert PATHS_SHOWN == 5


def test_the_json_has_names_and_numbers_instead_of_sentences() -> None:
    card = a_card(an_account(Attempt(940.0, "push", "undecipherable"), answered=3, unanswered=1), "zh")
    [account] = json.loads(json.dumps(accounts_json([card])))
    assert account == {
        "account": "gh_1",
        "path": "/wechat",
        "deliveries": 4,
        "answered": 3,
        "unanswered": 1,
        "budget_left": 19,
        "budget": 20,
        "customer_service": None,
        "causes": ["aes_key"],
        "attempts": [{"age_seconds": 60, "kind": "push", "outcome": "undecipherable"}],
    }


@pytest.mark.parametrize("standing", Standing)
def test_an_account_with_customer_service_says_whether_it_may_send_and_what_is_wrong(standing: Standing) -> None:
    view = replace(an_account(), service=ServiceView(standing, 7, 2, "Add the address."))

    cards = [a_card(view, "zh"), a_card(view, "en")]

    assert cards[0].service.startswith("客服消息：")
    assert cards[1].service.startswith("Customer-service messages: ")
    [account] = json.loads(json.dumps(accounts_json(cards[:1])))
    assert account["customer_service"] == {
        "standing": standing,
        "brought": 7,
        "kept": 2,
        "trouble": "Add the address.",
    }
