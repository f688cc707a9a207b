"""
Drawn pictures by their links: `/media/{id}?expires=&signature=`. Edge.

Rule 1: a link is signed for one picture until one moment; without it nobody gets any picture, whatever they guess.
Rule 2: whoever follows a link that does not work reads what to do, in both languages.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

import structlog
from aiohttp import web

from bot.gallery import Gallery
from bot.store import StoreUnavailable

log = structlog.get_logger()

WRONG = "这个链接不完整或不对，请回到公众号里重新点。\nThis link is incomplete or wrong; tap it again in the chat.\n"
EXPIRED = "这张图已经过期了，请在公众号里重新画一张。\nThis picture has expired; ask for another one in the chat.\n"
GONE = "这张图已经不在了，请在公众号里重新画一张。\nThis picture is gone; ask for another one in the chat.\n"
CANNOT_READ = "图片暂时取不出来，请过一分钟再点一次。\nThe picture cannot be read just now; tap again in a minute.\n"


class Media:
    """`public_url` is what links begin with; `clock` is the wall clock, epoch seconds."""

    def __init__(
        self,
        gallery: Gallery,
        secret: bytes,
        *,
        public_url: str,
        keep_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._gallery = gallery
        self._secret = secret
        self._public_url = public_url
        self._keep_seconds = keep_seconds
        self._clock = clock

    def __repr__(self) -> str:
        return "<Media>"

    def link(self, picture_id: str, made_at: float) -> str:
        expires = int(made_at + self._keep_seconds)
        signature = self._signature(picture_id, str(expires))
        return f"{self._public_url}/media/{picture_id}?expires={expires}&signature={signature}"

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/media/{id}", self.show)]

    async def show(self, request: web.Request) -> web.Response:
        picture_id, expires = request.match_info["id"], request.query.get("expires", "")
        signature = request.query.get("signature", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(signature, self._signature(picture_id, expires).encode()):
            return web.Response(status=403, text=WRONG)
        left = int(expires) - self._clock()
        if left <= 0:
            return web.Response(status=410, text=EXPIRED)
        try:
            picture = await self._gallery.get(picture_id)
        except StoreUnavailable as refusal:
            log.warning("store.refused", reason=refusal.reason)
            return web.Response(status=503, text=CANNOT_READ)
        if picture is None:
            return web.Response(status=404, text=GONE)
        return web.Response(
            body=picture.data,
            content_type=picture.content_type,
            headers={
                "Cache-Control": f"private, max-age={int(left)}",
                "Content-Disposition": "inline",
                "Content-Security-Policy": "default-src 'none'; sandbox",
                "X-Content-Type-Options": "nosniff",
            },
        )

    def _signature(self, picture_id: str, expires: str) -> str:
        signed = f"media:{picture_id}:{expires}".encode("utf-8", "surrogateescape")
        return base64.urlsafe_b64encode(hmac.digest(self._secret, signed, hashlib.sha256)).decode().rstrip("=")
