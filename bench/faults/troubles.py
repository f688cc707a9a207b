"""One fault after the other, each with a daemon of its own: files, disk, lock, clock, signals, a damaged database."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import time
from collections import Counter
from contextlib import AsyncExitStack, closing
from email.utils import parsedate_to_datetime
from pathlib import Path

from bench.faults import neighbours
from bench.faults.askers import ask, calling, furnished, is_whole, kept_by, shown
from bench.faults.house import KEYS
from bench.faults.kills import first_answer
from bench.faults.plan import Plan
from bench.faults.stand import Stand, standing
from bench.faults.trouble import Finding, Trouble, played
from bench.machine import cpu_seconds
from bench.report import Figure
from daemon.demo.refusals import Limited
from daemon.demo.steps import Answer

STREAMS, STOP_SECONDS = 200, 4.0  # which is the unit's TimeoutStopSec
JUMPS = (3_600, -3_600, 400 * 86_400, -400 * 86_400)  # in seconds
SEEN_SECONDS = 10.0
START_SECONDS = 3.0  # to the first answer, after a start or after a fault
RETRY_SECONDS = 6

HOW = """Every row has a daemon and files of its own, and a caller of the gateway beside the fault wherever
there is one. *Told* are questions whose subscribers read that they were not kept and should be sent again; the
longest time is that of a reply to a push. WeChat's five seconds hold for all of them."""


async def measure(plan: Plan) -> Figure:
    return await played((*TROUBLES, *neighbours.TROUBLES), plan, title="Other faults", how=HOW)


# --- files


async def _out_of_files(folder: Path, plan: Plan) -> Finding:
    async with furnished(folder, plan) as stand, calling(stand) as caller:
        house = stand.house
        log, cpu = house.log.stat().st_size, cpu_seconds(house.pid)
        before = resource.prlimit(house.pid, resource.RLIMIT_NOFILE)
        used = len(os.listdir(f"/proc/{house.pid}/fd"))
        resource.prlimit(house.pid, resource.RLIMIT_NOFILE, (used + 3, before[1]))
        async with AsyncExitStack() as crowd:
            for _ in range(100):
                _, writer = await asyncio.open_connection("127.0.0.1", house.port)
                crowd.callback(writer.close)
            await asyncio.sleep(5.0)
            cpu, log = cpu_seconds(house.pid) - cpu, house.log.stat().st_size - log
            resource.prlimit(house.pid, resource.RLIMIT_NOFILE, before)
        began = time.monotonic()
        await first_answer(stand)
        seconds = time.monotonic() - began
    said = f"{cpu:.1f} s of CPU and {log / 1e3:.0f} KB of log in 5 s; answers {seconds:.1f} s after it ends"
    return Finding(f"{said}; caller: {shown(caller)}", cpu < 2.5 and log < 1_000_000 and seconds < START_SECONDS)


# --- the disk


