"""
The line to WeChat's server API: it makes a call, at one host after the other, until there is a reply.

Rule 1: what must not be made twice is not: as soon as a byte of it may have left, it goes to no other host. Any other call
        whose answer was lost is made once more.
Rule 2: every call has a connection of its own (`Connection: close`). On one that was kept, a close by WeChat that crosses a
        message looks like a lost message; one handshake more for a message costs less than that doubt.
Rule 3: the access token stands in the URL, and aiohttp's errors name the URL: a failure becomes a value of ours before
        anything is raised, so that no error of aiohttp's is the cause or context of another.
Rule 4: the log has the call, the host and a few words of ours, never a token, an openid or what was said.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
)
from yarl import URL

from bot.value import value_type
from bot.wechat.api_call import Call, Lost, Reply, reply_of
from bot.wechat.api_errors import ApiKind, ApiOutcomeUnknown, ApiUnreachable, kind_of
from bot.wechat.api_hosts import Hosts

log = structlog.get_logger()

MOST_BYTES = 64 * 1024  # of an answer; the largest that we ask for has a token of 512
PAUSES = (0.5, 1.0, 2.0)  # seconds before a call that found WeChat busy is made again

NOT_SENT = (ClientConnectorError, ConnectionTimeoutError)


@value_type
class Seconds:
    """How long is waited for a connection, for a whole call, and for a whole upload."""

    connect: float = 3.0
    call: float = 10.0
    upload: float = 60.0


USUAL = Seconds()


class Line:
    def __init__(
        self,
        session: ClientSession,
        hosts: Sequence[str],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seconds: Seconds = USUAL,
    ) -> None:
        self._session = session
        self._hosts = Hosts(hosts, clock)
        self._sleep = sleep
        self._seconds = seconds

    async def make(self, call: Call, token: str = "") -> Reply:
        """WeChat's answer, whatever it is; BUSY only after some patience. Raises ApiUnreachable and ApiOutcomeUnknown."""
        reply = await self._anywhere(call, token)
        for pause in PAUSES:
            if kind_of(reply.code) is not ApiKind.BUSY:
                break
            await self._sleep(pause)
            reply = await self._anywhere(call, token)
        return reply

    async def _anywhere(self, call: Call, token: str) -> Reply:
        reason, unanswered = "it is the configured one's turn again", 0
        for host in self._hosts.in_order():
            reply = await self._once(host, call, token)
            if isinstance(reply, Reply):
                if self._hosts.answered(host):
                    log.warning("wechat_api.moved", host=URL(host).host, call=call.name, reason=reason)
                return reply
            reason = reply.reason
            unanswered += reply.was_sent
            if unanswered == (2 if call.is_repeatable else 1):
                break
        if unanswered:
            log.warning("wechat_api.lost", call=call.name, reason=reason)
            raise ApiOutcomeUnknown(reason)
        log.warning("wechat_api.unreachable", call=call.name, reason=reason)
        raise ApiUnreachable(reason)

    async def _once(self, host: str, call: Call, token: str) -> Reply | Lost:
        query = {**call.query, "access_token": token} if token else call.query
        total = self._seconds.upload if call.is_upload else self._seconds.call
        try:
            async with self._session.post(
                URL(f"{host}{call.path}").with_query(query),
                data=io.BytesIO(call.body),
                headers={"Content-Type": call.content_type, "Accept-Encoding": "identity", "Connection": "close"},
                allow_redirects=False,
                timeout=ClientTimeout(total=total, connect=self._seconds.connect),
            ) as answer:
                return await _read(answer, call)
        except NOT_SENT as failure:
            return Lost(_why(failure), was_sent=False)
        except TimeoutError:
            return Lost("no answer in time")
        except (ClientError, OSError):
            return Lost("the connection broke")


async def _read(answer: ClientResponse, call: Call) -> Reply | Lost:
    if answer.status != 200:
        return Lost(f"status {answer.status}")
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MOST_BYTES:
            return Lost("an answer larger than any of WeChat's")
    return reply_of(call, bytes(body))


def _why(failure: ClientConnectorError | ConnectionTimeoutError) -> str:
    match failure:
        case ClientConnectorDNSError():
            return "its name was not found"
        case ClientSSLError():
            return "its certificate or TLS is not right"
        case ConnectionTimeoutError():
            return "no connection in time"
    return "no connection"
