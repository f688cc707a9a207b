"""How the page, `/status.json` and `/metrics` see the daemon at one moment, without waiting for anything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from bot.wechat.view import AccountView
from daemon.gateway import OpenGateway
from daemon.operator.seen import CallerView, Look, Seen
from daemon.verification import Misdirected

BOT = "bot"  # what the bot's own requests are counted under


def looking(
    gateway: OpenGateway,
    accounts: Callable[[], Sequence[AccountView]],
    *,
    misdirected: Callable[[], Sequence[Misdirected]],
    public_url: str,
    listen: Sequence[str],
    front_buffers: Callable[[], bool | None] = lambda: None,
) -> Look:
    def look() -> Seen:
        keys = gateway.pool.snapshot()
        upstreams = list(dict.fromkeys(key.upstream for key in keys))
        return Seen(
            keys=keys,
            accounts=accounts(),
            upstreams=gateway.tally.upstreams(upstreams, now=time.monotonic()),
            callers=tuple(_callers(gateway)),
            tokens_today={key: used["tokens"] for key, used in gateway.book.today_by_key().items()},
            misdirected=misdirected(),
            public_url=public_url,
            listen=listen,
            front_buffers=front_buffers(),
        )

    return look


def _callers(gateway: OpenGateway) -> Iterator[CallerView]:
    """Those of the configuration, and the bot once it has asked anything."""
    used = gateway.book.today_by_caller()
    for caller in gateway.edge.callers:
        today = used.get(caller.name, Counter())
        yield CallerView(
            caller.name,
            requests=today["requests"],
            tokens=today["tokens"],
            in_flight=gateway.allowances.in_flight(caller.name),
            requests_per_minute=caller.requests_per_minute,
            tokens_per_day=caller.tokens_per_day,
            max_concurrency=caller.max_concurrency,
            expires_at=caller.expires_at,
        )
    if BOT in used:
        yield CallerView(BOT, used[BOT]["requests"], used[BOT]["tokens"], in_flight=0)