async def _disk_full(folder: Path, plan: Plan) -> Finding:
    folder.mkdir()
    small = folder / "small"
    small.mkdir()
    if await _run("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)):
        return Finding("not tried: mounting a small disk needs root", is_well=False, is_tried=False)
    try:
        async with furnished(folder, plan, database=small / "posthouse.db") as stand, calling(stand) as caller:
            with (small / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
                while True:
                    filler.write(bytes(4096))
            full = await ask(stand, "ofull")
            (small / "filler").unlink()
            after = await ask(stand, "oafter")
            kept = kept_by(stand)
            is_well = full.is_honest(kept) and after.is_all_acknowledged and after.is_honest(kept) and is_whole(caller)
            again = full.kept_all_the_same(kept)
    finally:
        await _run("umount", "--lazy", str(small))
    said = f"{full}, {again} of them kept all the same; with room again {after}; caller: {shown(caller)}"
    return Finding(said, is_well and full.told > 0 and not again)


async def _locked(folder: Path, plan: Plan) -> Finding:
    async with furnished(folder, plan) as stand, calling(stand) as caller:
        with closing(sqlite3.connect(stand.house.file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            asking = asyncio.create_task(ask(stand, "olocked"))
            await asyncio.sleep(5.0)
            other.execute("ROLLBACK")
            locked = await asking
        after = await ask(stand, "oafter")
        kept = kept_by(stand)
    again = locked.kept_all_the_same(kept)
    is_well = locked.is_honest(kept) and after.is_all_acknowledged and is_whole(caller) and not again
    said = f"{locked}, {again} of them kept all the same; afterwards {after}; caller: {shown(caller)}"
    return Finding(said, is_well)


async def _damaged(folder: Path, plan: Plan) -> Finding:
    async with furnished(folder, plan) as stand:
        house = stand.house
        await ask(stand, "obefore")
        await house.stop()
        with closing(sqlite3.connect(house.file)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        data = bytearray(house.file.read_bytes())
        data[len(data) // 2 :] = b"\x5a" * (len(data) - len(data) // 2)
        house.file.write_bytes(data)
        began = time.monotonic()
        await house.start()
        seconds = await first_answer(stand) - began
        after = await ask(stand, "oafter")
        [aside] = house.folder.glob("*.damaged-*-0")
        is_kept = aside.read_bytes() == data
    said = (
        f"first answer after {seconds:.1f} s; {after}; the damaged file {'is kept as it was' if is_kept else 'is lost'}"
    )
    return Finding(said, is_kept and after.is_all_acknowledged and seconds <= START_SECONDS)


async def _failing_start(folder: Path, plan: Plan) -> Finding:
    if shutil.which("strace") is None:
        return Finding("not tried: strace is not installed", is_well=False, is_tried=False)
    inject = ["-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EIO:when=1+"]
    async with standing(
        folder, random.Random(plan.seed), before=["strace", "-D", "-f", "-qq", "-o", "/dev/null", *inject]
    ) as stand:
        await stand.house.spawn()
        code = await stand.house.gone()
        said = [line for line in stand.house.log.read_text().splitlines() if not line.startswith("{")]
    is_well = code == 1 and len(said) == 1 and said[0].startswith("posthouse: ")
    return Finding(
        f"exit code {code}, {len(said)} lines: {said[-1] if said else ''}"[:160].replace(str(folder), "…"), is_well
    )


# --- the clock


async def _clock_jumps(folder: Path, plan: Plan) -> Finding:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        return Finding("not tried: libfaketime is not installed", is_well=False, is_tried=False)
    folder.mkdir()
    shift = folder / "shift"
    shift.write_text("+0")
    faked = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_CACHE_DURATION": "1"}
    faked |= {
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }  # its fix makes threads wait long
    rests, refused, missing, is_well = [], [], 0, True
    for jump in JUMPS:
        shift.write_text("+0")
        async with furnished(folder / f"{jump:+d}", plan, environ=faked, queue_seconds=0.2) as stand:
            [caller] = stand.callers(1)
            well = stand.upstream.script[KEYS[0]]
            stand.upstream.script |= {key: [Limited(retry_after=str(RETRY_SECONDS)), *well] for key in KEYS}
            statuses = Counter([await caller.ask("oc0#0", streams=False)])
            began = time.monotonic()
            await _shifted(stand, shift, jump)
            meanwhile = await ask(stand, "ojump", count=3)
            while (status := await caller.ask("oc0#1", streams=False)) != "whole":
                statuses[status] += 1
                await asyncio.sleep(0.05)
            rests.append(time.monotonic() - began)
            await _shifted(stand, shift, 0)
            back = await ask(stand, "oback", count=3)
            is_well &= back.is_all_acknowledged and set(statuses) <= {"status 429"}
            refused.append(str(meanwhile.red))
            missing += len(back.outcomes) - back.acknowledged
    is_well &= all(RETRY_SECONDS - 1 < rest < RETRY_SECONDS + 3 for rest in rests)
    shown = ", ".join(f"{rest:.1f} s" for rest in rests)
    said = f"keys told to rest {RETRY_SECONDS} s were back after {shown}; of 3 pushes {', '.join(refused)} refused as too old"
    return Finding(f"{said} meanwhile, {missing} afterwards", is_well)


async def _shifted(stand: Stand, shift: Path, by_seconds: int) -> None:
    """And seen: the library looks into the file once in a second."""
    shift.write_text(f"{by_seconds:+d}")
    async with asyncio.timeout(SEEN_SECONDS):
        while True:
            async with stand.scene.session.get(f"{stand.house.url}/healthz") as response:
                now = parsedate_to_datetime(response.headers["Date"]).timestamp()
            if abs(now - time.time() - by_seconds) < 60:
                return
            await asyncio.sleep(0.1)


# --- signals


async def _reloads(folder: Path, plan: Plan) -> Finding:
    async with furnished(folder, plan) as stand, calling(stand, count=6) as caller:
        house, good = stand.house, stand.house.config_text()
        for number in range(50):
            house.config.write_text(good + ("nonsense = [" if number % 3 == 1 else ""))
            house.signal(signal.SIGHUP)
            await asyncio.sleep(0.1)
        house.config.write_text(good)
        events = Counter(str(event["event"]) for event in house.events())
    said = f"{events['config.reloaded']} taken up, {events['config.refused']} refused; callers: {shown(caller)}"
    return Finding(said, is_whole(caller) and events["config.reloaded"] > 0 and events["config.refused"] > 0)


async def _stopped(folder: Path, plan: Plan) -> Finding:
    streams = plan.of(STREAMS)
    async with furnished(folder, plan) as stand:
        slow = Answer("信会送到。" * 60 + "oc0#0⟧", pieces=60, chunk_seconds=0.5)
        stand.upstream.script |= {key: [slow] for key in KEYS}
        callers = stand.callers(streams)
        tasks = [asyncio.create_task(caller.ask("oc0#0", streams=True)) for caller in callers]
        async with asyncio.timeout(60):
            await stand.upstream.until(lambda upstream: sum(r.status == 200 for r in upstream.requests) == streams)
        await asyncio.sleep(1.0)
        began = time.monotonic()
        code = await stand.house.stop()
        seconds = time.monotonic() - began
        outcomes = Counter(await asyncio.gather(*tasks))
    listed = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    said = f"exit code {code} after {seconds:.1f} s; streams: {listed}"
    return Finding(said, code == 0 and seconds < STOP_SECONDS and outcomes["visibly cut"] == streams)


TROUBLES = (
    Trouble("out of file descriptors", "no spin, log under 1 MB, answers within 3 s after it", _out_of_files),
    Trouble(
        "the disk is full", "nothing acknowledged that is not kept, gateway untouched, recovers by itself", _disk_full
    ),
    Trouble("another program locks the database for 5 s", "the same, every reply within 4.8 s", _locked),
    Trouble("the database is damaged at the start", "set aside as it is; both serve within 3 s", _damaged),
    Trouble("every write fails at the start (EIO)", "exit code 1 and one sentence", _failing_start),
    Trouble(
        "the clock jumps by an hour and by 400 days, forth and back",
        "rests end on time, nothing but 429 meanwhile",
        _clock_jumps,
    ),
    Trouble("50 SIGHUPs under load, every third config broken", "no request fails", _reloads),
    Trouble("SIGTERM with 200 streams", "exit code 0 within 4 s, each says that it is not whole", _stopped),
)


async def _run(*arguments: str) -> int:
    process = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()
