"""An upstream that fails in every way that upstreams do, or refuses all keys: what callers get, and how soon it is over."""

from __future__ import annotations

import asyncio
import random
import signal
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

from bench.authority import certificate
from bench.faults import spoil
from bench.faults.askers import HOLD_SECONDS, Asked, ask, calling, shown
from bench.faults.books import is_callers
from bench.faults.house import KEYS
from bench.faults.kills import first_answer
from bench.faults.names import asking_here, names
from bench.faults.plan import Plan
from bench.faults.relay import Fault, Relay, faithful
from bench.faults.stand import Stand, standing
from bench.faults.trouble import Finding, Trouble, played
from bench.report import Figure
from daemon.demo.refusals import Limited, Revoked

FAULT_SECONDS = 8.0
CALLERS, PUSHES = 4, 3
BACK_SECONDS, MOST_SECONDS = 3.0, 45.0  # until it serves again: as it should be, and as long as we look
PATIENCE = "connect_seconds = 3\nfirst_byte_seconds = 2\nidle_seconds = 2"

HOW = f"""Each fault lasts {FAULT_SECONDS:.0f} s, with {CALLERS} callers who ask for streams and plain answers in
turn, and {PUSHES} subscribers with a question each. The upstream has 3 s for a connection, 2 s to begin and 2 s of
silence (its defaults are minutes). The last figure of a row is the time from the end of the fault to the first whole
answer, to a caller who asks at that moment. *Cut*: the connection broke under the answer. *Visibly cut*: a stream
that says itself that it is not whole. Nothing is asked of the model twice, and every push has its reply within
WeChat's five seconds; where not, the row says so."""


@dataclass(slots=True)
class Met:
    """What came of a fault. `seconds` from its end to the first whole answer."""

    during: Counter[str]
    pushes: Asked
    seconds: float
    twice: list[str]
    more: list[str] = field(default_factory=list)

    def finding(self, allowed: Collection[str]) -> Finding:
        others = set(self.during) - set(allowed)
        is_well = not others and bool(self.during) and not self.pushes.red and not self.twice
        said = [shown(self.during), *self.more]
        said += [f"{len(self.twice)} asked twice"] * bool(self.twice)
        said += [f"{self.pushes.red} pushes without a reply"] * bool(self.pushes.red)
        after = f"{self.seconds:.1f} s" if self.seconds < inf else f"not within {MOST_SECONDS:.0f} s"
        return Finding(f"{'; '.join(said)}; {after}", is_well and self.seconds <= BACK_SECONDS)


async def measure(plan: Plan) -> Figure:
    return await played(TROUBLES, plan, title="Upstreams that fail", how=HOW)


@asynccontextmanager
async def relayed(
    folder: Path, plan: Plan, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", **house: Any
) -> AsyncIterator[tuple[Stand, Relay]]:
    settings = {"hold_seconds": HOLD_SECONDS, "patience": PATIENCE, **house}
    async with (
        standing(folder, random.Random(plan.seed), think_seconds=0.1, **settings) as stand,
        Relay(stand.upstream.port, tls) as relay,
    ):
        stand.house.upstream = f"http{'s' if tls else ''}://{host}:{relay.port}/v1"
        await stand.house.start()
        yield stand, relay


async def meet(
    stand: Stand,
    begin: Callable[[], Awaitable[None]],
    end: Callable[[], Awaitable[None]],
    *,
    asked: Counter[str] | None = None,
) -> Met:
    """The fault, and what came of it."""
    async with calling(stand, CALLERS) as outcomes:
        await begin()
        before, ends = outcomes.copy(), time.monotonic() + FAULT_SECONDS
        pushes = asyncio.create_task(ask(stand, "ofault", count=PUSHES))
        await asyncio.sleep(ends - time.monotonic())
        during = outcomes - before
        ended = time.monotonic()
        await end()
        try:
            seconds = await first_answer(stand, within_seconds=MOST_SECONDS) - ended
        except TimeoutError:
            seconds = inf
        told = await pushes
    twice = [name for name, times in (asked or {}).items() if is_callers(name) and times > 1]
    return Met(during, told, seconds, twice)


# --- what it does with its answers


async def _spoilt(fault: Fault, allowed: Collection[str], folder: Path, plan: Plan) -> Finding:
    async with relayed(folder, plan) as (stand, relay):

        async def begin() -> None:
            relay.fault = fault
            relay.cut_off()

        async def end() -> None:
            relay.fault = faithful

        return (await meet(stand, begin, end, asked=relay.asked)).finding(allowed)


# --- the way there


async def _refuses(folder: Path, plan: Plan) -> Finding:
    async with relayed(folder, plan) as (stand, relay):

        async def begin() -> None:
            relay.close()

        return (await meet(stand, begin, relay.open, asked=relay.asked)).finding(REFUSED)


async def _flaps(folder: Path, plan: Plan) -> Finding:
    async with relayed(folder, plan) as (stand, relay):

        async def flap() -> None:
            while True:
                relay.close()
                await asyncio.sleep(0.5)
                await relay.open()
                await asyncio.sleep(0.5)

        flapping: list[asyncio.Task[None]] = []

        async def begin() -> None:
            flapping.append(asyncio.create_task(flap()))

        async def end() -> None:
            flapping[0].cancel()
            relay.close()
            await relay.open()

        return (await meet(stand, begin, end, asked=relay.asked)).finding({"whole", *REFUSED, *BROKEN})


