"""
One question through the pool, for `posthouse ask`.

Rule 1: the answer goes to standard output piece by piece as it comes, everything about it to standard error.
Rule 2: a running daemon's ledger is read, so that a key which rests there rests here, and never written.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bot.ask import Message, Resting, Unanswered
from bot.exchange import Reason
from daemon.adapters import ask_through
from daemon.gateway import open_gateway
from daemon.schema import Settings
from daemon.sqlite import DatabaseRefused
from daemon.sqlite.database import Database
from daemon.sqlite.reader import read_health

SENTENCES = {
    Reason.EXHAUSTED: "no key can serve: none is configured, or each is without quota, revoked or disabled; see `keys`",
    Reason.REFUSED: "the upstream refused the question; is the model's name right?",
    Reason.UNREACHABLE: "the upstream cannot be reached; look at its base_url and this machine's network",
    Reason.TRUNCATED: "the answer was cut off on its way; ask again",
    Reason.EMPTY: "the model ended without a word; ask for less, or raise bot.max_tokens",
    Reason.TIMEOUT: "the model took longer than bot.answer_seconds",
}


class NoAnswer(Exception):
    """The sentence says what happened and what to do."""


def ask(settings: Settings, question: str, *, model: str, system_prompt: str, say: Callable[[str], None]) -> None:
    """Raises NoAnswer, also when what was said is not all."""
    asyncio.run(_ask(settings, question, model, system_prompt, say))


async def _ask(settings: Settings, question: str, model: str, system_prompt: str, say: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="posthouse-ask-") as folder:
        async with (
            Database(Path(folder) / "ask.db") as database,
            open_gateway(settings, database) as gateway,
        ):
            with contextlib.suppress(DatabaseRefused):  # none yet, or not ours to read: then every key counts as well
                gateway.pool.restore(read_health(settings.server.database), wall=time.time())
            messages = [Message("system", system_prompt)] if system_prompt else []
            try:
                async with asyncio.timeout(settings.bot.answer_seconds):
                    async for piece in ask_through(gateway.chat)([*messages, Message("user", question)], model=model):
                        say(piece)
            except TimeoutError:
                raise NoAnswer(SENTENCES[Reason.TIMEOUT]) from None
            except Resting as resting:
                raise NoAnswer(_in_words(resting)) from None
            except Unanswered as unanswered:
                raise NoAnswer(SENTENCES.get(unanswered.reason, str(unanswered))) from None


def _in_words(resting: Resting) -> str:
    if resting.back_in_seconds is None:
        return SENTENCES[Reason.EXHAUSTED]
    return f"every key is resting; the first is back in {resting.back_in_seconds:.0f} s"
