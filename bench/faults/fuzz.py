"""
Two hundred thousand inputs that are almost right, at every door of the running daemon: heads, JSON, XML, sealed envelopes,
answers of the upstream, and its own config.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.faults.doors import TRACEBACK, Almost, Discreet, Doors, Tally, opened
from bench.faults.house import KEYS, SECRETS, House
from bench.faults.mutations import mutated
from bench.faults.plan import Plan
from bench.machine import memory
from bench.program import LOG_CHARACTERS, ROOT
from bench.report import Claim, Figure
from daemon import config
from daemon.demo.upstream import ScriptedUpstream
from daemon.wrong_config import WrongConfig

AT_ONCE = 48
RELOADS = 400  # of the configs, by SIGHUP; the others are parsed as the daemon parses them, without a process each
RELOAD_SECONDS = 10.0
INPUTS = {"heads": 60_000, "json": 40_000, "xml": 40_000, "sealed": 30_000, "answers": 20_000, "toml": 10_000}

HOW = """Half of the inputs are good ones with one to four changes of bytes: flipped, cut, repeated, exchanged, or
replaced by what parsers stumble over, which most of them refuse; the other half are well-formed, with odd values, or some
too many or missing. *Heads* go out on a connection each; *json* are bodies of requests with a right
token; *xml* are pushes whose plain signature is right; *sealed* are pushes to an account in safe mode: the
message, the envelope or the query is changed, and all else signed and sealed as it should be; *answers* are the
upstream's, streamed and whole, to callers and to subscribers; *toml* is the daemon's own config, by SIGHUP
while it runs and by its parser. A *fault* is a 500 of ours, a crash in the log, a traceback, or a secret of the
config in anything that came back or was logged."""


class DidNotLive(Exception):
    """Nothing that comes after it can be measured."""

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self.code = house.process.returncode if house.process else None
        self.log = house.log.read_text(errors="replace")[-LOG_CHARACTERS:]

    def __str__(self) -> str:
        return f"posthouse ended with {self.code}; the end of its log:\n{self.log}"


async def measure(plan: Plan) -> Figure:
    chance = random.Random(plan.seed)
    folder = plan.folder / "fuzz"
    folder.mkdir()
    tallies: dict[str, Tally] = {name: Tally() for name in INPUTS}
    async with ScriptedUpstream({key: [Discreet()] for key in KEYS}, is_strict=False) as upstream:
        async with opened(House(folder, upstream.base_url, queue_seconds=0.5, hold_seconds=0.5), chance) as doors:
            house = doors.house
            await many(doors.json, Tally(), 200)  # warm
            before, files = memory(house.pid), _open_files(house)
            for name, door in _by_name(doors).items():
                if name == "answers":
                    upstream.script |= {key: [Almost(chance)] for key in KEYS}
                await many(door, tallies[name], plan.of(INPUTS[name]), forget=upstream.requests.clear)
                plan.say(f"fuzz: {name}: {dict(tallies[name].counts)}, {len(tallies[name].faults)} faults")
                if not house.is_alive:
                    raise DidNotLive(house)
            upstream.script |= {key: [Discreet()] for key in KEYS}
            await _configs(doors, tallies["toml"], plan.of(INPUTS["toml"]), plan.of(RELOADS))
            async with doors.session.get(f"{house.url}/healthz") as response:
                is_alive = response.status == 200 and house.is_alive
            await asyncio.sleep(2.0)  # for what lingers
            after, files_after = memory(house.pid), _open_files(house)
            logged = house.log.read_bytes()
        troubles = house.troubles()
    leaks = sum(secret.encode() in logged for secret in SECRETS)
    crashes = {name: count for name, count in troubles.items() if name not in SAID_OF_INPUTS}
    faults = [fault for tally in tallies.values() for fault in tally.faults]
    for fault in faults[:20]:
        plan.say(fault)
    inputs = sum(tally.counts.total() for tally in tallies.values())
    rows = [_row(name, tally) for name, tally in tallies.items()]
    rows.append(
        ("memory (RSS), open files", f"{before.resident:.0f} → {after.resident:.0f} MB, {files} → {files_after}", "")
    )
    listed = ", ".join(f"{count} × {name}" for name, count in sorted(crashes.items())) or "none"
    rows.append(("crashes and secrets in the log", f"{listed}, {leaks} secrets", ""))
    claim = Claim(
        f"{inputs:,} fuzzed inputs",
        "no 500, no traceback, no secret, daemon alive",
        f"{len(faults)} faults, {len(crashes)} kinds of crash, {leaks} secrets, {'alive' if is_alive else 'dead'}",
        is_alive and not (faults or crashes or leaks),
    )
    return Figure("Fuzzed inputs", HOW, ("", "what came back", "faults"), tuple(rows), (claim,))


SAID_OF_INPUTS = frozenset({"config.refused"})


def _by_name(doors: Doors) -> dict[str, Callable[[Tally], Awaitable[None]]]:
    return {name: getattr(doors, name) for name in INPUTS if name != "toml"}


async def many(
    door: Callable[[Tally], Awaitable[None]], tally: Tally, count: int, forget: Callable[[], None] = lambda: None
) -> None:
    numbers = iter(range(count))

    async def one_after_the_other() -> None:
        for number in numbers:
            await door(tally)
            if number % 1000 == 0:
                forget()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_the_other())


async def _configs(doors: Doors, tally: Tally, count: int, reloads: int) -> None:
    house, chance = doors.house, doors.chance
    good = [house.config_text().encode(), (ROOT / "systemd" / "posthouse.example.toml").read_bytes()]
    other = house.folder / "other.toml"
    other.touch(mode=0o600)
    for _ in range(count - reloads):
        given = mutated(chance.choice(good), chance)
        other.write_bytes(given)
        tally.counts[_parsed(other, given, tally)] += 1
    for _ in range(reloads):
        given = mutated(good[0], chance)
        house.config.write_bytes(given)
        tally.counts[await _reloaded(house)] += 1
    house.config.write_bytes(good[0])
    if await _reloaded(house) != "reloaded":
        tally.faults.append("the good config was not taken up again")


def _parsed(path: Path, given: bytes, tally: Tally) -> str:
    try:
        config.load(path, {})
    except (WrongConfig, OSError) as wrong:
        if TRACEBACK.decode() in str(wrong):
            tally.faults.append(f"a traceback for {given[:200]!r}")
        return "refused"
    except Exception as error:  # noqa: BLE001 - what is looked for here
        tally.faults.append(f"{error!r} for {given[:200]!r}")
        return "crashed"
    return "taken"


async def _reloaded(house: House) -> str:
    """What it said of the config that stands there now."""
    with house.log.open("rb") as log:
        log.seek(0, 2)
        house.signal(signal.SIGHUP)
        async with asyncio.timeout(RELOAD_SECONDS):
            said = b""
            while True:
                said += log.read()
                for event in (b"config.refused", b"config.reloaded"):
                    if event in said:
                        return event.decode().partition(".")[2]
                await asyncio.sleep(0.002)


def _open_files(house: House) -> int:
    return len(list(Path(f"/proc/{house.pid}/fd").iterdir()))


def _row(name: str, tally: Tally) -> tuple[str, ...]:
    counted = ", ".join(f"{count:,} × {what}" for what, count in sorted(tally.counts.items()) if count)
    return f"{tally.counts.total():,} {name}", counted, str(len(tally.faults))
