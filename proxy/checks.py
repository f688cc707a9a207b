"""
Free checks: a rejected key, and an upstream that rests, are looked at with `GET /v1/models`, which costs nothing.
"""

from __future__ import annotations

import asyncio

from aiohttp import ClientTimeout
from multidict import CIMultiDict
from yarl import URL

from proxy.command import ERROR_BYTES
from proxy.headers import authorization
from proxy.key import Key
from proxy.keypool import KeyPool
from proxy.road import report
from proxy.target import Target
from proxy.upgrade import FAILED, SessionTowards
from proxy.verdict import Answer, Rule, Verdict, judge

CHECK_SECONDS = 20.0  # for one check; what takes longer told nothing, and is asked again
LOOK_SECONDS = 2.0  # for a look at a resting upstream; the next one comes soon
MODELS = Target("/v1/models")


async def check(key: Key, session_towards: SessionTowards, seconds: float = CHECK_SECONDS) -> Verdict:
    """What the upstream says of the key. Never raises for what the network does: that is the verdict `connect`."""
    headers = CIMultiDict([*authorization(key), ("Accept-Encoding", "identity")])
    url = URL(MODELS.url(key.upstream), encoded=True)
    timeout = ClientTimeout(total=seconds)
    session = session_towards(key.upstream)
    try:
        async with session.get(url, headers=headers, allow_redirects=False, timeout=timeout) as response:
            body = b"" if response.ok else await response.content.read(ERROR_BYTES)
            names = {name.lower(): value for name, value in response.headers.items()}
            if 300 <= response.status < 400:  # whoever answers there is not the API
                return Verdict(Rule.CONNECT, f"the check was answered {response.status}")
            return judge(Answer(response.status, names, body))
    except FAILED:
        return Verdict(Rule.CONNECT, "the check did not get through")


async def check_now(pool: KeyPool, name: str, session_towards: SessionTowards) -> bool:
    """Look at the key of this name because the operator wants to know; False where there is none."""
    key = pool.key_named(name)
    if key is None:
        return False
    verdict = await check(key, session_towards)
    report(list(pool.checked(key, verdict, is_asked_for=True)))
    return True


async def check_due(pool: KeyPool, session_towards: SessionTowards) -> None:
    """Look at every key whose check is due."""
    due = pool.checks_due()
    for key, verdict in zip(due, await asyncio.gather(*(check(key, session_towards) for key in due)), strict=True):
        report(list(pool.checked(key, verdict)))


async def look_for_resting(pool: KeyPool, session_towards: SessionTowards) -> None:
    """An upstream that answers again need not rest to the end: a request may try."""
    resting = pool.resting()
    verdicts = await asyncio.gather(*(check(key, session_towards, LOOK_SECONDS) for key, _ in resting))
    for (key, sent_at), verdict in zip(resting, verdicts, strict=True):
        pool.looked_for(key, verdict, sent_at)
