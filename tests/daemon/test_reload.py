"""What a SIGHUP takes up, what it leaves for the next start, and that a bad file changes nothing."""

from __future__ import annotations

import asyncio
import copy
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from daemon import config
from daemon.demo.refusals import Limited
from daemon.demo.steps import Answer
from daemon.demo.upstream import ScriptedUpstream
from daemon.reload import needs_restart
from daemon.secret import Sources

DOCUMENT: dict[str, Any] = {
    "keys": [{"name": "main", "secret": "sk-main-0001"}],
    "proxy": {"callers": [{"name": "laptop", "token": "ph-token-1"}]},
    "bot": {"model": "gpt-5", "accounts": [{"id": "gh_0123456789ab", "token": "wechattoken"}]},
}

CHANGES: list[tuple[Callable[[dict[str, Any]], None], list[str]]] = [
    (lambda d: d["keys"].append({"name": "more", "secret": "sk-more-0002"}), []),
    (lambda d: d["keys"].clear(), []),
    (lambda d: d["proxy"]["callers"].clear(), []),
    (lambda d: d["proxy"].update(queue_seconds=3), []),
    (lambda d: d.update(alerts={"webhook": "https://alerts.test"}), []),
    (lambda d: d.update(upstreams={"openai": {"base_url": "https://other.test/v1"}}), []),
    (lambda d: d["bot"].update(model="gpt-6", temperature=0.5), []),
    (lambda d: d["bot"]["accounts"][0].update(system_prompt="Be brief."), []),
    (lambda d: d.update(server={"listen": ["127.0.0.1:9"]}), ["server"]),
    (lambda d: d.update(operator={"password": "a-long-password"}), ["operator"]),
    (lambda d: d["bot"].update(label=""), ["bot.label"]),
    (lambda d: d["bot"]["accounts"][0].update(path="/other"), ["bot.accounts"]),
    (lambda d: d["bot"]["accounts"].clear(), ["bot.accounts"]),
]


def parsed(document: dict[str, Any]) -> config.Settings:
    return config.parse(document, Sources({}, Path()))


@pytest.mark.parametrize(("change", "waiting"), CHANGES)
def test_only_what_was_opened_at_the_start_waits_for_the_next(
    change: Callable[[dict[str, Any]], None], waiting: list[str]
) -> None:
    changed = copy.deepcopy(DOCUMENT)
    change(changed)
    assert needs_restart(parsed(DOCUMENT), parsed(changed)) == waiting


def toml(upstream: ScriptedUpstream, keys: list[tuple[str, str]], token: str = "ph-token-1", port: int = 0) -> str:
    tables = "".join(f'[[keys]]\nname = "{name}"\nsecret = "{secret}"\n' for name, secret in keys)
    return (
        f'[server]\nlisten = ["127.0.0.1:{port}"]\n[upstreams.openai]\nbase_url = "{upstream.base_url}"\n{tables}'
        f'[[proxy.callers]]\nname = "laptop"\ntoken = "{token}"\n[proxy]\nqueue_seconds = 0\n'
    )


class Served:
    def __init__(self, process: asyncio.subprocess.Process, file: Path) -> None:
        self.process, self.file, self.url = process, file, ""

    async def line(self, event: str) -> str:
        """The next log line of this event."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while line := (await self.process.stderr.readline()).decode():
                if f'"{event}"' in line:
                    return line
        raise AssertionError(f"the daemon ended before it said {event}")

    async def reload(self, text: str, event: str) -> str:
        self.file.write_text(text)
        self.process.send_signal(signal.SIGHUP)
        return await self.line(event)

    async def ask(self, token: str = "ph-token-1") -> int:
        body = {"model": "gpt-5", "messages": []}
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as answer,
        ):
            await answer.read()
            return answer.status


@asynccontextmanager
async def served(file: Path) -> AsyncIterator[Served]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "daemon", "serve", "--config", str(file)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "POSTHOUSE_CONFIG": ""},
    )
    daemon = Served(process, file)
    try:
        started = await daemon.line("daemon.started")
        daemon.url = started.split('"url": "')[1].split('"')[0]
        yield daemon
    finally:
        process.terminate()
        await process.wait()


async def test_a_hangup_that_comes_with_the_start_is_taken_up_and_ends_nothing(tmp_path: Path) -> None:
    """Until its handler stood, a moment after READY, a SIGHUP ended the process, as it does by default."""
    file = tmp_path / "posthouse.toml"
    file.write_text('server.listen = ["127.0.0.1:0"]')
    async with served(file) as daemon:
        await daemon.reload('server.listen = ["127.0.0.1:0"]\nproxy.queue_seconds = 1', "config.reloaded")
        assert daemon.process.returncode is None


async def test_a_running_daemon_takes_up_keys_and_callers_and_refuses_a_bad_file(tmp_path: Path) -> None:
    file = tmp_path / "posthouse.toml"
    async with ScriptedUpstream({"sk-one-0001": [Limited(retry_after="300")], "sk-two-0002": [Answer()]}) as upstream:
        file.write_text(toml(upstream, [("one", "sk-one-0001")]))
        async with served(file) as daemon:
            assert await daemon.ask() == 429

            refused = await daemon.reload("keys = 3", "config.refused")
            assert "keys: expected" in refused
            assert await daemon.ask() == 429, "nothing changed"

            renamed = [("spare", "sk-two-0002"), ("renamed", "sk-one-0001")]
            await daemon.reload(toml(upstream, renamed, token="ph-token-2"), "config.reloaded")
            assert await daemon.ask() == 401, "the old token is gone"
            assert [await daemon.ask("ph-token-2") for _ in range(3)] == [200, 200, 200]
            assert len(upstream.asked_of("sk-one-0001")) == 1, "the limited key still rests under its new name"

            postponed = await daemon.reload(toml(upstream, renamed, port=1), "config.postponed")
            assert '"server"' in postponed or "server" in postponed
            assert daemon.process.returncode is None
