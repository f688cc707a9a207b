"""
Fetching a picture from an address that somebody else names: WeChat in a push, an upstream in its answer.

Rule 1: one GET to a host that is allowed, without a cookie or a credential, and nothing that the answer points to is followed.
Rule 2: at most `most_bytes` in at most `seconds`; what is announced as more, or comes as more, is left at once.
Rule 3: what came is a picture by its own bytes or none at all; a packed answer is not unpacked.
Rule 4: an error says why in one sentence, without the address: that may hold a signature.

The session decides which addresses a name may stand for; one for the public Internet refuses all others as it connects.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from enum import StrEnum

from aiohttp import ClientConnectorError, ClientError, ClientResponse, ClientSession
from yarl import URL

from bot.picture import Picture, picture_of

MOST_BYTES = 10 * 1024 * 1024  # what WeChat lets a subscriber send
SECONDS = 15.0
LONGEST_ADDRESS = 4096  # characters; signed ones take 1,000
# No user, and no character on which two readers might disagree.
NAME = r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}"
ADDRESS = re.compile(rf"https?://(?:{NAME}|\[[0-9a-f:.]+\])(?::[0-9]{{1,5}})?(?:[/?][!-~]*)?", re.IGNORECASE)
HEADERS = {"Accept": "image/png, image/jpeg, image/webp, image/gif", "Accept-Encoding": "identity"}


# Of a host, in small letters, and a port.
Allows = Callable[[str, int], bool]


class Trouble(StrEnum):
    ADDRESS = "address"
    HOST = "host"
    NOT_PUBLIC = "not_public"
    UNREACHABLE = "unreachable"
    REDIRECT = "redirect"
    STATUS = "status"
    PACKED = "packed"
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"
    NO_PICTURE = "no_picture"


SENTENCES: Mapping[Trouble, str] = {
    Trouble.ADDRESS: "what should be the picture's address is none",
    Trouble.HOST: "pictures are not fetched from that host",
    Trouble.NOT_PUBLIC: "the picture's host has no public address",
    Trouble.UNREACHABLE: "the picture's host could not be reached, or broke off",
    Trouble.REDIRECT: "the picture's host points elsewhere, which is not followed",
    Trouble.STATUS: "the picture's host answered without the picture",
    Trouble.PACKED: "the picture came compressed, and is not unpacked",
    Trouble.TOO_LARGE: "the picture is too large",
    Trouble.TOO_SLOW: "the picture came too slowly",
    Trouble.NO_PICTURE: "what came is no whole PNG, JPEG, WebP or GIF",
}


class CannotFetch(Exception):
    def __init__(self, reason: Trouble) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return SENTENCES[self.reason]


class Fetch:
    """`session` is to unpack nothing (`auto_decompress=False`)."""

    def __init__(
        self,
        session: ClientSession,
        *,
        allows: Allows,
        most_bytes: int = MOST_BYTES,
        seconds: float = SECONDS,
    ) -> None:
        self._session = session
        self._allows = allows
        self._most_bytes = most_bytes
        self._seconds = seconds

    async def __call__(self, url: str) -> Picture:
        """Raises CannotFetch."""
        address = self._allowed(url)
        try:
            async with asyncio.timeout(self._seconds):
                data = await self._get(address)
        except TimeoutError:
            raise CannotFetch(Trouble.TOO_SLOW) from None
        except ClientConnectorError as error:
            is_refused = isinstance(error.os_error, PermissionError)
            raise CannotFetch(Trouble.NOT_PUBLIC if is_refused else Trouble.UNREACHABLE) from None
        except (ClientError, OSError):
            raise CannotFetch(Trouble.UNREACHABLE) from None
        picture = await asyncio.to_thread(picture_of, data)  # a hostile one takes its time
        if picture is None:
            raise CannotFetch(Trouble.NO_PICTURE)
        return picture

    def _allowed(self, url: str) -> URL:
        if len(url) > LONGEST_ADDRESS or not ADDRESS.fullmatch(url):
            raise CannotFetch(Trouble.ADDRESS)
        try:
            address = URL(url, encoded=True)  # as it is: a signature may cover every letter
            host, port = address.raw_host or "", address.port or 0
        except ValueError:
            raise CannotFetch(Trouble.ADDRESS) from None
        if not self._allows(host.lower(), port):
            raise CannotFetch(Trouble.HOST)
        return address

    async def _get(self, address: URL) -> bytes:
        async with self._session.get(address, headers=HEADERS, allow_redirects=False) as answer:
            return await self._body(answer)  # a connection on which more comes is closed

    async def _body(self, answer: ClientResponse) -> bytes:
        if 300 <= answer.status < 400:
            raise CannotFetch(Trouble.REDIRECT)
        if answer.status != 200:
            raise CannotFetch(Trouble.STATUS)
        if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise CannotFetch(Trouble.PACKED)
        if (answer.content_length or 0) > self._most_bytes:
            raise CannotFetch(Trouble.TOO_LARGE)
        data = bytearray()
        async for piece in answer.content.iter_any():
            data += piece
            if len(data) > self._most_bytes:
                raise CannotFetch(Trouble.TOO_LARGE)
        return bytes(data)


def wechat_hosts(host: str, port: int) -> bool:
    """Where WeChat keeps the pictures that subscribers send (mmbiz.qpic.cn) and their portraits (thirdwx.qlogo.cn)."""
    return port in (80, 443) and host.endswith((".qpic.cn", ".qlogo.cn"))
