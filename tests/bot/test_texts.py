"""The sentences the bot says, and what an operator may make of them."""

from __future__ import annotations

from string import Formatter

import pytest

from bot.exchange import Reason
from bot.texts import FACTS, LANGUAGES, MAX_BYTES, BadTexts, Texts


def facts_in(text: str) -> set[str]:
    return {fact for _, fact, _, _ in Formatter().parse(text) if fact is not None}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_there_in_every_language_and_names_only_its_facts(language):
    texts = LANGUAGES[language]
    assert texts.keys() == FACTS.keys()
    for name, text in texts.items():
        assert facts_in(text) == FACTS[name], name


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_shipped_texts_pass_the_check_that_an_operators_texts_must_pass(language):
    assert Texts("zh", LANGUAGES[language]).say("nothing_waiting") == LANGUAGES[language]["nothing_waiting"]


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_a_failure_has_a_sentence_with_a_way_to_ask_again(reason):
    assert 'href="weixin://x"' in Texts().say(f"failed_{reason}", link="weixin://x", minutes=90)


def test_the_facts_are_filled_in():
    said = Texts().say("thinking", seconds=8, link="weixin://x")
    assert said == '还在想，已经 8 秒了。<a href="weixin://x">点这里取回答</a>'


def test_an_override_replaces_one_text_and_leaves_the_others():
    texts = Texts("en", {"cleared": "Gone."})
    assert texts.say("cleared") == "Gone."
    assert texts.say("nothing_waiting") == LANGUAGES["en"]["nothing_waiting"]


def test_braces_in_a_subscribers_words_are_only_words():
    assert Texts().say("echo", question="{link} {0}") == "问：{link} {0}"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("welcom", "Hi", 'no such text; did you mean "welcome"?'),
        ("zzz", "Hi", "no such text"),
        ("cleared", "  ", "expected some words, got none"),
        ("thinking", "{second} s", "cannot fill in {second}; known here: {link}, {seconds}"),
        ("thinking", "{} s", "cannot fill in {}; known here: {link}, {seconds}"),
        ("thinking", "{link.__class__}", "cannot fill in {link.__class__}; known here: {link}, {seconds}"),
        ("thinking", "{seconds:9999}", "cannot fill in {seconds}; known here: {link}, {seconds}"),
        ("thinking", "{seconds!r}", "cannot fill in {seconds}; known here: {link}, {seconds}"),
        ("cleared", "{link}", "cannot fill in {link}; known here: none"),
        ("cleared", "{", "expected every { to have its } (write {{ and }} for the characters themselves)"),
        ("word_more", "a&b", 'expected a word without any of " & < > # { }: it stands in a link'),
        ("help", "帮" * 601, f"expected at most {MAX_BYTES} bytes, got 1803"),
    ],
)
def test_a_wording_that_cannot_be_said_is_refused_with_what_was_expected(name, text, sentence):
    with pytest.raises(BadTexts) as refused:
        Texts("zh", {name: text})
    assert refused.value.problems == ((name, sentence),)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(BadTexts, match=r"welcom: no such text.*; cleared: expected some words"):
        Texts("zh", {"welcom": "Hi", "cleared": ""})