async def _wrong_certificate(folder: Path, plan: Plan) -> Finding:
    folder.mkdir()
    places = [folder / name for name in ("trusted", "unknown")]
    for place in places:
        place.mkdir()
    trusted, unknown = map(certificate, places)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted)
    trust = {"SSL_CERT_FILE": str(trusted)}
    async with relayed(folder, plan, tls=context, host="localhost", environ=trust) as (stand, relay):
        asked = Counter[str]()

        async def begin() -> None:
            context.load_cert_chain(unknown)
            relay.cut_off()
            asked.update(relay.asked)

        async def end() -> None:
            asked.subtract(relay.asked)
            context.load_cert_chain(trusted)

        met = await meet(stand, begin, end, asked=relay.asked)
        arrived = -asked.total()
        met.more.append(f"{arrived} requests arrived")
        finding = met.finding(REFUSED)
    return Finding(finding.happened, finding.is_well and not arrived)


async def _no_names(folder: Path, plan: Plan) -> Finding:
    """From the start on: what was looked up before is known for a minute."""
    folder.mkdir()
    try:
        async with names() as server:
            server.is_silent = True
            async with relayed(folder, plan, host="localhost", before=asking_here(folder)) as (stand, _):

                async def begin() -> None:
                    pass

                async def end() -> None:
                    server.is_silent = False

                return (await meet(stand, begin, end)).finding(REFUSED)
    except PermissionError:
        return Finding("not tried: names of its own need root", is_well=False, is_tried=False)


# --- keys


async def _storm(folder: Path, plan: Plan) -> Finding:
    async with relayed(folder, plan, queue_seconds=0.5) as (stand, relay):
        well = dict(stand.upstream.script)
        calls = Counter[str]()

        async def begin() -> None:
            stand.upstream.script |= {key: [Limited(retry_after="1")] for key in KEYS}
            calls["before"] = relay.asked.total()

        async def end() -> None:
            calls["during"] = relay.asked.total() - calls["before"]
            stand.upstream.script |= well

        met = await meet(stand, begin, end)
        met.more.append(f"{calls['during']} calls of the model")
        finding = met.finding({"whole", "status 429"})
        most = len(KEYS) * (FAULT_SECONDS + 2)  # one trial a second and key, and what was on its way
    return Finding(finding.happened, finding.is_well and calls["during"] <= most)


async def _revoked(folder: Path, plan: Plan) -> Finding:
    """The operator then writes other keys into the config, and sends SIGHUP."""
    async with relayed(folder, plan) as (stand, _):
        house, well = stand.house, stand.upstream.script[KEYS[0]]

        async def begin() -> None:
            stand.upstream.script |= {key: [Revoked()] for key in KEYS}

        async def end() -> None:
            text = house.config_text()
            for number, key in enumerate(KEYS):
                text = text.replace(key, f"sk-other-{number}")
                stand.upstream.script[f"sk-other-{number}"] = well
            house.config.write_text(text)
            house.signal(signal.SIGHUP)

        return (await meet(stand, begin, end)).finding({"whole", *REFUSED, "status 401"})


REFUSED = ("status 502", "status 503", "status 429")  # the last two while the upstream rests
BROKEN = ("cut", "visibly cut", "no answer")
AND_BACK = f"whole answers within {BACK_SECONDS:.0f} s after it"


def _spoiling(what: str, fault: Fault, expected: str, allowed: Collection[str]) -> Trouble:
    return Trouble(what, f"{expected}; {AND_BACK}", partial(_spoilt, fault, allowed))


TROUBLES = (
    Trouble("it refuses connections", f"502, then 503 or 429 while it rests; {AND_BACK}", _refuses),
    _spoiling("it resets before its answer", spoil.reset_before, "502, asked once", REFUSED),
    _spoiling("it resets within its answer", spoil.reset_within, "never falsely whole", (*REFUSED, *BROKEN)),
    _spoiling("it resets after its answer", spoil.reset_after, "whole", ("whole",)),
    _spoiling("it never answers", spoil.silence, "502, asked once", REFUSED),
    _spoiling("half-open: it vanishes within its answer", spoil.half_open, "never falsely whole", (*REFUSED, *BROKEN)),
    _spoiling("it drips", spoil.drip, "whole", ("whole",)),
    _spoiling("it breaks its chunking", spoil.break_chunks, "never falsely whole", (*REFUSED, *BROKEN)),
    _spoiling(
        "it lies about its length", spoil.lie_about_length, "cut, unless [DONE] came", ("whole", *REFUSED, *BROKEN)
    ),
    _spoiling("its head has 1 MB", spoil.fill_head, "502, asked once", REFUSED),
    Trouble("it flaps: there and away every half second", f"whole, refused or visibly cut; {AND_BACK}", _flaps),
    Trouble(
        "its certificate is not to be trusted", f"502, not a byte of a request sent; {AND_BACK}", _wrong_certificate
    ),
    Trouble("its name cannot be looked up", f"502, then 503 or 429; {AND_BACK}", _no_names),
    Trouble("every key meets 429 (Retry-After: 1)", f"429, one trial a key and second; {AND_BACK}", _storm),
    Trouble("all keys are revoked at once", "503; whole answers within 3 s after SIGHUP with other keys", _revoked),
)
