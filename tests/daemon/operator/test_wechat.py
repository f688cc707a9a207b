from __future__ import annotations

import json
from dataclasses import replace

import pytest

from bot.wechat.view import Attempt, ServiceView, Standing
from daemon.operator.wechat import ATTEMPTS_SHOWN, account_card, accounts_json
from daemon.operator.words import WORDS, Language
from tests.daemon.operator.house import an_account

NOW = 1_000.0


def test_the_last_attempts_are_shown_newest_first() -> None:
    attempts = [Attempt(float(at), "push", "signature") for at in range(ATTEMPTS_SHOWN + 3)]
    rows = account_card(an_account(*attempts), NOW, WORDS["en"]).attempts
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
    [row] = account_card(an_account(attempt), NOW, WORDS[language]).attempts
    assert (row.age, row.kind, row.outcome, row.tone) == said


def test_where_pushes_arrive_nothing_is_to_be_entered_in_the_console() -> None:
    assert account_card(an_account(answered=1), NOW, WORDS["en"]).no_attempts_advice == ""
    assert "/wechat" in account_card(an_account(), NOW, WORDS["en"]).no_attempts_advice


def test_the_json_has_names_and_numbers_instead_of_sentences() -> None:
    card = account_card(an_account(Attempt(940.0, "push", "signature"), answered=3, unanswered=1), NOW, WORDS["zh"])
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
        "attempts": [{"age_seconds": 60, "kind": "push", "outcome": "signature"}],
    }


@pytest.mark.parametrize("standing", Standing)
def test_an_account_with_customer_service_says_whether_it_may_send_and_what_is_wrong(standing: Standing) -> None:
    view = replace(an_account(), service=ServiceView(standing, 7, 2, "Add the address."))

    cards = [account_card(view, NOW, WORDS[language]) for language in ("zh", "en")]

    assert cards[0].service.startswith("客服消息：")
    assert cards[1].service.startswith("Customer-service messages: ")
    [account] = json.loads(json.dumps(accounts_json(cards[:1])))
    assert account["customer_service"] == {
        "standing": standing,
        "brought": 7,
        "kept": 2,
        "trouble": "Add the address.",
    }
