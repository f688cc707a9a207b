"""What a push may ask for, as values. Pure. Which push asks for which is decided in `bot.wechat.intent`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from bot.exchange import Exchange, Kind
from bot.value import value_type
from bot.wechat.commands import Command


@value_type
class Ask:
    question: str
    kind: Kind = Kind.TEXT
    photo: str = ""


@value_type
class Collect:
    """The next page of the exchange, or the last one again where there is no next."""

    exchange: Exchange


@value_type
class Retry:
    """The failed exchange is to be asked again."""

    exchange: Exchange


@value_type
class Say:
    name: str  # of a text
    facts: Mapping[str, object] = field(default_factory=dict)


@value_type
class Clear:
    """The conversation so far is to be forgotten; answers stay collectable."""


@value_type
class Choose:
    """From now on the persona of this name answers, "" for none."""

    persona: str


@value_type
class Report:
    """How things stand, for a subscriber or for an administrator."""


@value_type
class Act:
    """An administrator's command."""

    command: Command
    about: str = ""


@value_type
class Forget:
    """The subscriber left: every row about them is to be deleted."""


@value_type
class Nothing:
    """`success`, WeChat's word for "seen, no reply"."""


Intent = Ask | Collect | Retry | Say | Clear | Choose | Report | Act | Forget | Nothing
