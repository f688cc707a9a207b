"""
What the page, `/status.json` and `/metrics` are made from: everything but the mailbox, as it was at one moment. Pure.

Rule: no secret enters here; a caller is its name, a key what `KeyView` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from bot.wechat.view import AccountView
from daemon.verification import Misdirected
from proxy.health import KeyView
from proxy.tally import UpstreamView
from proxy.value import value_type


@value_type
class CallerView:
    """A caller of the gateway, or the bot, which has no limits (0). Requests and tokens are today's."""

    name: str
    requests: int
    tokens: int
    in_flight: int
    requests_per_minute: int = 0
    tokens_per_day: int = 0
    max_concurrency: int = 0
    expires_at: float | None = None


@value_type
class Seen:
    """
    `tokens_today` are by the key's name. `front_buffers`: a proxy in front holds streams back; None where nobody looked, or
    nothing could be seen.
    """

    keys: Sequence[KeyView] = ()
    accounts: Sequence[AccountView] = ()
    upstreams: Sequence[UpstreamView] = ()
    callers: Sequence[CallerView] = ()
    tokens_today: Mapping[str, int] = field(default_factory=dict)
    misdirected: Sequence[Misdirected] = ()
    public_url: str = ""
    listen: Sequence[str] = ()  # as in `server.listen`
    front_buffers: bool | None = None


Look = Callable[[], Seen]
