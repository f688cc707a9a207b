"""The tappable link to an exchange. Pure."""

from __future__ import annotations

from bot.exchange import Exchange
from bot.texts import Texts


def link(exchange: Exchange, texts: Texts) -> str:
    """An address that, tapped in the chat, sends 继续 with the exchange's id as `bizmsgmenuid`."""
    return f"weixin://bizmsgmenu?msgmenucontent={texts.say('word_more').strip()}&msgmenuid={exchange.id}"
