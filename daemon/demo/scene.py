"""
The demo's cast: three keys, and a model that thinks as long as it is asked to. Pure.

Rule 1: a question that names seconds ("8 秒", "20 s") is thought about for so many; any other for `think_seconds`.
Rule 2: one that says to write for so many ("写 30 秒", "write for 30 s") is answered at length, piece by piece, all that time.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from daemon.demo import story
from daemon.demo.dialects import Asked
from daemon.demo.refusals import Limited, Revoked
from daemon.demo.steps import Answer, Step

MODEL = "scripted-1"
PAINTER = "scripted-painter-1"
PERSONAS = {"诗人": "你是一位唐代的边塞诗人，用诗一样的话回答。", "驿丞": "你是敦煌驿的驿丞，说话客气而周到。"}
MENU_KEY = "today"
MENU = {MENU_KEY: "用 1 秒想想：今天有什么信要送？"}
RETRY_AFTER = "25"  # seconds: long enough to watch the countdown, short enough to see the key come back
LONGEST_SECONDS = 60.0
OPENING_SECONDS = 1.0  # before a long answer's first words
PIECES = 40
CHUNK_SECONDS = 0.01
# A name on the page, the secret that goes with it, and its organization.
KEYS = {
    "limited": ("sk-demo-limited", "org-demo-one"),
    "well": ("sk-demo-well", "org-demo-two"),
    "old": ("sk-demo-old-one", "org-demo-three"),  # revoked, as the first request that it carries finds out
}
NAMES = {secret: name for name, (secret, _) in KEYS.items()}

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)\s*(?:秒|s\b|seconds?\b)", re.IGNORECASE)
_WRITING = re.compile(r"(?:写|\bwrite\s+for)\s*(?=\d)", re.IGNORECASE)
_HAN = re.compile(r"[\u4e00-\u9fff]")


def script(think_seconds: float) -> dict[str, list[Step]]:
    """The limited key is over its limit twice, answers once, and so on: whatever a visitor tries first, a 429 is met."""
    answer = Answer(text=_text, think_seconds=_thinking(think_seconds), pieces=PIECES, chunk_seconds=_writing)
    turns: list[Step] = [Limited(RETRY_AFTER), Limited(RETRY_AFTER), answer] * 300
    steps: dict[str, list[Step]] = {"limited": turns, "well": [answer], "old": [Revoked()]}
    return {secret: steps[name] for name, (secret, _) in KEYS.items()}


def organizations() -> dict[str, str]:
    return dict(KEYS.values())


def seconds_named(question: str) -> float | None:
    named = _SECONDS.search(question)
    return None if named is None else min(LONGEST_SECONDS, float(named[1]))


def seconds_of_writing(question: str) -> float | None:
    """None where no long answer is asked for."""
    says = _WRITING.search(question)
    return None if says is None else seconds_named(question[says.end() :])


def _thinking(default: float) -> Callable[[Asked], float]:
    def seconds(asked: Asked) -> float:
        if seconds_of_writing(asked.question) is not None:
            return OPENING_SECONDS
        named = seconds_named(asked.question)
        return default if named is None else named

    return seconds


def _writing(asked: Asked) -> float:
    """Between two pieces."""
    seconds = seconds_of_writing(asked.question)
    return CHUNK_SECONDS if seconds is None else seconds / PIECES


def _text(asked: Asked) -> str:
    question, earlier = asked.question, max(0, (asked.messages - 1) // 2)
    is_chinese = _HAN.search(question) is not None
    if asked.pictures:
        return (
            f"照片收到了，有 {asked.picture_bytes:,} 字节。我是照剧本回答的模型，看不见里面有什么；"
            "换成真的模型，这里就是它看到的东西。"
        )
    if seconds_of_writing(question) is not None:
        return story.ZH if is_chinese else story.EN
    if is_chinese:
        return (
            f"你问的是「{question}」。我是照剧本回答的模型，没有联网，也不花钱。\n"
            "驿站的意思：骑手到站换马，信件留站待取。密钥就是马，回答就是信。\n"
            f"随这个问题一起给我的，还有之前的 {earlier} 轮对话。"
        )
    return (
        f"You asked: “{question}”. I am a scripted model: no network, no cost.\n"
        "In a posthouse the rider changes horses and letters wait to be collected. Keys are the horses, answers the letters.\n"
        f"Earlier rounds that came along with this question: {earlier}."
    )
