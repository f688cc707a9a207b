"""The whole daemon before several scripted upstreams, configured as an operator would."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, ClientSession

from daemon import app, config
from daemon.demo.upstream import ScriptedUpstream
from daemon.secret import Sources
from tests.flows import daemon_bench

TOKEN = "ph-several-token"
ASKED: Any = [{"role": "user", "content": "hi"}]


def key(name: str, upstream: str, **settings: Any) -> dict[str, Any]:
    """Its secret is "sk-" and its name."""
    return {"name": name, "secret": f"sk-{name}", "upstream": upstream, **settings}


def document(
    upstreams: Mapping[str, Mapping[str, Any]], keys: Sequence[Mapping[str, Any]], **proxy: Any
) -> dict[str, Any]:
    return {
        "server": {"listen": ["127.0.0.1:0"], "database": "sqlite:posthouse.db", "fast_lane": daemon_bench.FAST_LANE},
        "upstreams": upstreams,
        "keys": keys,
        "proxy": {"callers": [{"name": "test", "token": TOKEN}], "queue_seconds": 0, **proxy},
    }


@dataclass(slots=True)
class Place:
    daemon: app.Running
    folder: Path
    session: ClientSession = field(repr=False)

    def ask(self, model: str = "gpt-5", *, token: str = TOKEN, **more: Any) -> Any:
        """One chat completion, as an async context manager."""
        return self.request("POST", "/chat/completions", json={"model": model, "messages": ASKED, **more}, token=token)

    def request(self, method: str, path: str, *, token: str = TOKEN, **given: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}", **given.pop("headers", {})}
        return self.session.request(method, f"{self.daemon.url}/v1{path}", headers=headers, **given)

    async def status_of(self, model: str = "gpt-5", **more: Any) -> int:
        async with self.ask(model, **more) as response:
            await response.read()
            return int(response.status)

    def reload(self, written: Mapping[str, Any]) -> None:
        self.daemon.reload(config.parse(written, Sources({}, self.folder)))

    def states(self) -> dict[str, str]:
        return {view.name: view.state for view in self.daemon.pool.snapshot()}


@contextlib.asynccontextmanager
async def serving(folder: Path, written: Mapping[str, Any]) -> AsyncIterator[Place]:
    settings = config.parse(written, Sources({}, folder))
    async with app.running(settings, drain_seconds=0.2) as daemon, ClientSession() as session:
        yield Place(daemon, folder, session)


async def code_of(response: ClientResponse) -> str:
    return str((await response.json())["error"]["code"])


def paths(upstream: ScriptedUpstream) -> list[str]:
    return [received.path for received in upstream.requests]
