"""
The way to a place: its name, a connection, TLS, and what it says without a key.

Rule 1: a step is taken only where the one before it succeeded, so that one fault is told once.
Rule 2: nothing that is asked here carries a key, a token or a password, and no redirect is followed.
Rule 3: a step ends in time, also where the system's resolver does not: its thread is left behind, and holds up nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from ipaddress import ip_address

from aiohttp import ClientResponse, ClientSession, ClientTimeout
from yarl import URL

from daemon.doctor.facts import Exit, Failure, Life, Place, Role, Step, Way
from daemon.doctor.patience import USUAL
from daemon.doctor.troubles import FAILED, in_words

TRACE = "/cdn-cgi/trace"  # on every host behind Cloudflare: who asks, and from which country
TRACE_BYTES = 4_096


async def along(
    place: Place,
    session: ClientSession,
    *,
    context: ssl.SSLContext,
    clock: Callable[[], float] = time.time,
    seconds: float = USUAL.step,
) -> Way:
    """Never raises for what the network does. `clock` is this machine's, epoch seconds; a step takes at most `seconds`."""
    way = Way(place)
    began = time.monotonic()
    try:
        async with asyncio.timeout(seconds):
            addresses = await lookup(place.host, place.port, _family(place.source_address))
    except (OSError, TimeoutError) as failure:
        return replace(way, failure=Failure(Step.NAME, in_words(failure)))
    way = replace(way, addresses=addresses, lookup_seconds=time.monotonic() - began)
    try:
        async with asyncio.timeout(seconds):
            way = replace(way, certificate=await _shaken_hands(place, context))
    except (OSError, TimeoutError) as failure:
        step = Step.TLS if isinstance(failure, ssl.SSLError) else Step.CONNECT
        return replace(way, failure=Failure(step, in_words(failure)))
    if place.role is Role.UPSTREAM:
        with contextlib.suppress(*FAILED):  # a place without a plain answer is none the worse for it
            return await _greeted(way, session, context, clock, seconds)
    return way


async def lookup(host: str, port: int, family: int = socket.AF_UNSPEC) -> tuple[str, ...]:
    """Raises OSError."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def settle(addresses: tuple[str, ...], failure: OSError | None) -> None:
        if found.done():  # whoever waited has left
            return
        if failure is None:
            found.set_result(addresses)
        else:
            found.set_exception(failure)

    def work() -> None:
        addresses: tuple[str, ...] = ()
        failure: OSError | None = None
        try:
            infos = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(info[4][0]) for info in infos))
        except OSError as error:
            failure = error
        except UnicodeError:  # no name at all, such as "a..b"
            failure = socket.gaierror()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the answer came too late for anybody
            loop.call_soon_threadsafe(settle, addresses, failure)

    # Not one of the loop's own threads: at its end it would wait for them, as long as the resolver pleases.
    threading.Thread(target=work, name=f"lookup of {host}", daemon=True).start()
    return await found


async def body_of(response: ClientResponse, most: int) -> bytes:
    """Its first bytes. Raises FAILED."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) >= most:
            break
    return bytes(body[:most])


async def _shaken_hands(place: Place, context: ssl.SSLContext) -> Life | None:
    """Of the certificate; None without TLS. Raises OSError."""
    is_https = place.scheme == "https"
    _, writer = await asyncio.open_connection(
        place.host,
        place.port,
        ssl=context if is_https else None,
        local_addr=(place.source_address, 0) if place.source_address else None,
        family=_family(place.source_address),
    )
    try:
        if not is_https:
            return None
        certificate = writer.get_extra_info("ssl_object").getpeercert()
        begins_at, ends_at = (ssl.cert_time_to_seconds(certificate[name]) for name in ("notBefore", "notAfter"))
        return Life(begins_at, ends_at)
    finally:
        writer.transport.abort()  # nothing was said, so nothing needs an orderly end


async def _greeted(
    way: Way, session: ClientSession, context: ssl.SSLContext, clock: Callable[[], float], seconds: float
) -> Way:
    """With what the place says of the time and of us. Raises FAILED."""
    url = URL(way.place.base).origin().with_path(TRACE)
    timeout, asked_at = ClientTimeout(total=seconds), clock()
    async with session.get(url, ssl=context, allow_redirects=False, timeout=timeout) as response:
        answered_at = clock()
        body = await body_of(response, TRACE_BYTES) if response.status == 200 else b""
    ahead = _ahead(response, (asked_at + answered_at) / 2)
    within = (answered_at - asked_at) / 2 + 0.5
    return replace(way, ahead_seconds=ahead, within_seconds=within, exit=_exit(response, body))


def _ahead(response: ClientResponse, now: float) -> float | None:
    """How far `now` is before the moment in the header Date, which is cut to whole seconds."""
    try:
        said = parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):  # the last: a year, or a zone, of twenty digits
        return None
    return now - (said + 0.5)


def _exit(response: ClientResponse, body: bytes) -> Exit:
    said = dict(line.partition("=")[::2] for line in body.decode("ascii", "replace").splitlines())
    _, _, site = response.headers.get("CF-RAY", "").rpartition("-")
    return Exit(
        address=_address(said.get("ip", "")),
        country=country if (country := said.get("loc", "")).isalnum() and len(country) == 2 else "",
        site=site if site.isalpha() and len(site) == 3 else "",
    )


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def _family(source_address: str) -> socket.AddressFamily:
    """An address reaches its own kind alone."""
    if not source_address:
        return socket.AF_UNSPEC
    return socket.AF_INET6 if ":" in source_address else socket.AF_INET
