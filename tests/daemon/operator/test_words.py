from __future__ import annotations

import re
from dataclasses import fields

import pytest

from bot.wechat.gate import Why
from daemon.operator.banner_words import BannerWords
from daemon.operator.key_words import KeyWords
from daemon.operator.pending_words import PendingWords
from daemon.operator.traffic_words import TrafficWords
from daemon.operator.verification_words import Saying
from daemon.operator.wechat_words import WeChatWords
from daemon.operator.words import CHINESE, ENGLISH, Words, language
from proxy.verdict import BLAMELESS, Rule


@pytest.mark.parametrize(
    ("asked", "accepted", "spoken"),
    [
        ("zh", "en", "zh"),
        ("en", "zh-CN", "en"),
        ("fr", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("", "fr,zh;q=0.2,en;q=0.5", "en"),
        ("", "de, zh-TW;q=0.7", "zh"),
        ("", "zh;q=0, fr", "en"),
        ("", "zh;q=plenty", "en"),
        ("", "", "en"),
    ],
)
def test_the_language_is_the_one_asked_for_else_the_one_preferred(asked: str, accepted: str, spoken: str) -> None:
    assert language(asked, accepted) == spoken


@pytest.mark.parametrize("table", ["key_states", "key_advice", "key_until", "rules", "scopes", "question_states"])
def test_both_languages_have_the_same_rows_in_every_table(table: str) -> None:
    assert list(getattr(ENGLISH, table)) == list(getattr(CHINESE, table))


@pytest.mark.parametrize(
    ("kind", "english", "chinese"),
    [
        (Words, ENGLISH, CHINESE),
        (KeyWords, ENGLISH.key, CHINESE.key),
        (PendingWords, ENGLISH.pending, CHINESE.pending),
        (BannerWords, ENGLISH.banners, CHINESE.banners),
        (TrafficWords, ENGLISH.traffic, CHINESE.traffic),
        (WeChatWords, ENGLISH.wechat, CHINESE.wechat),
    ],
)
def test_no_sentence_was_left_untranslated(kind: type, english: object, chinese: object) -> None:
    same = {f.name for f in fields(kind) if getattr(english, f.name) == getattr(chinese, f.name)}
    assert same == set()


@pytest.mark.parametrize("table", ["operations", "events"])
def test_both_languages_name_the_same_buttons_and_events(table: str) -> None:
    assert list(getattr(ENGLISH.key, table)) == list(getattr(CHINESE.key, table))


def test_both_languages_have_the_same_banners_with_the_same_facts() -> None:
    def facts(saying: Saying) -> set[str]:
        return set(re.findall(r"{(\w+)}", saying.what + saying.to_do))

    english, chinese = ENGLISH.banners.sayings, CHINESE.banners.sayings
    assert list(english) == list(chinese)
    assert {code: facts(saying) for code, saying in english.items()} == {
        code: facts(saying) for code, saying in chinese.items()
    }


def test_every_rule_that_can_be_an_upstreams_last_failure_has_words() -> None:
    assert set(Rule) - BLAMELESS <= set(ENGLISH.rules)


@pytest.mark.parametrize("words", [ENGLISH.wechat, CHINESE.wechat])
def test_every_reason_for_a_refusal_has_plain_words(words: WeChatWords) -> None:
    assert set(words.outcomes) == {"accepted", "too_large", *map(str, Why)}
    assert set(words.kinds) == {"verification", "push"}
