"""
The doors of this machine: what answers where the daemon should listen, and at the port where the world comes in.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import ClientConnectorError, ClientSession, ClientTimeout
from yarl import URL

from daemon.doctor.facts import Door, DoorFact, Place
from daemon.doctor.network import body_of
from daemon.doctor.patience import USUAL
from daemon.doctor.troubles import FAILED
from daemon.listeners import can_speak_tls

HEADER_CHARACTERS = 60
HEALTHY = b"ok\n"
DOOR_OF_ERROR = {
    errno.ECONNREFUSED: Door.CLOSED,
    errno.ENOENT: Door.CLOSED,
    errno.EACCES: Door.FORBIDDEN,
    errno.EADDRNOTAVAIL: Door.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Site:
    """Where the daemon is reached: `base` is a URL for `session`, and `context` says whose certificates are believed there."""

    base: str
    session: ClientSession = field(repr=False)
    context: ssl.SSLContext = field(repr=False)


async def knock(
    address: str, site: Site, *, is_configured: bool = True, host: str = "", seconds: float = USUAL.knock
) -> DoorFact:
    """`address` is as in `server.listen`; `host` is the name asked for. Never raises for what the network does."""
    try:
        async with site.session.get(
            URL(site.base) / "healthz",
            headers={"Host": host} if host else {},
            ssl=site.context,
            server_hostname=host or None,
            allow_redirects=False,
            timeout=ClientTimeout(total=seconds),
        ) as response:
            is_ours = response.status == 200 and await body_of(response, len(HEALTHY) + 1) == HEALTHY
            server = response.headers.get("Server", "")[:HEADER_CHARACTERS]
            door = Door.OURS if is_ours else Door.ANOTHER
            return DoorFact(address, is_configured, door, server=server, status=response.status)
    except ClientConnectorError as failure:
        return DoorFact(address, is_configured, DOOR_OF_ERROR.get(failure.os_error.errno or 0, Door.SILENT))
    except FAILED:
        return DoorFact(address, is_configured, Door.SILENT)


def base_of(address: str, *, has_certificate: bool = False) -> str:
    """Where a program on this machine reaches what listens on `address`; "" for a port that the system chooses."""
    if address.startswith("unix:"):
        return "http://localhost"
    scheme = "https" if has_certificate and can_speak_tls(address) else "http"
    host, _, port = address.rpartition(":")
    if port == "0":
        return ""
    here = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"{scheme}://{here}:{port}"


def entrance(public: Place | None, listen: Sequence[str]) -> tuple[str, str]:
    """Address and URL where the world's requests arrive on this machine, "" where the daemon itself listens there."""
    scheme, port = (public.scheme, public.port) if public else ("http", 80)
    if any(address.rpartition(":")[2] == str(port) for address in listen):
        return "", ""
    return f"127.0.0.1:{port}", f"{scheme}://127.0.0.1:{port}"
