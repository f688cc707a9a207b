"""Those who take a place and do nothing with it: five thousand who never finish a head, a thousand who do not read."""

from __future__ import annotations

import asyncio
import socket
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import wire
from bench.faults.house import House, inside
from bench.faults.plan import Plan
from bench.machine import memory
from bench.program import ROOT, Program, free_port, python, running
from bench.report import Claim, Figure
from bench.samples import quantile

SLOW = 5000
PLACES = 8000  # where there is room for all of them
ASKED, PER_SECOND = 600, 40.0
STALLED = 1000
STALLED_SECONDS = 15.0
MOST_ADDED_MB = 100.0
READY_SECONDS = 120.0
ANSWER_SECONDS = 10.0

HOW_SLOW = f"""{SLOW:,} connections, each a byte of its head every four seconds, and at once again when it is
sent away (after `head_seconds`, 10 s). Beside them {ASKED} requests at {PER_SECOND:.0f} a second, one half on
one connection, the other half each on a new one; *quiet* is the same before and after. All come from this
machine, for which there is no limit per address; an attacker from one other address has 256 places. *With
places for all* is `connections = {PLACES:,}`: what the slow ones cost those who are in. *With the default of
4,000* all places are taken, and whoever comes new is told so (503, Retry-After)."""

HOW_STALLED = f"""{STALLED:,} streams whose callers read nothing, from an upstream that writes as fast as it is
read, for {STALLED_SECONDS:.0f} s. Resident memory (RSS) is the daemon's; what the kernel holds in sockets is
not its own."""


@dataclass(slots=True)
class Times:
    """In milliseconds."""

    kept: list[float] = field(default_factory=list)  # on a connection that was there
    new: list[float] = field(default_factory=list)
    turned_away: int = 0


