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
from string import Formatter
from typing import Literal

from bot.texts_en import EN
from bot.texts_zh import ZH

Language = Literal["zh", "en"]

MAX_BYTES = 1800  # of a wording; with its facts (a link is about 90 bytes) it stays inside one page of 2,040

# What stands for itself: the words a subscriber may type.
COMMANDS = (
    "word_more",
    "word_clear",
    "word_help",
    "word_id",
    "word_status",
    "word_persona",
    "word_default",
    "word_disable",
    "word_enable",
    "word_block",
    "word_unblock",
    "word_notices",
)

FACTS: Mapping[str, frozenset[str]] = {
    name: frozenset(facts.split())
    for name, facts in {
        "welcome": "help",
        "help": "more clear help my_id status extras",
        "help_drawing": "draw",
        "help_personas": "role",
        "thinking": "seconds link",
        "drawing": "seconds link",
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
        "failed_filtered": "link",
        "failed_blind": "link",
        "failed_photo": "link",
        "failed_drawing": "link",
        "failed_interrupted": "link",
        "failed_crashed": "link",
        "more_pages": "link",
        "part_more": "link",
        "ended": "",
        "picture": "url hours",
        "more_waiting": "count link",
        "nothing_waiting": "",
        "cleared": "",
        "your_id": "openid",
        "status": "waiting ready persona asked",
        "no_persona": "",
        "personas": "names role default",
        "persona_chosen": "persona",
        "persona_default": "",
        "draw_what": "draw",
        "photo_question": "",
        "too_fast": "limit",
        "no_questions_left": "limit",
        "no_drawings_left": "limit",
        "not_admitted": "openid",
        "forbidden_words": "",
        "admin_status": "keys usable pending",
        "admin_key": "key state",
        "admin_no_key": "key keys",
        "admin_blocked": "openid",
        "admin_unblocked": "openid",
        "admin_no_openid": "",
        "admin_notices_on": "",
        "admin_notices_off": "",
        "admin_notices_impossible": "",
        "notice_key": "key state advice",
        "notice_no_key": "",
        "notice_key_again": "",
        "notice_upstream_down": "upstream reason",
        "notice_upstream_up": "upstream",
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

LANGUAGES: Mapping[Language, Mapping[str, str]] = {"zh": ZH, "en": EN}


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
        from difflib import get_close_matches  # for who is told of a mistake

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
