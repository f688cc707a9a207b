"""How many pushes a second the bot answers that are in the database before the answer goes out."""

from __future__ import annotations

import itertools
import sqlite3
import time
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from bench.caller import ask_without_pause
from bench.chart import OURS, Bars
from bench.machine import cpu_seconds
from bench.peers import Absent
from bench.program import DidNotStart, Program
from bench.report import Claim, Figure, at_least
from bench.samples import median
from bench.stage import PATH, PERSONA, PLAIN_ACCOUNT, Stage
from daemon.demo.envelope import signed

ROUNDS = 5
CONNECTIONS, SECONDS, WARM_SECONDS = 64, 3.0, 1.0
SUBSCRIBERS = 1_000
FIRST_MSG_ID = 25033203329280739
PEER = "wechatpy"
MODEL = ("--event-seconds", "0")  # it answers at once
WORDS = "一加一等于几？"
QUESTION, CHOICE = "posthouse, a question", "posthouse, a setting"
NAMES = {PEER: "wechatpy + Flask + gunicorn, a message"}

HOW = f"""{CONNECTIONS} connections, each sending the next push as soon as it has the reply to the last, from {SUBSCRIBERS:,}
subscribers in turn; plain mode, signed; {ROUNDS} interleaved rounds of {SECONDS:.0f} s for each, medians. All use SQLite with
`synchronous=FULL` and reply after the commit. With wechatpy, Flask and gunicorn (one worker, eight threads) a message is
checked, stored once, the subscriber's last five are read, and the reply has fixed words. With Posthouse *a setting* (a
persona is chosen) is as much, with a look whether the subscriber is blocked in place of their last five; *a question* is much
more: what waits and what was asked today is read, it is stored, its conversation read, the model asked over HTTP, which answers
at once, the answer stored before it goes out, and that it has gone out stored after. *Stored*
is how many messages the database had afterwards, which
are no fewer than those that had a reply."""
HEAD = ("one core", "pushes a second", "of the rounds", "CPU µs a push", "the load's core", "stored, replied to")


@dataclass(frozen=True, slots=True)
class Round:
    answered: int
    rate: float
    cost: float
    load_share: float


class Pushes:
    """All different, each a request."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def next(self, words: str) -> bytes:
        number = next(self._numbers)
        fields: dict[str, str | int] = {
            "FromUserName": f"o-bench-{number % SUBSCRIBERS}",
            "MsgType": "text",
            "Content": words,
            "MsgId": FIRST_MSG_ID + number,
        }
        push = signed(PLAIN_ACCOUNT, fields, timestamp=int(time.time()), nonce=str(number), random=b"")
        head = f"POST {PATH}?{urlencode(push.query)} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/xml\r\n"
        return f"{head}Content-Length: {len(push.body)}\r\n\r\n".encode() + push.body


async def measure(stage: Stage) -> Figure:
    rounds: dict[str, list[Round]] = {}
    pushes, why = Pushes(), ""
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(stage.upstream(*MODEL))
        ours = await stack.enter_async_context(stage.posthouse(upstream, PLAIN_ACCOUNT))
        targets = {QUESTION: (ours, WORDS), CHOICE: (ours, f"角色 {PERSONA}")}
        try:
            theirs = await stack.enter_async_context(stage.peer(PEER, upstream))
            targets[PEER] = (theirs, WORDS)
        except Absent as fault:
            why = fault.why
        except DidNotStart:
            why = "did not start"
        warmed = {
            name: await _once(target, upstream, pushes, words, stage.seconds(WARM_SECONDS))
            for name, (target, words) in targets.items()
        }
        for _ in stage.rounds(ROUNDS):
            for name, (target, words) in targets.items():
                rounds.setdefault(name, []).append(await _once(target, upstream, pushes, words, stage.seconds(SECONDS)))
        stored = {name: _stored(stage.folder, name, target) for name, (target, _) in targets.items()}
    replied = {name: warmed[name].answered + sum(each.answered for each in of_name) for name, of_name in rounds.items()}
    rows = [
        _row(name, of_name, stored[name] and f"{stored[name]}, {replied[name]:,}") for name, of_name in rounds.items()
    ]
    if why:
        rows.append((NAMES[PEER], why, *("" for _ in HEAD[2:])))
    return Figure("Durable pushes", HOW, HEAD, tuple(rows), _claims(rounds), _bars(rounds))


async def _once(target: Program, upstream: Program, pushes: Pushes, words: str, seconds: float) -> Round:
    cpu, load, began = cpu_seconds(target.pid), time.process_time() + cpu_seconds(upstream.pid), time.monotonic()
    answered = await ask_without_pause(
        target.port, connections=CONNECTIONS, seconds=seconds, request=lambda: pushes.next(words)
    )
    took, cpu = time.monotonic() - began, cpu_seconds(target.pid) - cpu
    load = time.process_time() + cpu_seconds(upstream.pid) - load
    return Round(answered, answered / took, cpu / answered * 1e6, load / took)


def _stored(folder: Path, name: str, target: Program) -> str:
    """How many messages the database has; "" for settings, of which a subscriber has one."""
    file, table = {QUESTION: ("posthouse", "exchange"), PEER: ("wechatpy", "message")}.get(name, ("", ""))
    if not file:
        return ""
    with closing(sqlite3.connect(f"file:{folder / f'{file}-{target.port}.db'}?mode=ro", uri=True)) as database:
        [count] = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    return f"{count:,}"


def _claims(rounds: dict[str, list[Round]]) -> tuple[Claim, ...]:
    if PEER not in rounds:
        return ()
    theirs = _rate(rounds[PEER])
    return tuple(
        at_least(
            f"durable pushes a second against {PEER} + Flask + gunicorn: {what}",
            _rate(rounds[name]) / theirs,
            "{:.1f}×",
            must=4,
            aim=8,
        )
        for name, what in ((CHOICE, "stored and answered"), (QUESTION, "the model asked too"))
    )


def _rate(rounds: list[Round]) -> float:
    return median([each.rate for each in rounds])


def _row(name: str, rounds: list[Round], stored: str) -> tuple[str, ...]:
    rates = [each.rate for each in rounds]
    return (
        NAMES.get(name, name),
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f} – {max(rates):,.0f}",
        f"{median([each.cost for each in rounds]):,.0f}",
        f"{median([each.load_share for each in rounds]):.0%}",
        stored,
    )


def _bars(rounds: dict[str, list[Round]]) -> tuple[Bars, ...]:
    names = {QUESTION: f"{OURS} + model", CHOICE: OURS, PEER: PEER}
    return (
        Bars(
            "Durable pushes a second",
            "more",
            "{:,.0f}",
            tuple((names[name], _rate(of_name)) for name, of_name in rounds.items()),
        ),
    )
