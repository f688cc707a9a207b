"""
The words that are commands and not questions. Pure.

Rule 1: a command is a word alone, or a word, a space and what it is about; a text that merely begins with such a word is a
        question.
Rule 2: letters' case and the white space around do not matter.
Rule 3: what only administrators may say is a question when anybody else says it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

from bot.texts import Texts
from bot.value import value_type


class Command(StrEnum):
    """The value is the name of the text that is its word, without "word_"."""

    MORE = "more"
    CLEAR = "clear"
    HELP = "help"
    ID = "id"
    STATUS = "status"
    PERSONA = "persona"
    DISABLE = "disable"
    ENABLE = "enable"
    BLOCK = "block"
    UNBLOCK = "unblock"
    NOTICES = "notices"


ABOUT_SOMETHING = frozenset({Command.PERSONA, Command.DISABLE, Command.ENABLE, Command.BLOCK, Command.UNBLOCK})
ALONE = frozenset(Command) - (ABOUT_SOMETHING - {Command.PERSONA})
FOR_ADMINISTRATORS = frozenset({Command.DISABLE, Command.ENABLE, Command.BLOCK, Command.UNBLOCK, Command.NOTICES})


@value_type
class Said:
    """`about` is "" where the command stands alone."""

    command: Command
    about: str = ""


def command_in(text: str, texts: Texts, *, is_administrator: bool = False) -> Said | None:
    """The command that `text` is, None where it is none."""
    text = text.strip()
    for command, word in _words(texts):
        if (command in FOR_ADMINISTRATORS and not is_administrator) or (found := word.match(text)) is None:
            continue
        about = text[found.end() :].strip()
        if command in (ABOUT_SOMETHING if about else ALONE):
            return Said(command, about)
    return None


def drawing_in(text: str, word: str) -> str | None:
    """
    What is to be drawn, "" where that is not said, None where `text` does not ask for a picture. `word` is "" without them.
    """
    if not word:
        return None
    found = re.match(rf"{re.escape(word.strip())}(?:\s*[:：,，]\s*|\s+|$)", text.strip(), re.IGNORECASE)
    return None if found is None else text.strip()[found.end() :].strip()


@lru_cache(maxsize=64)
def _words(texts: Texts) -> tuple[tuple[Command, re.Pattern[str]], ...]:
    """What begins as each command does."""
    words = ((command, texts.say(f"word_{command}").strip()) for command in Command)
    return tuple((command, re.compile(rf"{re.escape(word)}(?:\s+|$)", re.IGNORECASE)) for command, word in words)
