"""
Every sentence the bot says, by name, in Chinese and in English; an operator may word each of them anew. Pure.

Rule 1: a sentence knows which facts it may name (`{link}`, `{seconds}` …); what is wrong with an operator's wording is found
        when it is read, never while a subscriber waits.
Rule 2: `{link}` is an address; the wording around it makes the anchor, so that the tappable words are the operator's too.
Rule 3: the words a subscriber types (继续, 清空 …) are texts like the others, so that what is said and what is understood
        cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from string import Formatter
from typing import Literal

Language = Literal["zh", "en"]

MAX_BYTES = 1800  # of a wording; with its facts (a link is about 90 bytes) it stays inside one page of 2,040

# What stands for itself: the words a subscriber may type.
COMMANDS = ("word_more", "word_clear", "word_help", "word_id")

FACTS: Mapping[str, frozenset[str]] = {
    name: frozenset(facts.split())
    for name, facts in {
        "welcome": "help",
        "help": "more clear help my_id",
        "thinking": "seconds link",
        "queued": "ahead link",
        "too_many": "waiting link",
        "resting": "minutes link",
        "failed_resting": "minutes link",
        "failed_exhausted": "link",
        "failed_refused": "link",
        "failed_unreachable": "link",
        "failed_timeout": "link",
        "failed_truncated": "link",
        "failed_empty": "link",
        "failed_interrupted": "link",
        "failed_crashed": "link",
        "more_pages": "link",
        "more_waiting": "count link",
        "nothing_waiting": "",
        "cleared": "",
        "your_id": "openid",
        "voice": "",
        "image": "",
        "location": "",
        "link": "",
        "video": "",
        "other": "",
        "not_kept": "",
        "echo": "question",
        **dict.fromkeys(COMMANDS, ""),
    }.items()
}

_ZH: Mapping[str, str] = {
    "welcome": (
        "你好！直接发文字就可以向 AI 提问。回答要想一会儿时，我会先给你一个链接，点它就能取到。"
        "发送「{help}」看看还能做什么。"
    ),
    "help": (
        "直接发文字就是提问，前面聊过的我会记得。\n"
        "「{more}」取还没看到的回答\n"
        "「{clear}」忘掉前面聊过的，重新开始\n"
        "「{my_id}」看你在这个公众号里的 ID\n"
        "「{help}」再看一遍这段话"
    ),
    "thinking": '还在想，已经 {seconds} 秒了。<a href="{link}">点这里取回答</a>',
    "queued": '收到，前面还有 {ahead} 个问题，按顺序回答。<a href="{link}">点这里取这一个的回答</a>',
    "too_many": '已有 {waiting} 个问题在排队，这一个没有收下。等前面的答完再发给我吧。<a href="{link}">取最早的回答</a>',
    "resting": '问的人太多，大约 {minutes} 分钟后接着回答，问题已经记下，不用再发。<a href="{link}">到时点这里取回答</a>',
    "failed_resting": '问的人太多，大约 {minutes} 分钟后才能回答。<a href="{link}">到时点这里再问一次</a>',
    "failed_exhausted": '现在没有可用的模型，要等管理员处理。<a href="{link}">晚些时候点这里再问一次</a>',
    "failed_refused": '模型不接受这个问题，可能太长，或者内容不合适。换个说法再发，或者<a href="{link}">点这里原样再问一次</a>',
    "failed_unreachable": '连不上模型。<a href="{link}">点这里再问一次</a>',
    "failed_timeout": '模型想得太久，没有答出来。<a href="{link}">点这里再问一次</a>，或者把问题拆小一些。',
    "failed_truncated": '回答在路上断了，不完整，所以没有给你。<a href="{link}">点这里再问一次</a>',
    "failed_empty": '模型什么也没说就到了长度上限。问得短一些，或者<a href="{link}">点这里再问一次</a>',
    "failed_interrupted": '想这个问题的时候服务重启了两次。<a href="{link}">点这里再问一次</a>',
    "failed_crashed": '我这边出错了，已经记进日志。<a href="{link}">点这里再问一次</a>',
    "more_pages": '<a href="{link}">未完，点这里看下一页</a>',
    "more_waiting": '<a href="{link}">还有 {count} 条回答，点这里看</a>',
    "nothing_waiting": "没有等着你看的回答。直接发文字就可以提问。",
    "cleared": "好的，前面聊过的都忘了。重新开始吧。",
    "your_id": "{openid}",
    "voice": "这条语音没有带来文字，我听不懂。请发文字给我。",
    "image": "我还看不懂图片。请用文字告诉我。",
    "location": "我还用不上位置。请用文字告诉我。",
    "link": "我打不开链接。请把想问的内容用文字发给我。",
    "video": "我还看不懂视频。请用文字告诉我。",
    "other": "我还看不懂这种消息。请发文字给我。",
    "not_kept": "刚才没能记下这条消息，所以没有处理。请过一会儿再发一次。",
    "echo": "问：{question}",
    "word_more": "继续",
    "word_clear": "清空",
    "word_help": "帮助",
    "word_id": "获取id",
}

_EN: Mapping[str, str] = {
    "welcome": (
        "Hello! Send me text and an AI answers. When it takes a while you get a link: tap it to collect the answer. "
        "Send “{help}” to see what else there is."
    ),
    "help": (
        "Any text is a question; I remember what we said before.\n"
        "“{more}”: collect an answer you have not seen\n"
        "“{clear}”: forget what we said and start afresh\n"
        "“{my_id}”: your ID with this account\n"
        "“{help}”: this text again"
    ),
    "thinking": 'Still thinking, {seconds} s so far. <a href="{link}">Tap here for the answer</a>',
    "queued": 'Noted; {ahead} before it, answered in order. <a href="{link}">Tap here for the answer to this one</a>',
    "too_many": (
        "{waiting} questions wait already, so this one was not taken. Please send it again when they are answered. "
        '<a href="{link}">Collect the oldest answer</a>'
    ),
    "resting": (
        "Too many are asking. I go on in about {minutes} min; your question is kept, no need to send it again. "
        '<a href="{link}">Tap here for the answer then</a>'
    ),
    "failed_resting": (
        'Too many are asking; I cannot answer for about {minutes} min. <a href="{link}">Tap here then to ask again</a>'
    ),
    "failed_exhausted": (
        'No model is available until the operator has seen to it. <a href="{link}">Tap here later to ask again</a>'
    ),
    "failed_refused": (
        "The model refused this question: too long, perhaps, or its content. Please word it differently, or "
        '<a href="{link}">tap here to ask it again as it is</a>'
    ),
    "failed_unreachable": 'The model cannot be reached. <a href="{link}">Tap here to ask again</a>',
    "failed_timeout": (
        'The model took too long. <a href="{link}">Tap here to ask again</a>, or ask for less at a time.'
    ),
    "failed_truncated": 'The answer was cut off on its way. <a href="{link}">Tap here to ask again</a>',
    "failed_empty": (
        "The model reached its limit without saying anything. Please ask more briefly, or "
        '<a href="{link}">tap here to ask again</a>'
    ),
    "failed_interrupted": 'We were restarted twice while thinking. <a href="{link}">Tap here to ask again</a>',
    "failed_crashed": 'Something broke on our side; the log has it. <a href="{link}">Tap here to ask again</a>',
    "more_pages": '<a href="{link}">More: tap here for the next page</a>',
    "more_waiting": '<a href="{link}">Answers still waiting: {count}. Tap here</a>',
    "nothing_waiting": "No answer is waiting for you. Send me text to ask.",
    "cleared": "Done, forgotten. Let us start afresh.",
    "your_id": "{openid}",
    "voice": "That voice message came without text, so I cannot tell what you said. Please type it.",
    "image": "I cannot look at pictures yet. Please tell me in text.",
    "location": "I have no use for a location yet. Please tell me in text.",
    "link": "I cannot open links. Please send me the text you want to ask about.",
    "video": "I cannot watch videos yet. Please tell me in text.",
    "other": "I cannot read this kind of message yet. Please send text.",
    "not_kept": "Your message could not be recorded, so nothing was done with it. Please send it again in a while.",
    "echo": "Q: {question}",
    "word_more": "continue",
    "word_clear": "clear",
    "word_help": "help",
    "word_id": "my id",
}

LANGUAGES: Mapping[Language, Mapping[str, str]] = {"zh": _ZH, "en": _EN}


class BadTexts(ValueError):
    """What is wrong with the operator's wordings: (name, sentence) of each, all at once."""

    def __init__(self, problems: tuple[tuple[str, str], ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(f"{name}: {sentence}" for name, sentence in self.problems)


class Texts:
    def __init__(self, language: Language = "zh", overrides: Mapping[str, str] | None = None) -> None:
        """Raises BadTexts, naming every override that cannot be said."""
        overrides = overrides or {}
        problems = [(name, fault) for name, text in overrides.items() if (fault := _fault(name, text))]
        if problems:
            raise BadTexts(tuple(problems))
        self._texts = {**LANGUAGES[language], **overrides}

    def say(self, name: str, **facts: object) -> str:
        return self._texts[name].format_map(facts)


def _fault(name: str, text: str) -> str | None:
    """What is wrong with wording the text `name` as `text`; None when it can be said."""
    if name not in FACTS:
        nearest = get_close_matches(name, FACTS, n=1)
        return "no such text" + (f'; did you mean "{nearest[0]}"?' if nearest else "")
    if not text.strip():
        return "expected some words, got none"
    if name in COMMANDS and set(text) & set('"&<>#{}'):
        return 'expected a word without any of " & < > # { }: it stands in a link'
    if (size := len(text.encode())) > MAX_BYTES:
        return f"expected at most {MAX_BYTES} bytes, got {size}"
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        return "expected every { to have its } (write {{ and }} for the characters themselves)"
    for _, fact, form, conversion in parts:
        # Only bare names: "{link.x}" would reach into our objects, "{seconds:99999}" would make a page of spaces.
        if fact is not None and (fact not in FACTS[name] or form or conversion):
            known = ", ".join(f"{{{known}}}" for known in sorted(FACTS[name])) or "none"
            return f"cannot fill in {{{fact}}}; known here: {known}"
    return None
