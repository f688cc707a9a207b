"""
The daemon as it is deployed, as a process that is killed and started again on the same port and in the same folder.

Rule 1: the process is ended by its own id, and has ended when the block is left.
Rule 2: `kill()` is a plain function, so that the blow falls at the very moment something happens, and not a tick later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.program import LOG_CHARACTERS, ROOT, DidNotStart, free_port, python
from bench.wire import TOKEN
from daemon.demo.envelope import Account, Mode

PASSWORD = "faults-password"
MODEL = "gpt-5-mini"
KEYS = ("sk-faults-1", "sk-faults-2")
PASSIVE = Account("gh_0000000000f1", "faultspassive")
VERIFIED = Account("gh_0000000000f2", "faultsverified", app_id="wx00000000000000f2")
SEALED = Account(
    *("gh_0000000000f3", "faultssealed", Mode.SAFE),
    app_id="wx00000000000000f3",
    aes_key="abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG",
)
APP_SECRET = "0123456789abcdef0123456789abcdef"
SECRETS = (*KEYS, TOKEN, PASSWORD, APP_SECRET, PASSIVE.token, VERIFIED.token, SEALED.token, SEALED.aes_key)

SETTINGS = (
    *("port", "upstream", "patience", "wechat", "hold", "hold_seconds", "answer_seconds", "queue_seconds", "limits"),
)
BYTECODE = "PYTHONPYCACHEPREFIX"
START_SECONDS, STOP_SECONDS = 60.0, 15.0  # on a machine with other things to do
LOOK_SECONDS = 0.005

CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
database = "sqlite:{database}"
[server.limits]
{limits}
[operator]
password = "{PASSWORD}"
[upstreams.openai]
base_url = "{upstream}"
{patience}
[[keys]]
name = "k1"
secret = "{KEYS[0]}"
[[keys]]
name = "k2"
secret = "{KEYS[1]}"
[proxy]
queue_seconds = {queue_seconds}
[[proxy.callers]]
name = "faults"
token = "{TOKEN}"
[bot]
model = "{MODEL}"
hold = "{hold}"
hold_seconds = {hold_seconds}
answer_seconds = {answer_seconds}
[[bot.accounts]]
id = "{PASSIVE.id}"
path = "/passive"
token = "{PASSIVE.token}"
[[bot.accounts]]
id = "{VERIFIED.id}"
path = "/verified"
token = "{VERIFIED.token}"
app_id = "{VERIFIED.app_id}"
app_secret = "{APP_SECRET}"
api_base = "{wechat}"
[[bot.accounts]]
id = "{SEALED.id}"
path = "/sealed"
token = "{SEALED.token}"
app_id = "{SEALED.app_id}"
encoding_aes_key = "{SEALED.aes_key}"
"""


@dataclass(slots=True)
class House:
    """
    `upstream` and `wechat` are base URLs. `before` stands before the program: strace, faketime. People wait for `up`.
    """

    folder: Path
    upstream: str
    wechat: str = "http://127.0.0.1:1"
    hold: str = "one"
    hold_seconds: float = 0.3
    answer_seconds: float = 300.0
    queue_seconds: float = 8.0
    limits: str = ""
    patience: str = ""  # with the upstream
    database: Path | None = None
    module: str = "daemon"
    tree: Path = ROOT
    before: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Sequence[int] = ()  # of ours, that it has too
    port: int = field(default_factory=free_port)
    up: asyncio.Event = field(default_factory=asyncio.Event)
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    @property
    def config(self) -> Path:
        return self.folder / "posthouse.toml"

    @property
    def file(self) -> Path:
        """The database's."""
        return self.database or self.folder / "posthouse.db"

    @property
    def log(self) -> Path:
        return self.folder / "posthouse.log"

    def config_text(self) -> str:
        return CONFIG.format(**globals(), **{name: getattr(self, name) for name in SETTINGS}, database=self.file)

    async def spawn(self) -> None:
        """The process exists then, and nothing more is known of it."""
        self.up.clear()
        self.config.touch(mode=0o600)
        self.config.write_text(self.config_text())
        environ = {**os.environ, "PYTHONPATH": str(self.tree), **self.environ}
        if BYTECODE not in environ:
            environ["PYTHONDONTWRITEBYTECODE"] = "1"  # never into the source tree
        arguments = [*self.before, *python("-m", self.module, "serve", "--config", str(self.config))]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *arguments, stdout=log, stderr=log, cwd=self.tree, env=environ, pass_fds=self.files
            )

    async def listening(self) -> None:
        """Until it accepts a connection. Raises DidNotStart."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await listens(self.port):
                    if not self.is_alive:
                        raise TimeoutError
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise DidNotStart("posthouse", self.log.read_text()[-LOG_CHARACTERS:]) from None

    async def start(self) -> None:
        await self.spawn()
        await self.listening()
        self.up.set()

    def kill(self) -> None:
        self.up.clear()
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        if self.is_alive:
            os.kill(self.pid, number)

    async def gone(self) -> int:
        assert self.process is not None
        return await self.process.wait()

    async def stop(self) -> int:
        """In order, as a supervisor would: its exit code."""
        self.up.clear()
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                return await self.gone()
        except TimeoutError:
            self.kill()
            return await self.gone()

    def events(self) -> list[dict[str, Any]]:
        """What it logged. A line that is none of its own (a traceback) is an event of that name."""
        return [_event(line) for line in self.log.read_text(errors="replace").splitlines()]

    def troubles(self) -> dict[str, int]:
        """How often it logged what no log should have: errors by their event, and lines that are no event at all."""
        found: dict[str, int] = {}
        for event in self.events():
            if event.get("level") in ("error", "critical", ""):
                name = str(event["event"])
                found[name] = found.get(name, 0) + 1
        return found


@contextlib.asynccontextmanager
async def inside(house: House) -> AsyncIterator[House]:
    """Whatever becomes of it, its process has ended afterwards."""
    try:
        yield house
    finally:
        if house.process is not None:
            await house.stop()


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict) and "event" in event:
        return event
    is_torn = line.startswith('{"') and not line.endswith("}")  # a kill may come within a line
    return {"event": "torn line" if is_torn else f"not an event: {line[:80]}", "level": ""}
