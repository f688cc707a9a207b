"""The played upstream and WeChat's side of a machine's daemon, and the config that speaks of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import ClientError, ClientSession, TCPConnector

from daemon.demo.steps import Step
from daemon.demo.subscriber import WeChatSide
from daemon.demo.upstream import ScriptedUpstream
from tests.flows.daemon_bench import SAFE, TOKEN
from tests.system.conftest import CONFIG, Server

URL = "http://127.0.0.1"
UPSTREAM_PORT = 9999  # nobody else is in the machine's network
FOR_CALLERS, FOR_THE_BOT = "sk-callers", "sk-bot"


def written(more: str = "") -> str:
    return f"""
[server]
listen = ["0.0.0.0:80"]
database = "sqlite:/var/lib/posthouse/posthouse.db"

[upstreams.openai]
base_url = "http://127.0.0.1:{UPSTREAM_PORT}/v1"

[[keys]]
name = "callers"
secret = "{FOR_CALLERS}"
uses = ["proxy"]

[[keys]]
name = "bot"
secret = "{FOR_THE_BOT}"
uses = ["bot"]

[[proxy.callers]]
name = "test"
token = "{TOKEN}"

[bot]
model = "gpt-5"

[[bot.accounts]]
id = "{SAFE.id}"
path = "/wechat"
token = "{SAFE.token}"
app_id = "{SAFE.app_id}"
encoding_aes_key = "{SAFE.aes_key}"
{more}
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a caller got: a status of 0 is no answer at all."""

    status: int
    body: bytes
    is_whole: bool
    seconds: float


@dataclass(slots=True)
class Town:
    upstream: ScriptedUpstream
    side: WeChatSide
    session: ClientSession = field(repr=False)

    async def ask(self, content: str = "hello", *, stream: bool = False, token: str = TOKEN) -> Heard:
        body = {"model": "gpt-5", "stream": stream, "messages": [{"role": "user", "content": content}]}
        headers = {"Authorization": f"Bearer {token}"}
        began, heard, status = time.monotonic(), b"", 0
        try:
            async with self.session.post(f"{URL}/v1/chat/completions", json=body, headers=headers) as response:
                status = response.status
                while piece := await response.content.readany():
                    heard += piece
        except ClientError:
            return Heard(status, heard, False, time.monotonic() - began)
        return Heard(status, heard, True, time.monotonic() - began)


@contextlib.asynccontextmanager
async def town(server: Server, scripts: Mapping[str, Sequence[Step]], *, config: str = "") -> AsyncIterator[Town]:
    """The daemon is restarted with a config that knows its neighbours. Each request comes on a connection of its own."""
    config = config or written()
    if server.config() != config:
        server.machine.write(CONFIG, config, 0o600)
        server.machine.run("systemctl", "restart", "posthouse")
    scripted = {key: list(steps) for key, steps in scripts.items()}
    async with (
        ScriptedUpstream(scripted, port=UPSTREAM_PORT) as upstream,
        WeChatSide(f"{URL}/wechat", SAFE) as side,
        ClientSession(connector=TCPConnector(limit=0, force_close=True)) as session,
    ):
        yield Town(upstream, side, session)
