"""What a push may ask for, as values. Pure. Which push asks for which is decided in `bot.wechat.intent`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.exchange import Exchange, Kind
from bot.wechat.commands import Command


@dataclass(frozen=True, slots=True)
class Ask:
    question: str
    kind: Kind = Kind.TEXT
    photo: str = ""


@dataclass(frozen=True, slots=True)
class Collect:
    """The next page of the exchange, or the last one again where there is no next."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Retry:
    """The failed exchange is to be asked again."""

    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Say:
    name: str  # of a text
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clear:
    """The conversation so far is to be forgotten; answers stay collectable."""


@dataclass(frozen=True, slots=True)
class Choose:
    """From now on the persona of this name answers, "" for none."""

    persona: str


@dataclass(frozen=True, slots=True)
class Report:
    """How things stand, for a subscriber or for an administrator."""


@dataclass(frozen=True, slots=True)
class Act:
    """An administrator's command."""

    command: Command
    about: str = ""


@dataclass(frozen=True, slots=True)
class Forget:
    """The subscriber left: every row about them is to be deleted."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """`success`, WeChat's word for "seen, no reply"."""


Intent = Ask | Collect | Retry | Say | Clear | Choose | Report | Act | Forget | Nothing
