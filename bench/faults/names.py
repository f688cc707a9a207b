"""A name server that knows one thing: `localhost` is this machine. On order it says nothing at all."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

ADDRESS = "127.0.9.53"  # nobody else's
RESOLVER = f"nameserver {ADDRESS}\noptions timeout:1 attempts:2\n"
# In a mount namespace of its own a program has this file for the machine's, and no list of hosts.
ALONE = 'mount --bind "$1" /etc/resolv.conf && mount --bind /dev/null /etc/hosts && shift && exec "$@"'
HEADER = struct.Struct("!6H")  # id, flags, and how many questions, answers, others. Source: RFC 1035, 4.1.1
WELL = 0x8180  # an answer without an error
IPV4 = b"\x00\x01"


class Names(asyncio.DatagramProtocol):
    is_silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.is_silent:
            self._transport.sendto(_answer(data), addr)


@asynccontextmanager
async def names() -> AsyncIterator[Names]:
    """Raises PermissionError: only root may."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(Names, (ADDRESS, 53), family=socket.AF_INET)
    try:
        yield server
    finally:
        transport.close()


def asking_here(folder: Path) -> list[str]:
    """What stands before a program that is to ask this server alone."""
    resolver = folder / "resolv.conf"
    resolver.write_text(RESOLVER)
    return ["unshare", "--mount", "sh", "-c", ALONE, "sh", str(resolver)]


def _answer(query: bytes) -> bytes:
    """One address for IPv4, none of any other kind."""
    number, *_ = HEADER.unpack_from(query)
    end = query.index(b"\0", HEADER.size) + 5  # the name ends with an empty label; kind and class follow
    question = query[HEADER.size : end]
    is_for_ipv4 = question[-4:-2] == IPV4
    record = b"\xc0\x0c" + question[-4:] + struct.pack("!IH", 1, 4) + socket.inet_aton("127.0.0.1")
    return HEADER.pack(number, WELL, 1, int(is_for_ipv4), 0, 0) + question + (record if is_for_ipv4 else b"")
