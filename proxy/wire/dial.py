"""
Makes connections: the name looked up, the addresses tried, TLS.

Rule 1: a connection goes out from the address that the place names; one of another address never stands in for it.
Rule 2: of a name's addresses the next is tried when the one before has not answered soon, of either kind in turn (RFC 8305).
Rule 3: certificates are checked, always. A TLS session is taken up again where its server gave a ticket, and only from the
        address that it was given to: else the two would be known to be one.
Rule 4: nothing of the environment changes where a connection goes: no proxy is used.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeAlias, TypeVar

from aiohappyeyeballs import AddrInfoType, addr_to_addr_infos, start_connection

from proxy.value import value_type
from proxy.wire.connection import Connection, NotSent
from proxy.wire.request import Origin

DNS_SECONDS = 60.0  # an upstream that moves is followed within a minute
NEXT_ADDRESS_SECONDS = 0.25  # Source: RFC 8305, 5
_FAILED = (
    OSError,
    UnicodeError,
    RuntimeError,
)  # also for a host that is no name; the last is how uvloop says the first


@value_type
class Place:
    """Where a connection leads to, and from. `source_address`: "" is the system's choice."""

    origin: Origin
    source_address: str = ""


Context = TypeVar("Context", bound=ssl.SSLContext)


class Resuming(ssl.SSLContext):
    """A client's context that offers a server the session of the last connection to it."""

    def __init__(self, *_: object) -> None:
        self._sessions: dict[str | bytes | None, ssl.SSLSession] = {}  # by the server's name

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """What event loops call, which know of no sessions."""
        known = self._sessions.get(server_hostname)
        return super().wrap_bio(incoming, outgoing, server_side, server_hostname, session or known)

    def remember(self, name: str, tls: ssl.SSLObject) -> None:
        """After an answer was read: with TLS 1.3 tickets come behind the handshake."""
        session = tls.session
        if session is not None and session.has_ticket:
            self._sessions[name] = session


def strict(kind: type[Context]) -> Context:
    """A client's context as `ssl.create_default_context` makes one, which knows of no class but its own; it trusts nobody."""
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    return context


def verified() -> Resuming:
    """One that trusts the system's authorities."""
    context = strict(Resuming)
    context.load_default_certs()
    return context


Resolve: TypeAlias = Callable[[str, int, socket.AddressFamily], Awaitable[Sequence[AddrInfoType]]]


async def resolved(host: str, port: int, family: socket.AddressFamily) -> Sequence[AddrInfoType]:
    return await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)


@dataclass(slots=True)
class _Found:
    addresses: Sequence[AddrInfoType] = ()
    until: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # so that many who ask at once ask once


class Dialer:
    def __init__(
        self,
        new_context: Callable[[], Resuming] = verified,
        resolve: Resolve = resolved,
        *,
        dns_seconds: float = DNS_SECONDS,
    ) -> None:
        self._new_context, self._resolve, self._dns_seconds = new_context, resolve, dns_seconds
        self._contexts: dict[str, Resuming] = {}  # by source address
        self._found: dict[tuple[str, int, socket.AddressFamily], _Found] = {}

    async def dial(self, place: Place, make: Callable[[], Connection]) -> Connection:
        """Raises NotSent, with its cause. How long it may take is the caller's to limit."""
        origin, tls = place.origin, self._context(place) if place.origin.is_tls else None
        loop = asyncio.get_running_loop()
        try:
            connected = await start_connection(
                await self._addresses(place),
                local_addr_infos=addr_to_addr_infos((place.source_address, 0)) if place.source_address else None,
                happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
                interleave=1,
                loop=loop,
            )
            try:
                _, connection = await loop.create_connection(
                    make, sock=connected, ssl=tls, server_hostname=origin.host if tls else None
                )
            except BaseException:
                connected.close()
                raise
        except _FAILED as failure:
            self._found.pop(_asked_for(place), None)  # it may have moved
            raise NotSent from failure
        return connection

    def remember(self, place: Place, connection: Connection) -> None:
        """Keep what lets the next connection to the same place begin sooner."""
        if connection.tls is not None:
            self._context(place).remember(place.origin.host, connection.tls)

    def _context(self, place: Place) -> Resuming:
        if place.source_address not in self._contexts:
            self._contexts[place.source_address] = self._new_context()
        return self._contexts[place.source_address]

    async def _addresses(self, place: Place) -> Sequence[AddrInfoType]:
        loop, asked = asyncio.get_running_loop(), _asked_for(place)
        found = self._found.setdefault(asked, _Found())
        async with found.lock:
            if loop.time() >= found.until:
                found.addresses = await self._resolve(*asked)
                found.until = loop.time() + self._dns_seconds
        return found.addresses


def _asked_for(place: Place) -> tuple[str, int, socket.AddressFamily]:
    """Of the kind of its own address, so that a host with both kinds is reached by the one that we have."""
    family = socket.AF_UNSPEC
    if place.source_address:
        family = socket.AF_INET if ip_address(place.source_address).version == 4 else socket.AF_INET6
    return place.origin.host, place.origin.port, family
