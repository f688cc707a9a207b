"""A gateway on a loopback port before a scripted upstream: what the journeys of a request are tested with."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientSession, web

from daemon.demo.steps import Step
from daemon.demo.upstream import ScriptedUpstream
from daemon.errors import error_middleware
from daemon.server import Limits, serving
from daemon.session import Sessions
from proxy.affinity import Affinity
from proxy.allowance import Allowances
from proxy.callers import Caller, Callers
from proxy.draft import Unsupported
from proxy.forward import Gateway
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.line import Line
from proxy.reception import GatewaySettings
from proxy.road import Road
from proxy.soft_affinity import SoftAffinity
from proxy.tally import Tally
from proxy.usage_book import Days, UsageBook
from proxy.wire.pool import WirePool
from proxy.witness import Witnesses
from tests import canaries

TOKEN = "ph-test-token"
LIMITS = Limits()
# Where the two ways in could differ, each test goes by both; elsewhere by the door, as the daemon does.
ON_BOTH_LANES = frozenset(
    {
        *("affinity", "alerts", "gateway_edges", "honest_streams", "legacy", "limits", "line", "media_streams"),
        *("one_connection", "realtime", "realtime_messages", "rotation", "situations", "usage"),
    }
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lane" in metafunc.fixturenames:
        name = metafunc.module.__name__.rpartition(".test_")[2]
        metafunc.parametrize("lane", ["door", "aiohttp"] if name in ON_BOTH_LANES else ["door"])


@dataclass(slots=True)
class Bench:
    """The upstream, the pool, and the gateway's address. Keys are named k1, k2 …; their secrets sk-1, sk-2 …"""

    upstream: ScriptedUpstream
    pool: KeyPool
    book: UsageBook
    tally: Tally
    url: str
    session: ClientSession = field(repr=False)
    sessions: Sessions = field(repr=False)
    road: Road = field(repr=False)
    line: Line
    stop: Callable[[], Awaitable[None]]  # the gateway's listener, and what it still serves
    later: list[float] = field(default_factory=lambda: [0.0])

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}

    def let_pass(self, seconds: float) -> None:
        """The clocks of the pool and of the callers' limits jump ahead."""
        self.later[0] += seconds

    def state(self, name: str) -> str:
        return next(view.state for view in self.pool.snapshot() if view.name == name)

    def asked(self, name: str) -> int:
        """How many requests this key carried."""
        return len(self.upstream.asked_of(f"sk-{name[1:]}"))


Start = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def start(lane: str) -> AsyncIterator[Start]:
    """`await start([Step…], [Step…], …)`: one key for each script."""
    async with AsyncExitStack() as stack:

        async def start(
            *scripts: Sequence[Step],
            settings: GatewaySettings | None = None,
            callers: Sequence[Caller] | None = None,
            upstream_settings: dict[str, Any] | None = None,
            keys: dict[str, dict[str, Any]] | None = None,
            wall_clock: Callable[[], float] = time.time,
            limits: Limits = LIMITS,
        ) -> Bench:
            simulated = await stack.enter_async_context(ScriptedUpstream())
            patience = {"first_byte_seconds": 5.0, "idle_seconds": 5.0, **(upstream_settings or {})}
            at = Upstream("scripted", simulated.base_url, **patience)
            pool_keys = []
            for number, script in enumerate(scripts, start=1):
                name, secret = f"k{number}", f"sk-{number}"
                simulated.script[secret] = list(script)
                canaries.plant(secret)
                simulated.organization[secret] = f"org-{number}"
                pool_keys.append(Key(name, secret, f"fp{number}", at, **(keys or {}).get(name, {})))
            canaries.plant(TOKEN)
            stack.callback(lambda: canaries.plant_words(*canaries.words_asked(one.body for one in simulated.requests)))
            later = [0.0]
            line = Line()
            pool = KeyPool(pool_keys, clock=lambda: time.monotonic() + later[0], jitter=lambda: 0.0, on_room=line.kick)
            days = Days(ZoneInfo("Asia/Shanghai"), wall_clock)
            book = UsageBook({"gpt-5"}, days)
            affinity, tally = Affinity(), Tally()
            sessions = await stack.enter_async_context(Sessions())
            wires = await stack.enter_async_context(WirePool())
            road = Road(line, wires.towards, sessions.towards, wires.at_hand)
            ids = itertools.count(1)
            gateway = Gateway(
                pool,
                Callers(callers if callers is not None else [Caller("test", hashlib.sha256(TOKEN.encode()).digest())]),
                road,
                replace(settings or GatewaySettings(queue_seconds=0), first_upstream=at),
                allowances=Allowances(
                    clock=lambda: time.monotonic() + later[0],
                    tokens_today=book.spent_today,
                    seconds_left_today=days.seconds_left,
                ),
                witnesses=Witnesses(book, affinity, SoftAffinity(b"salt"), time.monotonic, wall_clock),
                tally=tally,
                unsupported=Unsupported(),
                secrets=[key.secret for key in pool_keys],
                wall_clock=wall_clock,
                jitter=lambda: 0.0,
                new_id=lambda: f"r{next(ids)}",
            )
            app = web.Application(client_max_size=1 << 30, middlewares=[error_middleware])
            app.on_response_prepare.append(_sign)
            app.add_routes(gateway.routes())
            front = await stack.enter_async_context(AsyncExitStack())
            (address,) = await front.enter_async_context(
                serving(
                    app,
                    ["127.0.0.1:0"],
                    limits,
                    fast_lane=gateway.house if lane == "door" else None,
                    drain_seconds=0.2,
                )
            )
            session = await stack.enter_async_context(ClientSession(trace_configs=[canaries.listening()]))
            url = f"http://{address}"
            return Bench(simulated, pool, book, tally, url, session, sessions, road, line, front.aclose, later)

        yield start


async def _sign(_: web.BaseRequest, response: web.StreamResponse) -> None:
    """So that a test can tell which lane it was."""
    response.headers["X-Lane"] = "aiohttp"
