"""
Asks the daemon behind a socket of systemd how it is, for install.sh: standard library only.

    healthz.py SECONDS ADDRESS…     the addresses as `systemctl show -p Listen` prints them

Ends with 0 as soon as `GET /healthz` is 200 on one of them, and says why where `/readyz` is not; with 1 after SECONDS.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from itertools import product

PAUSE_SECONDS = 0.1  # between two attempts
ASK_SECONDS = 5.0  # for one: a request may wait in the backlog while the daemon starts


def places(addresses: list[str]) -> Iterator[tuple[int, tuple[str, int] | str]]:
    """Where a client on this machine reaches what systemd listens on."""
    for address in addresses:
        host, _, port = address.rpartition(":")
        if address.startswith("/"):
            yield socket.AF_UNIX, address
        elif port.isdecimal():
            host = host.strip("[]")
            if host in ("0.0.0.0", "::"):  # noqa: S104 - replaced, not bound
                yield socket.AF_INET, ("127.0.0.1", int(port))
                host = "::1"
            yield (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))


def answer(family: int, place: tuple[str, int] | str, path: str, *, tls: bool) -> tuple[int, str]:
    """Status and body. Raises OSError and HTTPException. Whose certificate it is does not matter here."""
    connection = http.client.HTTPConnection("localhost", timeout=ASK_SECONDS)
    connection.sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.sock.settimeout(ASK_SECONDS)
        connection.sock.connect(place)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection.sock = context.wrap_socket(connection.sock)
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        return response.status, response.read(4096).decode("utf-8", "replace").strip()
    finally:
        connection.close()


def main(seconds: float, addresses: list[str]) -> int:
    end, trouble = time.monotonic() + seconds, "no address to ask"
    while True:
        for (family, place), tls in product(places(addresses), (False, True)):
            try:
                status, body = answer(family, place, "/healthz", tls=tls)
                if status == http.HTTPStatus.OK:
                    status, body = answer(family, place, "/readyz", tls=tls)
                    if status != http.HTTPStatus.OK:
                        sys.stdout.write(f"warning: it serves, but is not ready: {body}\n")
                    return 0
                trouble = f"GET /healthz answered {status}"
            except (OSError, http.client.HTTPException) as error:
                trouble = trouble if tls else f"GET /healthz: {error or type(error).__name__}"
        if time.monotonic() > end:
            sys.stderr.write(f"{trouble}\n")
            return 1
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
