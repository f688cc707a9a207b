"""Those around the daemon: callers who leave, each at another moment, and WeChat's server API that fails."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench import wire
from bench.faults.askers import HOLD_SECONDS, calling, furnished, is_whole, shown
from bench.faults.house import KEYS
from bench.faults.kills import first_answer
from bench.faults.people import Reader
from bench.faults.plan import Plan
from bench.faults.stand import Stand, standing
from bench.faults.trouble import Finding, Trouble
from daemon.demo.refusals import Limited
from daemon.demo.steps import Act, Answer, Call, Hang, Step
from daemon.demo.wechat_steps import Cut, Fault, Scripted

LEAVERS = 20  # at each moment: one half says good-bye (FIN), the other does not (RST)
GONE_SECONDS, WAIT_SECONDS = 1.0, 10.0
LEAVER = "posthouse?"  # how the question of `wire.request` ends, which nobody else asks
SPARE_FILES = 2  # of the caller beside them, who comes and goes too
REST_SECONDS = 3
SLOW_SECONDS = 5.0  # a model that is slower than a reply may be
MEMBERS = 8
AGAIN_AND_AGAIN = 10_000
MOST_TOKENS = 2 * MEMBERS  # each message is refused twice at most

Request = Callable[[Stand], Awaitable[None]]


# --- callers who leave


@dataclass(frozen=True, slots=True)
class ForLeavers:
    """A step: `step` for those who are going to leave, for all others `well`."""

    step: Step
    well: Step

    def play(self, call: Call) -> Iterator[Act]:
        is_leaver = call.asked is not None and LEAVER in call.asked.question
        return (self.step if is_leaver else self.well).play(call)


async def _leave(folder: Path, plan: Plan) -> Finding:
    asked, stream = wire.request(stream=False), wire.request(stream=True)
    endless = Answer("信会送到。" * 100, pieces=100, chunk_seconds=1.0)
    seconds = {}
    async with furnished(folder, plan) as stand, calling(stand) as caller:
        [well] = stand.upstream.script[KEYS[0]]
        await first_answer(stand)
        for what, sent, step in (
            ("within the head", asked[:100], Hang()),
            ("within the body", asked[:-10], Hang()),
            ("before the answer", asked, Hang()),
            ("within a stream", stream, endless),
        ):
            stand.upstream.script |= {key: [ForLeavers(step, well)] for key in KEYS}
            seconds[what] = await _come_and_go(stand, sent, asks=sent in (asked, stream))
    said = ", ".join(f"{what} {after:.2f} s" for what, after in seconds.items())
    return Finding(
        f"all let go {said} later; caller: {shown(caller)}", is_whole(caller) and max(seconds.values()) < GONE_SECONDS
    )


async def _leave_the_line(folder: Path, plan: Plan) -> Finding:
    async with furnished(folder, plan) as stand:
        [well] = stand.upstream.script[KEYS[0]]
        stand.upstream.script |= {key: [Limited(retry_after=str(REST_SECONDS)), well] for key in KEYS}
        [caller] = stand.callers(1)
        await caller.ask("oc0#0", streams=False)  # finds out that all keys must rest
        staying = asyncio.create_task(caller.ask("oc0#1", streams=False))
        seconds = await _come_and_go(stand, wire.request(stream=False), asks=False)
        outcome = await staying
        calls = len(stand.upstream.requests)
    said = f"all let go {seconds:.2f} s later; who stayed: {outcome}; {calls} call of the model"
    return Finding(said, seconds < GONE_SECONDS and outcome == "whole" and calls == 1)


async def _come_and_go(stand: Stand, sent: bytes, *, asks: bool) -> float:
    """How long after they left nothing is open for them any more, here and upstream. `asks`: the model is asked."""
    loop, upstream = asyncio.get_running_loop(), stand.upstream
    files = len(os.listdir(f"/proc/{stand.house.pid}/fd"))
    upstream.requests.clear()
    leavers = []
    for _ in range(LEAVERS):
        leaver = socket.socket()
        leaver.setblocking(False)
        await loop.sock_connect(leaver, ("127.0.0.1", stand.house.port))
        await loop.sock_sendall(leaver, sent)
        leavers.append(leaver)
    if asks:
        async with asyncio.timeout(WAIT_SECONDS):
            await upstream.until(lambda upstream: _asked(upstream.requests) == LEAVERS)
    await asyncio.sleep(GONE_SECONDS / 2)  # until each is where it wants to be
    for number, leaver in enumerate(leavers):
        if number % 2:
            leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.close()
    left = time.monotonic()
    async with asyncio.timeout(WAIT_SECONDS):
        if asks:
            await upstream.until(lambda upstream: sum(each.disconnected for each in upstream.requests) >= LEAVERS)
        while len(os.listdir(f"/proc/{stand.house.pid}/fd")) > files + SPARE_FILES:
            await asyncio.sleep(0.01)
    return time.monotonic() - left


def _asked(requests: Sequence[object]) -> int:
    return sum(LEAVER.encode() in request.body for request in requests)  # type: ignore[attr-defined]


# --- WeChat's server API


async def _troubled(script: Mapping[str, Sequence[Scripted]], are_sent: bool, folder: Path, plan: Plan) -> Finding:
    """`are_sent`: whether the messages must arrive all the same; else everybody collects by taps."""
    async with standing(folder, random.Random(plan.seed), hold_seconds=HOLD_SECONDS) as stand:
        [well] = stand.upstream.script[KEYS[0]]
        assert isinstance(well, Answer)
        stand.upstream.script |= {key: [replace(well, think_seconds=SLOW_SECONDS)] for key in KEYS}
        await stand.house.start()
        readers, server, books = stand.readers(0, MEMBERS), stand.server, stand.books
        before = await _ask_all(stand, readers)
        tokens = len(server.calls_of("stable_token"))
        server.script |= {path: list(steps) for path, steps in script.items()}
        during = await _ask_all(stand, readers)
        if not are_sent:
            await asyncio.gather(*(reader.collect_all() for reader in readers))
        lost = len(books.lost)
        server.script.clear()
        tokens = len(server.calls_of("stable_token")) - tokens
        after = await _ask_all(stand, readers)
        await asyncio.gather(*(reader.collect_all() for reader in readers))
        missing, twice = len(books.lost), len(books.pushed_twice)
    said = (
        f"messages before, meanwhile and afterwards: {before}, {during}, {after} of {MEMBERS}; "
        f"answers missing meanwhile and in the end: {lost}, {missing}; {twice} sent twice; {tokens} tokens asked for"
    )
    is_well = not (lost or missing or twice or books.crossed) and tokens <= MOST_TOKENS
    return Finding(said, is_well and before == MEMBERS and (during == MEMBERS or not are_sent))


async def _ask_all(stand: Stand, readers: Sequence[Reader]) -> int:
    """How many of the answers came as messages, as soon as they can have come."""
    before = stand.books.pushed.total()
    await asyncio.gather(*(reader.ask() for reader in readers))
    await asyncio.sleep(SLOW_SECONDS)
    return stand.books.pushed.total() - before


DOWN: Sequence[Scripted] = [Cut(before=True)] * AGAIN_AND_AGAIN
TAKEN: Sequence[Scripted] = [Fault(40001)] * AGAIN_AND_AGAIN
EXPIRED: Sequence[Scripted] = [Fault(42001)]
NO_MESSAGE = "replies and taps bring every answer meanwhile, nothing twice"

TROUBLES = (
    Trouble(
        "20 callers leave at each moment", f"let go within {GONE_SECONDS:.0f} s, upstream too; others served", _leave
    ),
    Trouble(
        "20 callers leave the line",
        f"let go within {GONE_SECONDS:.0f} s; the model is not asked for them",
        _leave_the_line,
    ),
    Trouble(
        "WeChat's server API is down",
        NO_MESSAGE,
        partial(_troubled, {"stable_token": DOWN, "custom/send": DOWN, "custom/typing": DOWN}, False),
    ),
    Trouble(
        "WeChat's token has expired",
        "a new one, and every message arrives",
        partial(_troubled, {"custom/send": EXPIRED}, True),
    ),
    Trouble(
        "another tool takes WeChat's token again and again",
        f"{NO_MESSAGE}; at most {MOST_TOKENS} tokens asked for",
        partial(_troubled, {"custom/send": TAKEN, "custom/typing": TAKEN}, False),
    ),
)
