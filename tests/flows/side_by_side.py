"""A daemon with its door and one without it: the same bytes go to both, so that what becomes of them can be compared."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.flows.raw import LANES, Caller, House, Play, Told, chat, house, post

QUIET_TURNS = 40  # of the event loop without a word, and nobody has anything more to say
OF_ONE_ANSWER = re.compile(rb"(?i)\r\n(?:date|x-posthouse-request): [^\r]*")
MALFORMED = b"HTTP/1.0 400"  # so aiohttp begins what it says to a head that it cannot read
NAME = re.compile(rb"(?m)^[^ :\r]+:")
PORT = re.compile(rb"(?<=\r\nHost: 127\.0\.0\.1:)[0-9]+")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What reached the upstream, what the caller heard, and whether its connection is still open."""

    upstream: list[tuple[bytes, bytes]]
    told: list[Told]
    is_open: bool
    was_reset: bool = field(compare=False)

    @property
    def is_malformed(self) -> bool:
        """Whether the end of what was asked was refused; where more came behind it, our last words may be lost."""
        return self.was_reset or any(told.head.startswith(MALFORMED) for told in self.told)

    @property
    def served(self) -> list[Told]:
        return [told for told in self.told if not told.head.startswith(MALFORMED)]


class SideBySide:
    """Both daemons, on an event loop that runs only while `outcomes` waits for them."""

    def __init__(self, runner: asyncio.Runner, houses: list[House]) -> None:
        self._runner, self._houses = runner, houses

    def play(self, play: Play) -> None:
        """What their upstreams do from now on."""
        for at in self._houses:
            at.upstream.play = play

    def outcomes(self, pieces: list[bytes], *, asks: int = 0) -> tuple[Outcome, Outcome]:
        """
        Of the one with its door, and of the one without. Each piece is read before the next one is written.

        `asks`: so many requests reach the upstream at least; for callers with a key of their own, who hold none of ours.
        """
        door, other = (self._runner.run(_outcome(at, pieces, asks)) for at in self._houses)
        return door, other


@contextlib.contextmanager
def side_by_side(folder: Path, **settings: Any) -> Iterator[SideBySide]:
    async def host(houses: list[House], ready: asyncio.Event, end: asyncio.Event) -> None:
        try:
            async with _both(folder, settings) as opened:
                houses += opened
                ready.set()
                await end.wait()
        finally:
            ready.set()

    async def opened() -> tuple[list[House], asyncio.Task[None], asyncio.Event]:
        houses: list[House] = []
        ready, end = asyncio.Event(), asyncio.Event()
        hosting = asyncio.create_task(host(houses, ready, end))  # one task, which closes what it has opened
        await ready.wait()
        for at in houses:
            assert (await at.asked(post(chat("x")))).status == 200  # from here on the upstream's address is known
        return houses, hosting, end

    async def closed(hosting: asyncio.Task[None], end: asyncio.Event) -> None:
        end.set()
        await hosting

    with asyncio.Runner() as runner:
        houses, hosting, end = runner.run(opened())
        yield SideBySide(runner, houses)
        runner.run(closed(hosting, end))


@contextlib.asynccontextmanager
async def _both(folder: Path, settings: dict[str, Any]) -> AsyncIterator[list[House]]:
    async with contextlib.AsyncExitStack() as stack:
        houses = []
        for lane, fast_lane in LANES.items():
            (folder / lane).mkdir()
            houses.append(await stack.enter_async_context(house(folder / lane, fast_lane=fast_lane, **settings)))
        yield houses


async def _outcome(at: House, pieces: list[bytes], asks: int) -> Outcome:
    at.upstream.heard.clear()
    async with at.caller() as caller:
        with contextlib.suppress(ConnectionError):
            await caller.say(*pieces)
        said, is_open, was_reset = await _all_said(at, caller, asks)
    told = await _answers(said)
    await at.nobody_holds_a_key()
    return Outcome([(_comparable(heard.head), heard.body) for heard in at.upstream.heard], told, is_open, was_reset)


async def _all_said(at: House, caller: Caller, asks: int) -> tuple[bytes, bool, bool]:
    """Until the daemon hangs up, or is quiet: what it said, whether the connection is open, and whether it was reset."""
    said, reading, turns = b"", asyncio.ensure_future(caller.reader.read(1 << 20)), 0
    try:
        while turns < QUIET_TURNS:
            await asyncio.sleep(0)
            turns = 0 if at.is_busy or len(at.upstream.heard) < asks else turns + 1
            if reading.done():
                if not (piece := reading.result()):
                    return said, False, False
                said, turns = said + piece, 0
                reading = asyncio.ensure_future(caller.reader.read(1 << 20))
    except ConnectionError:
        return said, False, True
    caller.writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await reading
    return said, True, False


async def _answers(said: bytes) -> list[Told]:
    reader = asyncio.StreamReader(limit=1 << 20)
    reader.feed_data(said)
    reader.feed_eof()
    answers = await Caller(reader, None).all_told()  # type: ignore[arg-type]  # it only listens
    return [Told(told.status, _sorted(told.head), told.body, told.is_whole) for told in answers]


def _sorted(head: bytes) -> bytes:
    """Its lines but those that every answer has anew, in no order, and without the white space around their values."""
    status, *lines = OF_ONE_ANSWER.sub(b"", head).strip().split(b"\r\n")
    pairs = [line.partition(b":") for line in lines]
    return b"\r\n".join([status, *sorted(name + b": " + value.strip() for name, _, value in pairs)])


def _comparable(head: bytes) -> bytes:
    """aiohttp spells the names of headers that it knows in its own way; and the upstreams have different ports."""
    return NAME.sub(lambda name: name[0].lower(), PORT.sub(b"", head))
