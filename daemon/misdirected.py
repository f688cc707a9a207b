"""
WeChat at the wrong door: a signed request to a path that is no account's. It would look as if nothing had come at all.

Rule: a request's path and method are kept, and nothing else; a path under /message/ may carry a secret, and is kept without.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from bot.wechat.view import SELF_TEST
from daemon.verification import Misdirected

__all__ = ["Misdirected", "Misdirections", "telling_misdirected"]

log = structlog.get_logger()

SIGNED = frozenset({"signature", "timestamp", "nonce"})  # what WeChat puts into the query of everything it sends
MOST_KEPT = 20
PATH_CHARACTERS = 100
CLOUD_RUN = "/message/"


class Misdirections:
    """The last of them, for the page."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives epoch seconds."""
        self._clock = clock
        self._last: deque[Misdirected] = deque(maxlen=MOST_KEPT)

    def note(self, path: str, method: str) -> None:
        self._last.append(Misdirected(self._clock(), _shown(path), method))

    def last(self) -> tuple[Misdirected, ...]:
        """The oldest first."""
        return tuple(self._last)


def telling_misdirected(paths: Collection[str], misdirections: Misdirections) -> Middleware:
    """`paths` are the accounts'. The answer stays what it is; the path in the log is bounded and escaped by the log."""

    @web.middleware
    async def tell(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.query_string and request.path not in paths and request.query.keys() >= SIGNED:
            if not request.query.get("echostr", "").startswith(SELF_TEST):
                misdirections.note(request.path, request.method)
            log.warning("push.misdirected", path=_shown(request.path), accounts=sorted(paths), advice=_advice(paths))
        return await handler(request)

    return tell


def _shown(path: str) -> str:
    if path.startswith(CLOUD_RUN):
        return f"{CLOUD_RUN}…"
    plain = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in path[:PATH_CHARACTERS])
    return plain + "…" * (len(path) > PATH_CHARACTERS)


def _advice(paths: Collection[str]) -> str:
    if not paths:
        return "no [[bot.accounts]] is configured"
    return "the path of the URL in WeChat's console and the account's `path` must be the same"
