"""What the operator's words find in a text, and what they do not."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import words
from bot.words import WordFilter


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("敏感词", "有敏感词。"),
        ("敏感词", "敏 感.词"),
        ("敏感词", "敏\n感——词"),
        ("敏感词", "敏_感__词"),
        ("敏感词", "敏😀感**词"),
        ("敏感词", "敏\u200b感\ufeff词"),
        ("敏 感", "敏感"),
        ("敏·感", "敏感"),
        ("A片", "看ａ 片"),
        ("卖QQ号", "卖 qq 号"),
        ("卖QQ号", "卖q.q-号"),
        ("K粉", "buy some K 粉"),
        ("K粉", "买k粉丝"),
        ("一夜Q", "一 夜Q 你好"),
        ("カタカナ", "ｶﾀｶﾅ"),
        ("ががが", "か\u3099か\u3099が"),
        ("한국", "대 한-국"),
        ("ass", "You ASS!"),
        ("ass", "ass"),
        ("ass", "你ass人"),
        ("ass", "ａｓｓ"),
        ("ass", "a\u00ads\u200ds"),
        ("ass", "an_ass_"),
        ("AK47", "ak47,"),
        ("6.4", "于6.4日"),
        ("kill you", "I'll kill \t\n you."),
        ("kill\tyou", "kill\u3000you"),
        ("f*ck", "F*CK that"),
        ("c++", "c++11"),
        ("straße", "STRASSE"),
        ("café", "CAFE\u0301"),
        ("ВОДКА", "водка,"),
        ("!!!", "oh!!!!"),
        ("ﬁn", "fin"),
    ],
)
def test_a_word_is_found_however_it_is_dressed_up(word: str, text: str) -> None:
    assert WordFilter([word]).finds(text)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("敏感词", "敏感的词"),
        ("敏感词", ""),
        ("K粉", "OK粉丝"),
        ("A片", "media 片段"),
        ("一夜Q", "一夜QQ"),
        ("卖QQ号", "卖QQ1号"),
        ("ass", "class"),
        ("ass", "assess"),
        ("ass", "a s s"),
        ("ass", "a.s.s"),
        ("ass", "asś"),
        ("ass", "as5"),
        ("ass", "ass5"),
        ("6.4", "16.4"),
        ("6.4", "6.40"),
        ("kill you", "killyou"),
        ("kill you", "skill you"),
        ("kill you", "kill, you"),
        ("kill you", "kill your"),
        ("c++", "abc++"),
        ("водка", "водкаа"),
    ],
)
def test_what_only_looks_like_a_word_is_not_found(word: str, text: str) -> None:
    assert not WordFilter([word]).finds(text)


@pytest.mark.parametrize("nothing", [[], [""], ["  ", "\u200b", "\x00\ufeff"]])
def test_an_empty_filter_finds_nothing(nothing: list[str]) -> None:
    empty = WordFilter(nothing)
    assert len(empty) == 0
    assert not empty.finds("敏感词 ass \0")


def test_the_words_are_counted_once_and_never_shown() -> None:
    some = WordFilter(["敏感词", "敏感词", "ASS", "ass"])
    assert len(some) == 2
    assert repr(some) == "<WordFilter 2 words>"


LETTER = "[a-zà-öø-ÿ0-9]"


def naively(word: str, text: str) -> bool:
    """By looking for one word at a time, without an automaton or a mark in the text."""
    word, text = words._plain(word), words._plain(text)
    is_chinese = re.search("[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3]", word)
    runs = re.findall(f"{LETTER}+|[^\\W_]", word)
    word = bare(word) if is_chinese else " ".join(word.split())
    before = f"(?<!{LETTER})" if re.match(LETTER, word) else ""
    after = f"(?!{LETTER})" if re.search(f"{LETTER}$", word) else ""

    def occurs(pattern: str, text: str) -> bool:
        return bool(pattern) and re.search(before + pattern + after, text) is not None

    if not is_chinese:
        return occurs(r"\s+".join(map(re.escape, word.split())), text)
    spread = re.sub(f"(?<=.)(?=.)(?!(?<={LETTER}){LETTER})", r"[\\W_]*", word)
    as_written = "".join(
        run + (f"[\\W_]{'+' if re.match(LETTER, run) and re.match(LETTER, following) else '*'}" if following else "")
        for run, following in zip(runs, [*runs[1:], ""], strict=True)
    )
    return occurs(spread, text) or occurs(as_written, text) or occurs(word, bare(text))


def bare(text: str) -> str:
    return "".join(filter(str.isalnum, text))


ALPHABET = "aAbé1 \n.*_敏感が가，\u200b\u0301\x00"
SHORT = st.text(ALPHABET, max_size=4)


@given(st.lists(SHORT, max_size=5), st.text(ALPHABET, max_size=30))
def test_a_filter_finds_exactly_what_a_naive_search_finds(listed: list[str], text: str) -> None:
    assert WordFilter(listed).finds(text) == any(naively(word, text) for word in listed)


@given(st.lists(SHORT, max_size=3), st.text())
def test_no_text_makes_it_stumble(listed: list[str], text: str) -> None:
    WordFilter([*listed, "\ud800", text]).finds(f"{text}\udfff")


@given(st.text(ALPHABET, max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_a_word_between_spaces_is_found_in_any_text(word: str, before: str, after: str) -> None:
    some = WordFilter([word])
    assert some.finds(f"{before} {word} {after}") == (len(some) > 0)


HOSTILE = [
    "a",
    "敏",
    "，",
    "\u0301\u0316",
    "a\u0301\u0316",
    "\u1100\u1161",
    "\ufdfa",
    "\u200b",
    " ",
    "\0",
    "a ",
    "敏感",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_takes_no_longer_than_its_length_allows(piece: str) -> None:
    """Eight times the text may take eight times as long; what is quadratic would take 64 times, on any machine."""
    nested = WordFilter([f"{begun * length}x" for begun in ("a", "敏", "敏感", "a ") for length in range(1, 99)])

    def seconds(characters: int) -> float:
        started = time.process_time()
        assert not nested.finds(piece * (characters // len(piece)))
        return time.process_time() - started

    assert seconds(80_000) < 0.5 + 24 * seconds(10_000)


def test_nobody_without_a_list_pays_for_the_search() -> None:
    code = "import sys; from bot.words import WordFilter; WordFilter(()).finds('a'); sys.exit('ahocorasick' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_long_list_is_ready_soon_and_searched_whole() -> None:
    draw = random.Random(1)
    listed = ["".join(chr(draw.randint(0x4E00, 0x9FFF)) for _ in range(4)) for _ in range(60_000)]
    assert sum(len(word.encode()) for word in listed) > words.MOST_BYTES
    started = time.process_time()
    many = WordFilter(listed)
    assert time.process_time() - started < 8
    assert all(many.finds(f"前{word}后") for word in listed[::10])
