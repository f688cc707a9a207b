"""
The daemon's own URLs, called as WeChat and a browser would: a signed verification, the page's data, and its events.

Rule 1: a verification of ours says that it is one (`SELF_TEST`), so that the daemon does not take it for WeChat's console.
Rule 2: the operator's password goes to this machine, or over TLS, and nowhere else (`may_carry_a_password`).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientTimeout, encode_basic_auth
from yarl import URL

from bot.wechat.crypt import signature_of
from bot.wechat.view import SELF_TEST, Attempt
from daemon.doctor.doors import HEADER_CHARACTERS, Site
from daemon.doctor.facts import Called, Console, Echo, Failure, First, Step
from daemon.doctor.network import body_of
from daemon.doctor.patience import USUAL
from daemon.doctor.troubles import FAILED, in_words
from daemon.session import trouble_with
from daemon.verification import Misdirected

BODY_BYTES = 64 * 1024
PAGE_BYTES = 4 << 20
NAME = {"User-Agent": "posthouse doctor"}  # without any, some firewalls for the web refuse


@dataclass(frozen=True, slots=True)
class Memory:
    """What the running daemon knows of WeChat since its start: of each account, by its path, and at no account's path."""

    consoles: Mapping[str, Console]
    misdirected: tuple[Misdirected, ...]


async def verify(
    site: Site, path: str, token: str, *, clock: Callable[[], float], seconds: float = USUAL.verification
) -> Called:
    """Never raises for what the network does."""
    stamp, nonce, echo = str(int(clock())), secrets.token_hex(5), SELF_TEST + str(secrets.randbits(62))
    query = {"signature": signature_of(token, stamp, nonce), "timestamp": stamp, "nonce": nonce, "echostr": echo}
    url, began = URL(site.base + path).with_query(query), time.monotonic()
    timeout = ClientTimeout(total=seconds)
    try:
        async with site.session.get(
            url, headers=NAME, ssl=site.context, allow_redirects=False, timeout=timeout
        ) as response:
            body = await body_of(response, BODY_BYTES)
            return Called(
                status=response.status,
                echo=_echo(body, echo.encode()),
                location=response.headers.get("Location", "").partition("?")[0][:HEADER_CHARACTERS],
                server=response.headers.get("Server", "")[:HEADER_CHARACTERS],
                seconds=time.monotonic() - began,
            )
    except FAILED as failure:
        return Called(Failure(Step.ANSWER, in_words(failure)))


async def remembered(
    site: Site, password: str, *, clock: Callable[[], float], seconds: float = USUAL.page
) -> Memory | None:
    """None where the daemon does not say."""
    url, timeout = URL(site.base) / "status.json", ClientTimeout(total=seconds)
    try:
        async with site.session.get(
            url, headers=_signed_in(password), ssl=site.context, allow_redirects=False, timeout=timeout
        ) as response:
            if response.status != 200:
                return None
            said = json.loads(await body_of(response, PAGE_BYTES))
            return Memory(_consoles(said, clock()), tuple(_misdirected(said, clock())))
    except (*FAILED, ValueError, OverflowError, RecursionError, LookupError, TypeError):
        return None  # it is an older daemon, or another program


async def first_event(site: Site, password: str, *, seconds: float = USUAL.event) -> First:
    """Never raises for what the network does."""
    url, began = URL(site.base) / "status" / "events", time.monotonic()
    status, is_stream = 0, False
    try:
        async with (
            asyncio.timeout(seconds),
            site.session.get(
                url,
                headers={**_signed_in(password), "Accept": "text/event-stream"},
                ssl=site.context,
                allow_redirects=False,
            ) as response,
        ):
            status, is_stream = response.status, response.content_type == "text/event-stream"
            if is_stream and await response.content.readany():
                return First(status=status, is_stream=True, seconds=time.monotonic() - began)
    except TimeoutError:
        pass
    except FAILED as failure:
        return First(Failure(Step.ANSWER, in_words(failure)))
    return First(status=status, is_stream=is_stream)


def may_carry_a_password(url: str, addresses: Sequence[str]) -> bool:
    """Whether nobody on the way to those addresses could read it."""
    return url.startswith("https://") or (bool(addresses) and not any(map(trouble_with, addresses)))


def _signed_in(password: str) -> Mapping[str, str]:
    return {**NAME, "Authorization": encode_basic_auth("doctor", password, encoding="utf-8")}


def _echo(body: bytes, echo: bytes) -> Echo:
    if body == echo:
        return Echo.EXACT
    return Echo.WRAPPED if echo in body else Echo.NONE


def _consoles(said: Mapping[str, Any], now: float) -> Mapping[str, Console]:
    return {
        account["path"]: Console(tuple(_attempts(account["attempts"], now)), int(account["deliveries"]))
        for account in said["accounts"]
    }


def _attempts(newest_first: Sequence[Mapping[str, Any]], now: float) -> Iterator[Attempt]:
    """The oldest first. Ages are whole seconds, so what came within one is kept in order by a little."""
    at = 0.0
    for each in reversed(newest_first):
        at = max(now - each["age_seconds"], at + 0.001)
        yield Attempt(at, each["kind"], str(each["outcome"]))


def _misdirected(said: Mapping[str, Any], now: float) -> Iterator[Misdirected]:
    for each in reversed(said["misdirected"]):
        yield Misdirected(now - each["age_seconds"], str(each["path"]), str(each["method"]))
