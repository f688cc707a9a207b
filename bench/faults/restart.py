"""
Restarts under load, as systemd does them: the listening socket stays open, the old process is told to end, and the new one
is started when it has.

Rule 1: systemd's part is played here: `Unit` owns the socket, hands it on, and waits for READY=1.
Rule 2: callers and subscribers try nothing twice: whatever is not a whole answer has failed. Only a connection that was seen
        to be closed before anything was sent on it is made anew, as every client does.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Self

from bench import wire
from bench.faults.books import is_refusal
from bench.faults.house import PASSIVE, House, inside
from bench.faults.plan import Plan
from bench.program import Program, free_port, python, running
from bench.report import Claim, Figure
from bench.samples import quantile
from daemon.demo.subscriber import WeChatSide

REQUESTS, RESTARTS = 100_000, 30
CALLERS, STREAMS, SUBSCRIBERS = 12, 20, 6
EVENT_SECONDS = 0.08  # a stream takes five times as long, less than the two seconds that a stopping daemon gives
REST_SECONDS = 1.5  # between two restarts
ANSWER_SECONDS = 20.0
STOP_SECONDS = 4.0  # TimeoutStopSec of systemd/posthouse.service
START_SECONDS = 60.0
# Descriptor 3 and LISTEN_PID, which only the process itself can set. Source: sd_listen_fds(3)
HAND_ON = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""

HOW = f"""The daemon has its socket from a service manager (LISTEN_FDS), is told to end (SIGTERM), and is started
again when it has ended, as `systemctl restart` does with the unit; the socket stays open, and callers wait in it.
Without a pause, {CALLERS} callers ask on a connection that they keep, {CALLERS} on a new one each time, and
{CALLERS} send their bodies in chunks, which is for the other lane (see architecture.md); {STREAMS} of each kind ask
for streams of {wire.EVENTS} events in {wire.EVENTS * EVENT_SECONDS:.1f} s; {SUBSCRIBERS} subscribers ask one question
after the other. Nobody tries anything twice. *Failed* is a request that had no whole answer with
status 200, or a question whose subscriber saw the red line or was not taken. Streams that last longer than the two
seconds that are left at the end are not among them: those end with an error event (see SIGTERM below)."""


@dataclass(slots=True)
class Unit:
    """The service and its socket."""

    house: House
    listener: socket.socket = field(repr=False)
    told: socket.socket = field(repr=False)  # what it tells its manager arrives here
    stops: list[float] = field(default_factory=list)  # seconds, until it had ended
    gaps: list[float] = field(default_factory=list)  # seconds, from the signal until the new process served
    killed: int = 0

    async def start(self) -> None:
        await self.house.spawn()
        async with asyncio.timeout(START_SECONDS):
            while b"READY=1" not in await asyncio.get_running_loop().sock_recv(self.told, 4096):
                pass

    async def restart(self) -> None:
        began = time.monotonic()
        code = await self.house.stop()
        self.stops.append(time.monotonic() - began)
        self.killed += code != 0 or self.stops[-1] > STOP_SECONDS
        await self.start()
        self.gaps.append(time.monotonic() - began)


@dataclass(slots=True)
class Heard:
    """What came of all requests."""

    whole: Counter[str] = field(default_factory=Counter)  # by kind
    failed: Counter[str] = field(default_factory=Counter)  # by kind and what came instead
    slowest: float = 0.0
    is_over: bool = False

    @property
    def total(self) -> int:
        return self.whole.total() + self.failed.total()

    def note(self, kind: str, seconds: float, fault: str = "") -> None:
        self.slowest = max(self.slowest, seconds)
        if fault:
            self.failed[f"{kind}: {fault}"] += 1
        else:
            self.whole[kind] += 1


async def measure(plan: Plan) -> Figure:
    folder = plan.folder / "restart"
    folder.mkdir()
    heard, requests, restarts = Heard(), plan.of(REQUESTS), plan.of(RESTARTS)
    async with _upstream(plan) as upstream, _unit(plan, upstream) as unit:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for life in _lives(unit.house, heard):
                group.create_task(life)
            while heard.total < requests or len(unit.gaps) < restarts:
                await asyncio.sleep(REST_SECONDS)
                await unit.restart()
                if len(unit.gaps) % 10 == 0:
                    plan.say(
                        f"restart: {len(unit.gaps)} restarts, {heard.total:,} requests, {heard.failed.total()} failed"
                    )
            heard.is_over = True
        seconds = time.monotonic() - began
        troubles = unit.house.troubles()
    return _figure(heard, unit, seconds, troubles)


def _figure(heard: Heard, unit: Unit, seconds: float, troubles: dict[str, int]) -> Figure:
    restarts, failed = len(unit.gaps), heard.failed.total()
    rows = [(f"whole: {kind}", f"{count:,}") for kind, count in sorted(heard.whole.items())]
    rows += [(f"failed: {what}", f"{count:,}") for what, count in sorted(heard.failed.items())] or [("failed", "0")]
    rows += [
        ("restarts, in all seconds", f"{restarts}, {seconds:.0f}"),
        ("from SIGTERM to the end, p50 / max", f"{quantile(unit.stops, 0.5):.2f} / {max(unit.stops):.2f} s"),
        ("from SIGTERM to READY=1, p50 / max", f"{quantile(unit.gaps, 0.5):.2f} / {max(unit.gaps):.2f} s"),
        ("the slowest answer", f"{heard.slowest:.2f} s"),
        ("ended by force", f"{unit.killed}"),
        ("errors in the log", ", ".join(f"{count} × {name}" for name, count in sorted(troubles.items())) or "none"),
    ]
    claim = Claim(
        f"{restarts} restarts under load, streams included",
        f"0 failed of {REQUESTS:,}",
        f"{failed} failed of {heard.total:,}",
        not failed and not unit.killed and not troubles,
    )
    return Figure("Restarts under load", HOW, ("", "count"), tuple(rows), (claim,))


@asynccontextmanager
async def _upstream(plan: Plan) -> AsyncIterator[Program]:
    port = free_port()
    arguments = python("-m", "bench.stub", "--port", str(port), "--event-seconds", str(EVENT_SECONDS))
    async with running("bench.stub", arguments, port=port, core=None, folder=plan.folder / "restart") as upstream:
        yield upstream


@asynccontextmanager
async def _unit(plan: Plan, upstream: Program) -> AsyncIterator[Unit]:
    folder = plan.folder / "restart"
    with (
        closing(socket.create_server(("127.0.0.1", 0), backlog=4096)) as listener,
        closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as told,
    ):
        told.bind(str(folder / "notify"))
        told.setblocking(False)
        house = House(
            folder,
            f"http://127.0.0.1:{upstream.port}/v1",
            hold_seconds=4.0,
            port=listener.getsockname()[1],
            before=python("-S", "-c", HAND_ON, str(listener.fileno())),
            files=(listener.fileno(),),
            environ={"NOTIFY_SOCKET": str(folder / "notify")},
        )
        async with inside(house):
            unit = Unit(house, listener, told)
            await unit.start()
            yield unit


# --- who asks


def _lives(house: House, heard: Heard) -> Iterator[Coroutine[None, None, None]]:
    for what, count, streams in (("requests", CALLERS, False), ("streams", STREAMS, True)):
        plain = wire.request(stream=streams)
        for _ in range(count):
            yield _call(house, heard, f"{what} on a kept connection", plain, keeps=True)
            yield _call(house, heard, f"{what} on a new connection each", plain, keeps=False)
            yield _call(house, heard, f"{what} on a kept connection, by the other lane", _in_chunks(plain), keeps=True)
    for number in range(SUBSCRIBERS):
        yield _subscribe(house, heard, f"or{number}")


def _in_chunks(request: bytes) -> bytes:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b"%x" % len(body), body, b"0", b"", b""])


async def _call(house: House, heard: Heard, kind: str, request: bytes, *, keeps: bool) -> None:
    connection: _Connection | None = None
    while not heard.is_over:
        if connection is not None and (not keeps or connection.is_closed):
            connection.close()
            connection = None
        began, fault = time.monotonic(), ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if connection is None:
                    connection = await _Connection.to(house.port)
                fault = await connection.ask(request)
        except TimeoutError:
            fault = "no answer in time"
        except OSError as error:
            fault = f"{type(error).__name__}"
        heard.note(kind, time.monotonic() - began, fault)
        if fault and connection is not None:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()


async def _subscribe(house: House, heard: Heard, openid: str) -> None:
    async with WeChatSide(f"{house.url}/passive", PASSIVE) as side:
        for number in itertools.count():
            if heard.is_over:
                return
            outcome = await side.say(f"{openid}x{number}", "信会丢吗？")
            refused = "not taken" if is_refusal(outcome.words) else ""
            heard.note("questions of subscribers", outcome.deliveries[-1].seconds, outcome.red_line or refused)


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_last: bool = False  # the answer said that it is the connection's last

    @classmethod
    async def to(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @property
    def is_closed(self) -> bool:
        return self.is_last or self.reader.at_eof() or self.writer.is_closing()

    def close(self) -> None:
        self.writer.close()

    async def ask(self, request: bytes) -> str:
        """What was wrong with the answer, "" when nothing. Raises OSError."""
        end, answer = wire.AnswerEnd(), b""
        self.writer.write(request)
        while data := await self.reader.read(65_536):
            answer += data
            try:
                is_whole = end.feed(data)
            except ValueError:
                return f"status {answer[9:12].decode()}"
            if is_whole:
                head = answer.partition(b"\r\n\r\n")[0].lower()
                self.is_last = b"\r\nconnection: close" in head
                is_stream, events = b"text/event-stream" in head, len(wire.sent_at(answer))
                return f"{events} events" if is_stream and events != wire.EVENTS else ""
        return "cut" if answer else "closed without an answer"
