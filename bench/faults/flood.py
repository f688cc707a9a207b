"""
An upstream that streams as fast as it is read, without end, a program of its own: `python -m bench.faults.flood --port 9000`.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

import uvloop

from bench import wire

PIECE = wire.event("word " * 800) * 4  # 17 KB


class Flood(asyncio.Protocol):
    def __init__(self) -> None:
        self._is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._is_asked = False

    def data_received(self, data: bytes) -> None:
        if not self._is_asked:
            self._is_asked = True
            self._transport.write(wire.stream_head())
            self._go_on()

    def pause_writing(self) -> None:
        self._is_open = False

    def resume_writing(self) -> None:
        self._is_open = True
        self._go_on()

    def _go_on(self) -> None:
        if self._is_open and not self._transport.is_closing():
            self._transport.write(PIECE)
            asyncio.get_running_loop().call_soon(self._go_on)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_open = False


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Flood, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(parser.parse_args().port))
