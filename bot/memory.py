"""
What the model is told of the conversation so far. Pure.

Rule 1: the question comes last and whole, whatever was said before it; the newest exchanges are kept, the oldest are left out.
Rule 2: an exchange is told whole or not at all, and after the first that is left out no older one is told.
Rule 3: a pause longer than `idle_seconds`, from an answer to the next question, ends the conversation. The moments that
        count are `answered_at` of the one and `asked_at` of the other, so waiting for a key to come back is no pause.
Rule 4: a picture that was drawn stands as what was asked for. A photo goes along again with the question right after it,
        which is likely to be about it, and stands as its words later.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.ask import Message
from bot.exchange import Exchange, Kind, State
from bot.value import value_type

DRAWN = "（我画好了，图已经发给对方。）"  # what the model reads of a picture of its own

MESSAGE_TOKENS = 4  # what a message costs beside its words: its role and its separators


@value_type
class MemorySettings:
    """`max_tokens` bounds the remembered exchanges alone; the system prompt and the question come on top."""

    exchanges: int = 10
    max_tokens: int = 3000
    idle_seconds: float = 3600.0


def messages(
    recent: Sequence[Exchange], question: Exchange, *, system_prompt: str, settings: MemorySettings
) -> list[Message]:
    """The system prompt (none where it is empty), what fits of `recent` (oldest first), and the question."""
    told = [Message("system", system_prompt)] if system_prompt else []
    remembered = _remembered(recent, question, settings)
    for exchange in remembered:
        told += _told(exchange, with_photo=exchange is remembered[-1])
    return [*told, Message("user", question.question, photo=question.photo)]


def tokens(text: str) -> int:
    """
    An estimate that rather says too much: four ASCII characters are a token, and every other character is one.

    Today's vocabularies need 0.7 to 1 token for a Chinese character and about 0.25 for one of English. Counting exactly would
    need the model's own vocabulary.
    """
    ascii_characters = len(text.encode("ascii", "ignore"))
    return len(text) - ascii_characters + -(-ascii_characters // 4)


def _remembered(recent: Sequence[Exchange], question: Exchange, settings: MemorySettings) -> Sequence[Exchange]:
    remembered: list[Exchange] = []
    tokens_left = settings.max_tokens
    next_asked_at = question.asked_at
    for exchange in reversed(recent):
        if exchange.state not in (State.ANSWERED, State.COLLECTED):
            continue
        tokens_left -= sum(tokens(message.content) + MESSAGE_TOKENS for message in _told(exchange))
        is_of_this_conversation = next_asked_at - exchange.answered_at <= settings.idle_seconds
        if len(remembered) == settings.exchanges or tokens_left < 0 or not is_of_this_conversation:
            break
        remembered.append(exchange)
        next_asked_at = exchange.asked_at
    return remembered[::-1]


def _told(exchange: Exchange, *, with_photo: bool = False) -> list[Message]:
    asked = Message("user", exchange.question, photo=exchange.photo if with_photo else "")
    return [asked, Message("assistant", DRAWN if exchange.kind is Kind.DRAWING else exchange.answer)]
