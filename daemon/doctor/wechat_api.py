"""
WeChat's server API for an account: whether it gives a token to this server, and from how many addresses it pushes.

Rule 1: the token is asked for as the daemon asks (`stable_token`, never forced), so a running daemon's stays good.
Rule 2: the token is in no fact and no error; it goes into one URL, of the account's own api_base.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time

from aiohttp import ClientSession, ClientTimeout
from yarl import URL

from bot.wechat.api_call import Call, written
from bot.wechat.api_errors import ApiError, refused
from bot.wechat.api_hosts import hosts_of
from bot.wechat.api_line import Line
from daemon.doctor.facts import Failure, Step
from daemon.doctor.network import body_of, lookup
from daemon.doctor.patience import USUAL, Patience
from daemon.doctor.troubles import FAILED
from daemon.schema.bot import Account

LIST_BYTES = 256 * 1024  # some hundred addresses


async def ask(
    account: Account, session: ClientSession, *, context: ssl.SSLContext, patience: Patience = USUAL
) -> tuple[ApiError | Failure | None, int | None]:
    """Why there is no token (None where there is one), and the number of addresses, None where it was not told."""
    base = URL(account.api_base)
    try:
        async with asyncio.timeout(patience.step):
            await lookup(base.host or "", base.port or 0)
    except TimeoutError:  # then aiohttp would wait for the resolver in a thread that nobody can leave behind
        return Failure(Step.NAME, "its name is not found in time"), None
    except OSError:
        pass  # there may be other hosts
    secret = account.app_secret.reveal() if account.app_secret else ""
    who = {"grant_type": "client_credential", "appid": account.app_id, "secret": secret, "force_refresh": False}
    call = Call("/cgi-bin/stable_token", written(who), gives="access_token")
    line = Line(session, hosts_of(account.api_base), clock=time.monotonic)
    try:
        async with asyncio.timeout(patience.api):
            reply = await line.make(call)
    except TimeoutError:
        return Failure(Step.ANSWER, "no answer in time"), None
    except ApiError as failure:
        return failure, None
    if reply.code:
        return refused(reply.code, reply.members.get("errmsg")), None
    token = str(reply.members["access_token"])
    return None, await _callback_addresses(account, token, session, context, patience.addresses)


async def _callback_addresses(
    account: Account, token: str, session: ClientSession, context: ssl.SSLContext, seconds: float
) -> int | None:
    url = URL(account.api_base).joinpath("cgi-bin/getcallbackip").with_query(access_token=token)
    timeout = ClientTimeout(total=seconds)
    try:
        async with session.get(url, ssl=context, allow_redirects=False, timeout=timeout) as response:
            said = json.loads(await body_of(response, LIST_BYTES))
    except (*FAILED, ValueError, RecursionError):
        return None
    listed = said.get("ip_list") if isinstance(said, dict) else None
    return len(listed) if isinstance(listed, list) else None