async def measure_slow(plan: Plan) -> Figure:
    rows, quiet_p99 = [], 0.0
    async with _upstream(plan.folder, "bench.stub") as upstream:
        house = House(_folder(plan, "slow"), _url(upstream), limits=f"connections = {PLACES}")
        async with inside(house):
            await house.start()
            async with _Kept(house.port) as kept:
                await _ask(kept, house.port, plan.of(ASKED) // 4)  # warm
                before = await _ask(kept, house.port, plan.of(ASKED))
                async with _crowd(house.port, plan.of(SLOW)):
                    under = await _ask(kept, house.port, plan.of(ASKED))
                    resident = memory(house.pid).resident
                after = await _ask(kept, house.port, plan.of(ASKED))
        quiet = Times(before.kept + after.kept, before.new + after.new)
        rows += [_row("quiet", quiet), _row("with places for all", under)]
        house = House(_folder(plan, "full"), _url(upstream))
        async with inside(house):
            await house.start()
            async with _Kept(house.port) as kept:
                await _ask(kept, house.port, plan.of(ASKED) // 4)
                async with _crowd(house.port, plan.of(SLOW)):
                    full = await _ask(kept, house.port, plan.of(ASKED))
                rows.append(_row("with the default of 4,000", full))
                async with asyncio.timeout(READY_SECONDS):
                    while (late := await _ask(kept, house.port, 4)).turned_away:
                        pass
        rows.append(_row("as soon as they are gone", late))
    every = quiet.kept + quiet.new
    quiet_p99, slow_p99 = quantile(every, 0.99), quantile(under.kept + under.new, 0.99)
    claim = Claim(
        f"slowloris with {plan.of(SLOW):,} connections",
        "other callers' p99 under 2 × quiet",
        f"{slow_p99:.0f} ms, quiet {quiet_p99:.0f} ms: {slow_p99 / quiet_p99:.1f} ×",
        slow_p99 < 2 * quiet_p99,
    )
    how = f"{HOW_SLOW} With {plan.of(SLOW):,} of them the daemon's memory (RSS) was {resident:.0f} MB."
    head = ("ms, p50 / p99", "on a kept connection", "on a new connection", "turned away")
    return Figure("Slow callers", how, head, tuple(rows), (claim,))


async def measure_stalled(plan: Plan) -> Figure:
    readers = plan.of(STALLED)
    async with _upstream(plan.folder, "bench.faults.flood") as upstream:
        house = House(_folder(plan, "stalled"), _url(upstream))
        async with inside(house):
            await house.start()
            await asyncio.sleep(1.0)
            before, files_before = memory(house.pid), _open_files(house)
            with ExitStack() as stack:
                for _ in range(readers):
                    stack.enter_context(await _stalled(house.port))
                async with asyncio.timeout(READY_SECONDS):
                    while _open_files(house) < files_before + 2 * readers:
                        await asyncio.sleep(0.1)
                most, end = 0.0, time.monotonic() + STALLED_SECONDS
                while time.monotonic() < end:
                    await asyncio.sleep(0.5)
                    most = max(most, memory(house.pid).resident)
                held = _open_files(house)
            async with asyncio.timeout(READY_SECONDS):
                while _open_files(house) > files_before + 2:
                    await asyncio.sleep(0.1)
            after = memory(house.pid)
    added = most - before.resident
    rows = (
        ("before", f"{before.resident:.0f} MB", f"{files_before:,}"),
        (f"{readers:,} readers stalled, at most", f"{most:.0f} MB", f"{held:,}"),
        ("after they left", f"{after.resident:.0f} MB", f"{_shown_files(files_before)}"),
    )
    claim = Claim(
        f"{readers:,} readers stalled against a fast upstream",
        f"under {MOST_ADDED_MB:.0f} MB more memory",
        f"{added:.0f} MB more, {added / readers * 1e3:.0f} KB each",
        added < MOST_ADDED_MB,
    )
    return Figure("Readers who do not read", HOW_STALLED, ("", "memory", "open files"), rows, (claim,))


def _shown_files(files_before: int) -> str:
    return f"{files_before:,} again"


def _folder(plan: Plan, name: str) -> Path:
    folder = plan.folder / name
    folder.mkdir()
    return folder


def _url(upstream: Program) -> str:
    return f"http://127.0.0.1:{upstream.port}/v1"


@asynccontextmanager
async def _upstream(folder: Path, module: str) -> AsyncIterator[Program]:
    port = free_port()
    arguments = python("-m", module, "--port", str(port))
    async with running(module, arguments, port=port, core=None, folder=folder) as upstream:
        yield upstream


@asynccontextmanager
async def _crowd(port: int, count: int) -> AsyncIterator[None]:
    arguments = python("-m", "bench.faults.slow", "--port", str(port), "--count", str(count))
    process = await asyncio.create_subprocess_exec(*arguments, stdin=PIPE, stdout=PIPE, cwd=ROOT)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(READY_SECONDS):
            await process.stdout.readline()
        yield
    finally:
        await process.communicate(b"\n")


class _Kept:
    """A caller's connection that stays."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> _Kept:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def ask(self) -> float:
        """Milliseconds. Raises ValueError when it is refused, OSError when there is no answer."""
        began, end = time.monotonic(), wire.AnswerEnd()
        self.writer.write(wire.request(stream=False))
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                data = await self.reader.read(65_536)
                if not data:
                    raise ConnectionError
                if end.feed(data):
                    return (time.monotonic() - began) * 1e3


async def _ask(kept: _Kept, port: int, count: int) -> Times:
    times, loop = Times(), asyncio.get_running_loop()
    began = loop.time()
    for number in range(count):
        await asyncio.sleep(began + number / PER_SECOND - loop.time())
        if number % 2:
            times.kept.append(await kept.ask())
            continue
        asked = time.monotonic()
        try:
            async with _Kept(port) as new:
                await new.ask()
                times.new.append((time.monotonic() - asked) * 1e3)
        except (OSError, ValueError):
            times.turned_away += 1
    return times


async def _stalled(port: int) -> socket.socket:
    """A caller who has asked for a stream and reads none of it."""
    loop = asyncio.get_running_loop()
    caller = socket.socket()
    caller.setblocking(False)
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await loop.sock_connect(caller, ("127.0.0.1", port))
    await loop.sock_sendall(caller, wire.request(stream=True))
    return caller


def _open_files(house: House) -> int:
    return len(list(Path(f"/proc/{house.pid}/fd").iterdir()))


def _row(name: str, times: Times) -> tuple[str, ...]:
    def shown(samples: list[float]) -> str:
        return f"{quantile(samples, 0.5):.1f} / {quantile(samples, 0.99):.1f}" if samples else ""

    return name, shown(times.kept), shown(times.new), str(times.turned_away)
