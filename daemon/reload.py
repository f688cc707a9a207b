"""
Which changes of the config a running daemon takes up, and which need a restart. Pure.

Rule: keys, upstreams, callers, the webhook of alerts and what the bot sends to its model are taken up at once; whatever opened
something at the start (listeners, database, page, accounts) or words a page of an answer stays as it was until the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daemon.schema import Settings
    from daemon.schema.bot import Account, Bot

FOR_THE_MODEL = ("model", "system_prompt", "temperature", "max_tokens", "queue_seconds", "api")


def needs_restart(started: Settings, changed: Settings) -> list[str]:
    """The tables in which `changed` differs from what the daemon was started with and cannot take up."""
    tables = [name for name in ("server", "operator") if getattr(started, name) != getattr(changed, name)]
    return tables + _of_the_bot(started.bot, changed.bot)


def _of_the_bot(started: Bot, changed: Bot) -> list[str]:
    names = [name for name in vars(started) if name not in (*FOR_THE_MODEL, "accounts")]
    tables = [f"bot.{name}" for name in names if getattr(started, name) != getattr(changed, name)]
    if _opened(started.accounts) != _opened(changed.accounts):
        tables.append("bot.accounts")
    return tables


def _opened(accounts: Sequence[Account]) -> list[dict[str, Any]]:
    return [{**vars(account), "model": "", "system_prompt": None} for account in accounts]
