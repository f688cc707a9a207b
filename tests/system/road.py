"""
The only way out of a machine of `machine.py`: an HTTP proxy on its loopback that apt and pip are told of.

It listens in the machine's network and connects from this one, in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from urllib.parse import urlsplit

from tests.system.machine import Machine

PIECE = 65536


class Road:
    """Open from the boot on; after a power cut it must be opened again."""

    def __init__(self, machine: Machine, port: int = 3128) -> None:
        self._machine = machine
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="road")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def open(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()  # before the network is entered: a thread begins where its maker is
        with self._machine.network():
            listener = socket.create_server(("127.0.0.1", self._port))
        asyncio.run_coroutine_threadsafe(self._open(listener), self._loop).result(10)

    async def _open(self, listener: socket.socket) -> None:
        self._server = await asyncio.start_server(self._serve, sock=listener)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with (
            contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError),
            contextlib.closing(writer),
        ):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, version = head.split(b"\r\n", 1)[0].decode().split(" ")
            if method == "CONNECT":
                host, _, port = target.rpartition(":")
            else:
                parts = urlsplit(target)
                host, port = parts.hostname or "", str(parts.port or 80)
                path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
                lines = [
                    line
                    for line in head.split(b"\r\n")[1:-2]
                    if not line.lower().startswith((b"connection", b"proxy-"))
                ]
                head = b"\r\n".join([f"{method} {path} {version}".encode(), *lines, b"Connection: close", b"", b""])
            there, towards = await asyncio.open_connection(host, int(port))
            with contextlib.closing(towards):
                if method == "CONNECT":
                    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    towards.write(head)
                await asyncio.gather(_pour(reader, towards), _pour(there, writer))


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(PIECE):
        target.write(piece)
        await target.drain()
    with contextlib.suppress(OSError):
        target.write_eof()
