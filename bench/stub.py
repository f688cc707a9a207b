"""
An upstream that does as little as an answer takes, a program of its own: `python -m bench.stub --port 9000`.

Rule 1: of a request it reads where it ends and whether it wants a stream; the question only where it has to think about it. A
        plain request that is the last one again, byte for byte, is not read again.
Rule 2: no two answers are the same: their heads vary as the real ones do, and are made beforehand, anew every second.
Rule 3: a model that thinks answers with the question, and counts it: `GET /asked` tells how often each came.
Rule 4: with `--held` a stream stops after its first event until SIGUSR1, so that it can be looked at while it is open; then it
        ends, or with `--endless` goes on until its caller leaves. Endless ones share a few clocks: a thousand with fifty events
        a second each would else be bound by timers.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import signal
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from bench import wire

EVENT_SECONDS = 0.001  # between two events of a stream, unless it is told otherwise
HEADS = 512  # made beforehand
CLOCKS = 20

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAMS = re.compile(rb'"stream": ?true')
_ANSWER, _STREAM_END = wire.answer(), wire.stream_end()


@dataclass(slots=True)
class Play:
    """What the stub does, and what all its connections share."""

    think_seconds: float = 0.0
    event_seconds: float = EVENT_SECONDS
    is_endless: bool = False
    is_held: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    held: list[Stub] = field(default_factory=list)
    answers: Iterator[bytes] = field(init=False)
    stream_heads: Iterator[bytes] = field(init=False)

    def make_heads(self) -> None:
        now, loop = time.time(), asyncio.get_running_loop()
        first = int(now) * HEADS
        numbers = range(first, first + HEADS)
        self.answers = itertools.cycle([wire.answer_head(number, now) + _ANSWER for number in numbers])
        self.stream_heads = itertools.cycle([wire.stream_head(number, now) for number in numbers])
        loop.call_later(1.0, self.make_heads)

    def release(self) -> None:
        held, self.held = self.held, []
        if self.is_endless:
            for number in range(CLOCKS):
                delay = number * self.event_seconds / CLOCKS
                asyncio.get_running_loop().call_later(delay, self._strike, held[number::CLOCKS])
            return
        for stream in held:
            stream.write(_STREAM_END)

    def _strike(self, streams: list[Stub]) -> None:
        if still_open := [stream for stream in streams if stream.is_open]:
            asyncio.get_running_loop().call_later(self.event_seconds, self._strike, still_open)
        for stream in still_open:
            stream.write(wire.event_now())


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._kept, self._plain = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._later = asyncio.get_running_loop().call_later

    def data_received(self, data: bytes) -> None:
        if data == self._plain and not self._kept:
            self._transport.write(next(self._play.answers))
            return
        self._kept = self._kept + data if self._kept else data
        head, blank, rest = self._kept.partition(b"\r\n\r\n")
        if not blank:
            return
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        whole, self._kept = self._kept, b""  # nobody here sends a second request before the answer to the first
        play = self._play
        if head.startswith(b"GET /asked "):
            self.write(wire.answer_head(0, time.time()) + wire.document(play.asked))
        elif play.think_seconds:
            question = json.loads(rest)["messages"][-1]["content"]
            play.asked[question] += 1
            self._later(play.think_seconds, self.write, next(play.stream_heads) + wire.event(question) + _STREAM_END)
        elif _STREAMS.search(rest):
            self.write(next(play.stream_heads) + wire.event_now())
            if play.is_held:
                play.held.append(self)
            else:
                self._later(play.event_seconds, self._go_on, wire.EVENTS - 1)
        else:
            self._plain = whole
            self.write(next(play.answers))

    def _go_on(self, events: int) -> None:
        self.write(wire.event_now() if events else _STREAM_END)
        if events and self.is_open:
            self._later(self._play.event_seconds, self._go_on, events - 1)

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if self.is_open:
            self._transport.write(data)


async def _serve(port: int, play: Play, tls: ssl.SSLContext | None) -> None:
    play.make_heads()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, play.release)
    server = await loop.create_server(lambda: Stub(play), "127.0.0.1", port, backlog=4096, ssl=tls)
    async with server:
        await server.serve_forever()


def _tls(certificate: Path | None) -> ssl.SSLContext | None:
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--think-seconds", type=float, default=0.0)
    parser.add_argument("--event-seconds", type=float, default=EVENT_SECONDS)
    parser.add_argument("--endless", action="store_true", help="with --held")
    parser.add_argument("--held", action="store_true")
    parser.add_argument("--certificate", type=Path, help="PEM, with its key; without one, plain http")
    options = parser.parse_args()
    play = Play(options.think_seconds, options.event_seconds, options.endless, options.held)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options.port, play, _tls(options.certificate)))
