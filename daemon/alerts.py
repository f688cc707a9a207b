"""
Brings news to `alerts.webhook`.

Rule 1: nobody waits for it: who has news puts it down and goes on; at the end of the daemon it has a moment, no more.
Rule 2: one post at a time, in the order of the news. What fails is tried again with growing pauses, and then given up; when
        more waits than can be held, the oldest goes.
Rule 3: the webhook is a secret, and aiohttp's errors name it: a failure becomes a few words of ours, and no error is logged.
Rule 4: of an answer no more is read than a robot's code needs; a redirect is not followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import structlog
from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
)
from yarl import URL

from bot.texts import Texts
from daemon.jobs import Job
from daemon.jobs import running as jobs_running
from daemon.notices import Notice, sentence
from daemon.robots import Alert, Outcome, Robot, alert_of, body_of, outcome_of, robot_at
from daemon.secret import Secret
from daemon.session import open_session

if TYPE_CHECKING:
    from daemon.schema import Settings

log = structlog.get_logger()

POST_SECONDS = 10.0  # for one post, with its answer
PAUSES = (1.0, 5.0, 30.0, 120.0)  # seconds before a post that failed is tried again
GRACE_SECONDS = 1.0  # at the end, for what waits
MOST_WAITING = 50  # alerts
MOST_TOGETHER = 10  # alerts in one message of a robot's
ANSWER_BYTES = 4096  # of an answer; a robot's has about 100
HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "posthouse",  # Discord refuses whoever has none
    "Accept-Encoding": "identity",
    "Connection": "close",  # news is rare: a connection that was kept would be stale
}


class Alerts:
    """`clock` is the wall clock. `post_next` is to be run again and again; `seconds` and `pauses` are as above."""

    def __init__(
        self,
        session: ClientSession,
        webhook: Secret | None,
        texts: Texts,
        *,
        zone: ZoneInfo,
        clock: Callable[[], float],
        pauses: Sequence[float] = PAUSES,
        seconds: float = POST_SECONDS,
    ) -> None:
        self._session = session
        self._webhook = webhook
        self._texts = texts
        self._zone = zone
        self._clock = clock
        self._pauses = pauses
        self._seconds = seconds
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(MOST_WAITING)
        self._at_hand: list[Alert] = []
        self._ending = asyncio.Event()

    def reconfigure(self, settings: Settings) -> None:
        """Another webhook, from the next post on that was not tried yet."""
        self._webhook = settings.alerts.webhook

    def hear(self, news: Sequence[Notice]) -> None:
        if self._webhook is None:
            return
        at = datetime.fromtimestamp(self._clock(), self._zone).isoformat(timespec="seconds")
        for notice in news:
            if self._waiting.full():
                log.warning("alert.dropped", news=[self._waiting.get_nowait().name], reason="too many wait")
                self._waiting.task_done()
            self._waiting.put_nowait(alert_of(notice, sentence(notice, self._texts), at))

    async def post_next(self) -> None:
        """What has waited longest, as soon as there is something; returns when it is taken or given up."""
        self._at_hand = [await self._waiting.get()]
        try:
            if self._webhook is not None:
                await self._bring(URL(self._webhook.reveal(), encoded=True))
        finally:
            for _ in self._at_hand:
                self._waiting.task_done()
            self._at_hand = []

    async def finish(self) -> None:
        """What waits has a moment; nothing is put down any more."""
        self._ending.set()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._waiting.join()
        except TimeoutError:
            left = [alert.name for alert in self._at_hand]
            while not self._waiting.empty():
                left.append(self._waiting.get_nowait().name)
            log.warning("alert.dropped", news=left, reason="the daemon stops")

    async def _bring(self, url: URL) -> None:
        robot = robot_at(url.host)
        while robot and len(self._at_hand) < MOST_TOGETHER and not self._waiting.empty():
            self._at_hand.append(self._waiting.get_nowait())
        names, body = [alert.name for alert in self._at_hand], body_of(robot, self._at_hand)
        for tries, pause in enumerate((*self._pauses, None), start=1):
            is_last = pause is None or self._ending.is_set()
            outcome = await self._post(url, robot, body)
            if not outcome.reason:
                log.info("alert.sent", news=names, status=outcome.status, tries=tries)
                return
            if outcome.is_final or is_last:
                log.warning("alert.failed", news=names, status=outcome.status, tries=tries, reason=outcome.reason)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()  # then it is tried once more, at once

    async def _post(self, url: URL, robot: Robot | None, body: bytes) -> Outcome:
        try:
            async with self._session.post(
                url,
                data=body,
                headers=HEADERS,
                allow_redirects=False,
                timeout=ClientTimeout(total=self._seconds),
            ) as answer:
                said = await _beginning(answer) if robot else b""
                return outcome_of(answer.status, robot, said)
        except TimeoutError:
            return Outcome(None, f"no answer within {self._seconds:.0f} s")
        except (ClientError, OSError, UnicodeError) as failure:  # UnicodeError: a name too long to be looked up
            return Outcome(None, _why(failure))


@contextlib.asynccontextmanager
async def open_alerts(settings: Settings) -> AsyncIterator[Alerts]:
    async with open_session() as session:
        alerts = Alerts(
            session,
            settings.alerts.webhook,
            Texts(overrides=settings.bot.texts),
            zone=settings.server.timezone,
            clock=time.time,
        )
        async with jobs_running(Job("alerts", alerts.post_next, 0.0)):
            yield alerts
            await alerts.finish()


async def _beginning(answer: ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) >= ANSWER_BYTES:
            break
    return bytes(body)


def _why(failure: ClientError | OSError | UnicodeError) -> str:
    match failure:
        case ClientConnectorDNSError() | UnicodeError():
            return "its name was not found"
        case ClientSSLError():
            return "its certificate or TLS is not right"
        case ClientConnectorError():
            return "no connection"
    return "the connection broke"
