"""
An upstream that does as little as an answer takes, a program of its own: `python -m bench.stub --port 9000`.

Rule 1: of a request it reads where it ends and whether it wants a stream; the question only where it has to think about it.
Rule 2: a model that thinks answers with the question, and counts it: `GET /asked` tells how often each came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from collections import Counter
from typing import cast

import uvloop

from bench import wire

EVENT_SECONDS = 0.001  # between two events of a stream, unless it is told otherwise

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAMS = re.compile(rb'"stream": ?true')
_ANSWER, _STREAM_HEAD, _STREAM_END = wire.answer(), wire.stream_head(), wire.stream_end()


class Stub(asyncio.Protocol):
    """One connection. `asked` is everybody's."""

    def __init__(self, think_seconds: float, event_seconds: float, asked: Counter[str]) -> None:
        self._think_seconds, self._event_seconds = think_seconds, event_seconds
        self._asked = asked
        self._kept = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._later = asyncio.get_running_loop().call_later

    def data_received(self, data: bytes) -> None:
        self._kept += data
        head, blank, rest = self._kept.partition(b"\r\n\r\n")
        if not blank:
            return
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        self._kept = b""  # nobody here sends a second request before the answer to the first
        if head.startswith(b"GET /asked "):
            self._write(wire.document(self._asked))
        elif self._think_seconds:
            question = json.loads(rest)["messages"][-1]["content"]
            self._asked[question] += 1
            self._later(self._think_seconds, self._write, _STREAM_HEAD + wire.event(question) + _STREAM_END)
        elif _STREAMS.search(rest):
            self._write(_STREAM_HEAD + wire.event(str(time.monotonic_ns())))
            self._later(self._event_seconds, self._go_on, wire.EVENTS - 1)
        else:
            self._write(_ANSWER)

    def _go_on(self, events: int) -> None:
        self._write(wire.event(str(time.monotonic_ns())) if events else _STREAM_END)
        if events:
            self._later(self._event_seconds, self._go_on, events - 1)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


async def _serve(port: int, think_seconds: float, event_seconds: float) -> None:
    asked: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Stub(think_seconds, event_seconds, asked), "127.0.0.1", port, backlog=4096
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--think-seconds", type=float, default=0.0)
    parser.add_argument("--event-seconds", type=float, default=EVENT_SECONDS)
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options.port, options.think_seconds, options.event_seconds))
