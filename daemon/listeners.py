"""
The sockets we listen on: opened by ourselves, or handed in by systemd.

Rule 1: an address of the configuration that a socket from systemd serves already is not opened again.
Rule 2: whatever stands in the way is one sentence that says what to do.
Rule 3: with a certificate, every TCP listener speaks TLS but one on port 80, wherever it came from.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

FIRST_INHERITED = 3  # SD_LISTEN_FDS_START. Source: sd_listen_fds(3)
PLAIN_PORT = 80  # it is for http everywhere
MOST_THOUSANDTHS = 2**31 - 1  # of a second that an option of the kernel's holds: 24 days
BACKLOG = 1024  # a second of a thousand subscribers; the kernel lowers it to net.core.somaxconn

# By error: what is the matter, and what to do about it.
TROUBLES = {
    errno.EADDRINUSE: ("another program listens there", "stop it (`ss -ltnp` names it) or change server.listen"),
    errno.EACCES: (
        "only root may take a port below 1024",
        "let posthouse.socket open it (ListenStream=), or run as root, or put nginx or Caddy in front",
    ),
    errno.EADDRNOTAVAIL: ("this machine does not have that address", "0.0.0.0 and [::] stand for all it has"),
    errno.EAFNOSUPPORT: ("this machine has no such kind of address", "is IPv6 switched off?"),
}
UNIX_TROUBLES = {
    errno.ENOENT: ("its folder does not exist", "create it or change server.listen"),
    errno.EACCES: ("not permitted", "let the service's user own the folder or change server.listen"),
    errno.EADDRINUSE: (
        "another program listens there, or the file is no socket",
        "remove it or change server.listen",
    ),
}


class CannotListen(Exception):
    def __init__(self, address: str, reason: str, advice: str = "") -> None:
        super().__init__(address, reason, advice)
        self.address = address
        self.reason = reason
        self.advice = advice

    def __str__(self) -> str:
        return f"cannot listen on {self.address}: {self.reason}{'; ' if self.advice else ''}{self.advice}"


def inherited_sockets(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """What systemd handed in. Takes its variables out of `environ`, so that a child process does not believe them."""
    names = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    pid, count, _ = (environ.pop(name, "") for name in names)
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    sockets = [socket.socket(fileno=FIRST_INHERITED + number) for number in range(int(count))]
    for inherited in sockets:
        inherited.set_inheritable(False)
    return sockets


async def open_sockets(listen: Sequence[str], inherited: Sequence[socket.socket] = ()) -> list[socket.socket]:
    """`inherited` first, then those of `listen` that they do not serve. Raises CannotListen, and closes all then."""
    opened: list[socket.socket] = []
    try:
        for address in listen:
            if any(serves(listener, address) for listener in inherited):
                continue
            opened.append(_open_unix(address) if address.startswith("unix:") else await _open_tcp(address))
    except CannotListen:
        for listener in (*inherited, *opened):
            listener.close()
        raise
    return [*inherited, *opened]


def name_of(listener: socket.socket) -> str:
    """As in `server.listen`, with the port that was really bound."""
    if listener.family == socket.AF_INET:
        return "{}:{}".format(*listener.getsockname())
    if listener.family == socket.AF_INET6:
        return "[{}]:{}".format(*listener.getsockname())
    return f"unix:{listener.getsockname()}"


def can_speak_tls(name: str) -> bool:
    """
    Whether the listener of this name speaks TLS as soon as there is a certificate. What comes through a unix socket comes from
    a reverse proxy, which has ended TLS; and port 80 can then stay beside 443.
    """
    return not name.startswith("unix:") and name.rpartition(":")[2] != str(PLAIN_PORT)


def serves(listener: socket.socket, address: str) -> bool:
    """Whether a caller who connects to `address` reaches `listener`."""
    name = name_of(listener)
    if name == address or address.startswith("unix:"):
        return name == address
    host, _, port = name.rpartition(":")
    if address.rpartition(":")[2] != port:
        return False
    if host == "[::]":
        return address.startswith("[") or not listener.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return host == "0.0.0.0" and not address.startswith("[")  # noqa: S104 - compared, not bound


def let_go_of_the_silent(listener: socket.socket, seconds: float) -> None:
    """
    The kernel ends a connection whose peer has vanished, or takes nothing of what waits for it, for so long.

    Accepted sockets inherit it. Source: tcp(7), TCP_USER_TIMEOUT; there is none outside Linux.
    """
    if sys.platform == "linux" and listener.family in (socket.AF_INET, socket.AF_INET6):
        thousandths = int(min(seconds * 1000, MOST_THOUSANDTHS))
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, thousandths)


def remove_file(name: str) -> None:
    """Of a unix socket that we opened; one from systemd stays for the next process."""
    if name.startswith("unix:/"):
        Path(name.removeprefix("unix:")).unlink(missing_ok=True)


async def _open_tcp(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or (":" in host) != (host[0] + host[-1] == "[]"):
        raise CannotListen(address, 'expected "HOST:PORT", "[IPV6]:PORT" or "unix:/PATH"')
    if int(port) > 65535:
        raise CannotListen(address, "a port is at most 65535")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, place = found[0]
        # Where it is not named as TCP, asyncio leaves Nagle's algorithm on for whoever is accepted.
        return _bound(socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP), place)
    except socket.gaierror:
        raise CannotListen(address, "no such host; give an address of this machine, or 0.0.0.0 for all") from None
    except OSError as error:
        raise CannotListen(address, *TROUBLES.get(error.errno or 0, (_words(error),))) from None


def _open_unix(address: str) -> socket.socket:
    path = Path(address.removeprefix("unix:"))
    if not hasattr(socket, "AF_UNIX"):
        raise CannotListen(address, "this system has no unix sockets; use HOST:PORT")
    if not path.is_absolute():
        raise CannotListen(address, 'expected a path from the root, as in "unix:/run/posthouse/http.sock"')
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()  # left over by a process that was killed
        listener = _bound(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), str(path))
        path.chmod(0o660)  # a reverse proxy comes in through the group
    except OSError as error:
        raise CannotListen(address, *UNIX_TROUBLES.get(error.errno or 0, (_words(error),))) from None
    return listener


def _bound(listener: socket.socket, place: tuple[Any, ...] | str) -> socket.socket:
    try:
        if listener.family == socket.AF_INET6:  # [::] is not 0.0.0.0: both can then be named side by side
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if os.name == "posix":  # elsewhere the option lets two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        return caller.connect_ex(str(path)) == 0


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
