"""
The one place that makes HTTP client sessions: one for each address of this server that connections go out from.

Rule 1: a session adds nothing of its own to a request: no cookie, no header, no credential from the environment.
Rule 2: a body is passed on as it came, so that bytes and `Content-Encoding` agree.
Rule 3: there is no limit for a whole answer, since a stream may take an hour; whoever asks limits the silence between two
        reads (`ClientTimeout(sock_read=…)`), and asks with `allow_redirects=False`: a redirect would take the key along.
Rule 4: a connection belongs to one address: those of another are never used in its place, not even towards the same host.
Rule 5: the session for what strangers name connects to the public Internet alone. It looks at the very address that a socket is
        about to be made for: whatever the URL said, and whatever the name stood for a moment ago, nothing goes round that look.
Rule 6: certificates are checked, always, against the system's authorities.
"""

from __future__ import annotations

import errno
import socket
import ssl
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Self

import structlog
from aiohttp import (
    AddrInfoType,
    BaseConnector,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    UnixConnector,
)

from daemon.addresses import Address, parsed
from proxy.key import Upstream
from proxy.wire.dial import strict

log = structlog.get_logger()

KEEPALIVE_SECONDS = 15  # an idle connection that the upstream closes first would cost the next request
DNS_SECONDS = 60  # an upstream that moves is followed within a minute
CONNECT_SECONDS = 10  # where whoever asks sets no time of its own
PUBLIC_CONNECTIONS = 16  # at once; each may carry as much as a picture has bytes
LINE_BYTES = 16384  # of an answer's head; twice what we take from callers, since a CDN may write what it likes

IN_USE = IPv6Network("2000::/3")  # all that has been given out. Source: IANA, IPv6 Global Unicast Address Assignments
TRANSLATED = IPv6Network("64:ff9b::/96")  # an IPv4 address stands at its end (NAT64). Source: RFC 6052


class Sessions:
    """`async with Sessions() as sessions:` closes at the end what was opened inside, also for settings that are gone since."""

    def __init__(self) -> None:
        self._sessions: dict[str, ClientSession] = {}  # by source address; "" is the system's choice

    def towards(self, upstream: Upstream) -> ClientSession:
        """The session for `upstream`, opened when it is asked for first."""
        address = upstream.source_address
        if address not in self._sessions:
            self._sessions[address] = open_session(address)
            if trouble := trouble_with(address):
                # Not the end of the daemon: the address may come up later, and other upstreams do not need it.
                log.error("source_address.refused", upstream=upstream.name, address=address, reason=trouble)
        return self._sessions[address]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()


def open_session(source_address: str = "") -> ClientSession:
    """To be closed by whoever asks. How many requests run at once is the pool's decision, so there is no limit."""
    connector = TCPConnector(
        limit=0,
        keepalive_timeout=KEEPALIVE_SECONDS,
        ttl_dns_cache=DNS_SECONDS,
        family=_family(source_address),
        local_addr=(source_address, 0) if source_address else None,
        ssl=_verified(),
    )
    return _session(connector)


def open_public_session(*, allow_loopback: bool = False) -> ClientSession:
    """For addresses that strangers name; the demo and tests allow this machine. To be closed by whoever asks."""

    def made(info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, place = info
        address = parsed(str(place[0]))
        if address is None or not (is_public(address) or (allow_loopback and address.is_loopback)):
            raise PermissionError(errno.EACCES, "not an address of the public Internet")
        return socket.socket(family, kind, protocol)

    connector = TCPConnector(
        limit=PUBLIC_CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS, socket_factory=made, ssl=_verified()
    )
    return _session(connector)


def open_unix_session(path: str) -> ClientSession:
    """To the unix socket at `path`, whatever the URL says. To be closed by whoever asks."""
    return _session(UnixConnector(path=path))


def is_public(address: Address) -> bool:
    """Whether somebody on the Internet has it. An address that stands for one of the other kind is no more than that one."""
    if isinstance(address, IPv6Address):
        if address in TRANSLATED:
            return is_public(IPv4Address(address.packed[-4:]))
        return address in IN_USE and address.is_global and not address.sixtofour
    return address.is_global and not address.is_multicast


class _Verifying(ssl.SSLContext):
    """Reads the authorities as it makes its first connection: 25 ms that a start need not wait for."""

    _has_read = False

    def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
        """What event loops call."""
        if not self._has_read:
            self.load_default_certs()
            self._has_read = True
        return super().wrap_bio(*given, **named)


@cache
def _verified() -> _Verifying:
    """One for all sessions."""
    return strict(_Verifying)


def _session(connector: BaseConnector) -> ClientSession:
    return ClientSession(
        connector=connector,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=ClientTimeout(total=None, connect=CONNECT_SECONDS),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
    )


def trouble_with(address: str) -> str:
    """Why connections cannot go out from `address` now, "" where they can."""
    if not address:
        return ""
    try:
        with socket.socket(_family(address), socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return "this machine does not have that address; `ip address` lists those it has"
        return str(error.strerror)
    return ""


def _family(address: str) -> socket.AddressFamily:
    """The kind of address an upstream needs, so that one with both kinds is reached by the one that we have."""
    if not address:
        return socket.AF_UNSPEC
    return socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
