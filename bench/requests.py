"""What a plain request costs: how many a second one core passes on, and how much of the core each takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from bench import load
from bench.chart import Bars
from bench.machine import cpu_seconds, memory
from bench.peers import Absent
from bench.program import DidNotStart, Program
from bench.report import Claim, Figure, at_least, missing
from bench.samples import median
from bench.stage import Stage, absent

ROUNDS = 5
SECONDS, WARM_SECONDS = 3.0, 1.0
SLOW = ("openai-forward", "LiteLLM")
SLOW_ROUNDS, SLOW_CONNECTIONS, SLOW_SECONDS = 3, 16, 4.0
PER_CPU = "requests per CPU second, nginx = 1"
HEAD = ("one core", "requests a second", "of the rounds", "CPU µs a request", PER_CPU, "the load's core")

HOW = f"""{load.CONNECTIONS} connections, each sending its next request (1 KB) as soon as it has its answer (1.5 KB);
{ROUNDS} interleaved rounds of {SECONDS:.0f} s for each, medians. CPU time is the measured program's own with its
children's, user and system, all threads, from /proc. *The load's core* is how much of a core the load and the
upstream took together; they share one, so a rate at which that nears 100% is theirs, and CPU per request is the
figure to go by. Posthouse does what it always does: callers by token, the pool, header hygiene, one log line a
request (to a file); nginx and haproxy replace one header and log nothing."""
HOW_SLOW = f"""{" and ".join(SLOW)} have one worker each, {SLOW_CONNECTIONS} connections, and {SLOW_ROUNDS} rounds of
{SLOW_SECONDS:.0f} s."""
HOW_TLS = (
    """The same with TLS 1.3 to the upstream (ECDSA, P-256): all check its certificate and keep their connections."""
)


@dataclass(frozen=True, slots=True)
class Round:
    rate: float
    cost: float  # CPU time of a request, in microseconds
    load_share: float  # of a core


Rounds = dict[str, list[Round]]


async def measure(stage: Stage) -> Figure:
    rounds, why, resident = await _measured(stage, is_tls=False)
    claims = list(_against_nginx("requests per CPU second against nginx, http upstream", rounds, aim=0.60))
    for name, must, aim in zip(SLOW, (25, 200), (40, 350), strict=True):
        if name in rounds:
            ratio = _rate(rounds, "posthouse") / _rate(rounds, name)
            claims.append(at_least(f"requests a second against {name}", ratio, "{:,.0f}×", must=must, aim=aim))
    how = f"{HOW} {HOW_SLOW} After all of this Posthouse's resident memory was {resident:.0f} MB."
    title = "Plain requests"
    return Figure(title, how, HEAD, _rows(rounds, why), tuple(claims), _bars("Plain requests", rounds))


async def measure_tls(stage: Stage) -> Figure:
    rounds, why, _ = await _measured(stage, is_tls=True)
    claims = _against_nginx("the same, TLS upstream against nginx proxy_ssl", rounds, aim=0.65)
    title = "Plain requests, TLS upstream"
    return Figure(title, HOW_TLS, HEAD, _rows(rounds, why), claims, _bars("With TLS to the upstream", rounds))


async def _measured(stage: Stage, *, is_tls: bool) -> tuple[Rounds, dict[str, str], float]:
    """By name the rounds, and why somebody has none; and Posthouse's resident memory after it."""
    rounds, why = Rounds(), dict[str, str]()

    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(stage.upstream(is_tls=is_tls))
        posthouse = await stack.enter_async_context(stage.posthouse(upstream))
        targets = [posthouse]
        for neighbour in stage.neighbours(upstream):
            targets.append(await stack.enter_async_context(neighbour))  # noqa: PERF401 - one after the other
        for name in () if is_tls else SLOW:
            try:
                targets.append(await stack.enter_async_context(stage.peer(name, upstream)))
            except Absent as fault:
                why[name] = fault.why
            except DidNotStart:
                why[name] = "did not start"
        if not is_tls:  # directly, wrk would be the one to do TLS
            targets.insert(0, upstream)
        for target in targets:
            await _load(stage, target, WARM_SECONDS)
        for number in stage.rounds(ROUNDS):
            for target in targets:
                if number < SLOW_ROUNDS or target.name not in SLOW:
                    rounds.setdefault(target.name, []).append(await _once(stage, target, upstream))
        return rounds, why, memory(posthouse.pid).resident


async def _load(stage: Stage, target: Program, seconds: float) -> load.Load:
    """A slow one cannot be hurried: within a second it may answer nothing."""
    if target.name in SLOW:
        return await load.plain(target.port, seconds=SLOW_SECONDS, folder=stage.folder, connections=SLOW_CONNECTIONS)
    return await load.plain(target.port, seconds=stage.seconds(seconds), folder=stage.folder)


async def _once(stage: Stage, target: Program, upstream: Program) -> Round:
    cpu, upstream_cpu = cpu_seconds(target.pid), cpu_seconds(upstream.pid)
    sent = await _load(stage, target, SECONDS)
    cpu, upstream_cpu = cpu_seconds(target.pid) - cpu, cpu_seconds(upstream.pid) - upstream_cpu
    share = (sent.cpu_seconds + upstream_cpu) / sent.seconds
    return Round(sent.answered / sent.seconds, cpu / sent.answered * 1e6, share)


def _rate(rounds: Rounds, name: str) -> float:
    return median([each.rate for each in rounds[name]])


def _cost(rounds: Rounds, name: str) -> float:
    return median([each.cost for each in rounds[name]])


def _against_nginx(what: str, rounds: Rounds, *, aim: float) -> tuple[Claim, ...]:
    if "nginx" not in rounds:
        return ()
    ratio = _cost(rounds, "nginx") / _cost(rounds, "posthouse")
    return (at_least(what, ratio, "{:.2f}", must=0.45, aim=aim),)


def _rows(rounds: Rounds, why: dict[str, str]) -> tuple[tuple[str, ...], ...]:
    rows = [_row(rounds, name) for name in rounds]
    rows += missing(absent(), HEAD)
    return (*rows, *((name, reason, *("" for _ in HEAD[2:])) for name, reason in why.items()))


def _row(rounds: Rounds, name: str) -> tuple[str, ...]:
    rates = [each.rate for each in rounds[name]]
    measured = f"{median(rates):,.0f}", f"{min(rates):,.0f} – {max(rates):,.0f}"
    share = f"{median([each.load_share for each in rounds[name]]):.0%}"
    if name == "upstream":
        return ("direct", *measured, "", "", share)
    cost = _cost(rounds, name)
    per_cpu = f"{_cost(rounds, 'nginx') / cost:.3g}" if "nginx" in rounds else ""
    return (name, *measured, f"{cost:,.1f}", per_cpu, share)


def _bars(what: str, rounds: Rounds) -> tuple[Bars, ...]:
    names: Sequence[str] = [name for name in rounds if name != "upstream"]
    return (
        Bars(
            f"{what}: a CPU second does", "more", "{:,.0f}", tuple((name, 1e6 / _cost(rounds, name)) for name in names)
        ),
    )
