"""
WeChat at the wrong door: a signed request to a path that is no account's. It would look as if nothing had come at all.
"""

from __future__ import annotations

from collections.abc import Collection

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

log = structlog.get_logger()

SIGNED = frozenset({"signature", "timestamp", "nonce"})  # what WeChat puts into the query of everything it sends


def telling_misdirected(paths: Collection[str]) -> Middleware:
    """`paths` are the accounts'. The answer stays what it is; the path in the log is bounded and escaped by the log."""

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.query_string and request.path not in paths and request.query.keys() >= SIGNED:
            log.warning("push.misdirected", path=request.path, accounts=sorted(paths), advice=_advice(paths))
        return await handler(request)

    return tell


def _advice(paths: Collection[str]) -> str:
    if not paths:
        return "no [[bot.accounts]] is configured"
    return "the path of the URL in WeChat's console and the account's `path` must be the same"
