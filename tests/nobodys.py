"""A gateway without keys or callers, for tests of what comes by the door and is not for the gateway."""

from __future__ import annotations

import time
from typing import Never

from proxy.affinity import Affinity
from proxy.allowance import Allowances
from proxy.callers import Callers
from proxy.draft import Unsupported
from proxy.forward import Gateway
from proxy.key import Upstream
from proxy.keypool import KeyPool
from proxy.line import Line
from proxy.reception import GatewaySettings
from proxy.road import Road
from proxy.soft_affinity import SoftAffinity
from proxy.tally import Tally
from proxy.usage_book import Days, UsageBook
from proxy.visit import House
from proxy.witness import Witnesses


def nobodys_house() -> House:
    days = Days(None, time.time)
    book = UsageBook(set(), days)
    return Gateway(
        KeyPool([], clock=time.monotonic, jitter=lambda: 0.0),
        Callers([]),
        Road(Line(), _towards, _towards, lambda upstream: None),
        GatewaySettings(),
        allowances=Allowances(
            clock=time.monotonic, tokens_today=book.spent_today, seconds_left_today=days.seconds_left
        ),
        witnesses=Witnesses(book, Affinity(), SoftAffinity(b"salt"), time.monotonic, time.time),
        tally=Tally(),
        unsupported=Unsupported(),
        secrets=(),
        wall_clock=time.time,
        jitter=lambda: 0.0,
        new_id=lambda: "r1",
    ).house


async def _towards(upstream: Upstream) -> Never:
    raise AssertionError(upstream)
