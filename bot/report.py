"""
What the log hears of an answer: how it went and how long it took, never a word of it.
"""

from __future__ import annotations

import structlog

from bot.exchange import Exchange, Reason, State

log = structlog.get_logger()


def report(exchange: Exchange, *, now: float) -> None:
    seconds = round(now - exchange.started_at, 1)
    match exchange.state:
        case State.ANSWERED:
            log.info("answer.given", seconds=seconds, characters=len(exchange.answer))
        case State.QUEUED:
            log.info("answer.rested", seconds=round(exchange.not_before - now, 1))
        case State.FAILED if exchange.reason is not Reason.CRASHED:  # which has its own event
            log.info("answer.failed", seconds=seconds, reason=str(exchange.reason))
