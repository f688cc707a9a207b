"""A gateway on a loopback port before a scripted upstream: what the journeys of a request are tested with."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import ClientSession, web

from daemon.demo.steps import Step
from daemon.demo.upstream import ScriptedUpstream
from daemon.server import Limits, serving
from daemon.session import upstream_session
from proxy.callers import Caller, Callers
from proxy.forward import Gateway, GatewaySettings
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool

TOKEN = "ph-test-token"


@dataclass(slots=True)
class Bench:
    """The upstream, the pool, and the gateway's address. Keys are named k1, k2 …; their secrets sk-1, sk-2 …"""

    upstream: ScriptedUpstream
    pool: KeyPool
    url: str
    session: ClientSession = field(repr=False)
    outgoing: ClientSession = field(repr=False)
    later: list[float] = field(default_factory=lambda: [0.0])

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}

    def let_pass(self, seconds: float) -> None:
        """The pool's clock jumps ahead."""
        self.later[0] += seconds

    def state(self, name: str) -> str:
        return next(view.state for view in self.pool.snapshot() if view.name == name)

    def asked(self, name: str) -> int:
        """How many requests this key carried."""
        return len(self.upstream.asked_of(f"sk-{name[1:]}"))


Start = Callable[..., Awaitable[Bench]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`await start([Step…], [Step…], …)`: one key for each script."""
    async with AsyncExitStack() as stack:

        async def start(
            *scripts: Sequence[Step],
            settings: GatewaySettings | None = None,
            callers: Sequence[Caller] | None = None,
            upstream_settings: dict[str, Any] | None = None,
            keys: dict[str, dict[str, Any]] | None = None,
        ) -> Bench:
            simulated = await stack.enter_async_context(ScriptedUpstream())
            limits = {"first_byte_seconds": 5.0, "idle_seconds": 5.0, **(upstream_settings or {})}
            at = Upstream("scripted", simulated.base_url, **limits)
            pool_keys = []
            for number, script in enumerate(scripts, start=1):
                name, secret = f"k{number}", f"sk-{number}"
                simulated.script[secret] = list(script)
                simulated.organization[secret] = f"org-{number}"
                pool_keys.append(Key(name, secret, f"fp{number}", at, **(keys or {}).get(name, {})))
            later = [0.0]
            pool = KeyPool(pool_keys, clock=lambda: time.monotonic() + later[0], jitter=lambda: 0.0)
            outgoing = await stack.enter_async_context(upstream_session())
            ids = itertools.count(1)
            gateway = Gateway(
                pool,
                Callers(callers if callers is not None else [Caller("test", hashlib.sha256(TOKEN.encode()).digest())]),
                outgoing,
                replace(settings or GatewaySettings(), first_upstream=at),
                secrets=[key.secret for key in pool_keys],
                wall_clock=time.time,
                jitter=lambda: 0.0,
                new_id=lambda: f"r{next(ids)}",
            )
            app = web.Application(client_max_size=1 << 30)
            app.add_routes(gateway.routes())
            (address,) = await stack.enter_async_context(serving(app, ["127.0.0.1:0"], Limits(), drain_seconds=0.2))
            session = await stack.enter_async_context(ClientSession())
            return Bench(simulated, pool, f"http://{address}", session, outgoing, later)

        yield start
