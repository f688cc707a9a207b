"""
One delivery of a push, from its query and body to the bytes of the reply, whichever lane it came by.

Rule 1: whatever is wrong with a signature, an envelope or a body, it is FORBIDDEN; the reason is for the log and the operator's
        page.
Rule 2: a page counts as delivered only when the connection is still open after the write.
Rule 3: a delivery without an answer is SILENT, and its connection is closed, as if we had been slow: that WeChat delivers again
        then is documented, what it does on an error status is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import field, replace
from email.utils import formatdate
from enum import Enum, auto
from functools import lru_cache
from typing import Protocol

import structlog

from bot.value import value_type
from bot.wechat import codec
from bot.wechat.gate import Gate, Refused
from bot.wechat.hold import Timing
from bot.wechat.passive import Page
from bot.wechat.push import Push
from bot.wechat.view import Attempt, Kind, Pushes
from bot.wechat.visits import Visits

log = structlog.get_logger()

MAX_BODY_BYTES = 64 * 1024  # the longest text a subscriber can send is 2 KB; three times that in the compatible mode
MAX_ATTEMPTS = 20
CONTENT_TYPES = {"xml": "application/xml", "json": "application/json"}


class End(Enum):
    """How a delivery ended."""

    ANSWERED = auto()
    SILENT = auto()
    FORBIDDEN = auto()


class Way(Protocol):
    """WeChat's connection."""

    async def write(self, body: bytes, content_type: str, *, now: int) -> bool:
        """A whole answer; whether the connection is open after it."""


@value_type
class Account:
    """`id` is the gh_… of the account, `path` its URL's, `app_id` its wx…, by which Cloud Run may name it."""

    id: str
    path: str
    gate: Gate
    visits: Visits
    app_id: str = ""
    pushes: Pushes = field(default_factory=Pushes)


class Reception:
    """One account's. `random16` gives 16 bytes nobody can guess; `vouch` hears every address that a signed push came from."""

    def __init__(
        self,
        account: Account,
        *,
        clock: Callable[[], float],
        random16: Callable[[], bytes],
        vouch: Callable[[str], None],
    ) -> None:
        self.account = account
        self.attempts: deque[Attempt] = deque(maxlen=MAX_ATTEMPTS)
        self._vouch = vouch
        self._clock = clock
        self._random16 = random16

    async def receive(self, way: Way, query: Iterable[tuple[str, str]], body: bytes, address: str) -> End:
        account, clock = self.account, self._clock
        try:
            admitted = account.gate.admit(query, body, clock())
        except Refused as refused:
            self.refuse("push", refused.reason, str(refused), address)
            return End.FORBIDDEN
        self._vouch(address)

        def seal(reply: bytes) -> bytes:
            return account.gate.close(admitted, reply, now=int(clock()), random16=self._random16())

        return await answer(way, admitted.push, account, clock=clock, seal=seal)

    def refuse(self, kind: Kind, reason: str, advice: str, address: str, *, is_self_test: bool = False) -> None:
        """Note why a request was refused."""
        reason = str(reason)
        self.note(kind, reason, is_self_test=is_self_test)
        if kind == "push":
            self.account.pushes.count("", reason)
        log.warning("push.refused", account=self.account.id, kind=kind, reason=reason, address=address, advice=advice)

    def note(self, kind: Kind, outcome: str, *, is_self_test: bool = False) -> None:
        if not is_self_test:
            self.attempts.append(Attempt(self._clock(), kind, outcome))


async def answer(
    way: Way,
    push: Push,
    account: Account,
    *,
    clock: Callable[[], float],
    timing: Timing | None = None,
    seal: Callable[[bytes], bytes] = bytes,
) -> End:
    """Deliver `push`, which is known to be WeChat's, and write what it gets, `seal`ed, in the form it came in."""
    # The operator's name for the account is the one that counts; the reply bears the one that WeChat used.
    visiting = push if push.account == account.id else replace(push, account=account.id)
    page, is_open = None, False
    try:
        page = await account.visits.deliver(visiting, timing)
        if page is None:
            return End.SILENT
        now = int(clock())
        reply = _reply(push, page, now=now)
        content_type = "text/plain" if reply == codec.SUCCESS else CONTENT_TYPES[push.form]
        is_open = await way.write(seal(reply), content_type, now=now)
        return End.ANSWERED
    finally:  # also when WeChat has left meanwhile, which cancels
        if page is not None:
            (account.visits.written if is_open else account.visits.unwritten)(visiting, page)
        account.pushes.count(push.kind, _outcome(page) if is_open else "unanswered")


def head_of(status: str, content_type: str, length: int, *, now: int, closes: bool = False) -> bytes:
    """Of an answer that is one write: for so few bytes aiohttp's own way takes as long as finding the words."""
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    last = "Connection: close\r\n" if closes else ""
    return f"HTTP/1.1 {status}\r\n{kind}Content-Length: {length}\r\nDate: {_date(now)}\r\n{last}\r\n".encode()


@lru_cache(maxsize=2)
def _date(now: int) -> str:
    return formatdate(now, usegmt=True)


def _outcome(page: Page | None) -> str:
    return "answered" if page and (page.words or page.media_id) else "success"


def _reply(push: Push, page: Page, *, now: int) -> bytes:
    if page.media_id:
        return codec.image_reply(push, page.media_id, now=now)
    return codec.text_reply(push, page.words, now=now) if page.words else codec.SUCCESS
