"""The daemon as a process of its own: killed, told to stop, and kept from starting."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from daemon.demo.envelope import Account
from daemon.demo.refusals import Limited, NoQuota
from daemon.demo.steps import Answer, Hang, Step
from daemon.demo.subscriber import Outcome, WeChatSide
from daemon.demo.upstream import ScriptedUpstream
from daemon.sqlite.reader import read_health, read_pending
from proxy.ledger import Health

ROOT = Path(__file__).parents[2]
TOKEN = "ph-kill-token"
ACCOUNT = Account()
START_SECONDS = 20  # on a machine with other things to do


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def launched(
    folder: Path, *arguments: str, environ: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
) -> Process:
    """`python -m daemon …` in `folder`, with nothing of our own environment."""
    given = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **(environ or {})}
    command = (sys.executable, "-m", "daemon", *arguments)
    return await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=given, stdout=PIPE, stderr=PIPE, limit=1 << 20, preexec_fn=before
    )


async def ended(process: Process) -> tuple[int, str]:
    """Its exit code, and what it said on standard error; standard output stays empty."""
    async with asyncio.timeout(START_SECONDS):
        said, complained = await process.communicate()
    assert said == b""
    return int(process.returncode or 0), complained.decode()


async def seen(upstream: ScriptedUpstream, claim: Callable[[ScriptedUpstream], bool]) -> None:
    async with asyncio.timeout(START_SECONDS):
        await upstream.until(claim)


@dataclass(slots=True)
class House:
    """A daemon on one port with one folder, which may be started again and again, and WeChat's side of its account."""

    folder: Path
    port: int
    side: WeChatSide = field(repr=False)
    session: ClientSession = field(repr=False)
    process: Process | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.folder / "posthouse.db"

    async def start(self) -> None:
        config = str(self.folder / "posthouse.toml")
        self.process = await launched(self.folder, "serve", "--config", config)
        started = asyncio.Event()
        self._reading = asyncio.create_task(self._read(self.process, started))
        async with asyncio.timeout(START_SECONDS):
            await started.wait()

    async def _read(self, process: Process, started: asyncio.Event) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self.log.append(json.loads(line))
            if self.log[-1]["event"] == "daemon.started":
                started.set()

    async def kill(self) -> None:
        assert self.process is not None
        assert self.process.returncode is None, "it died by itself"
        self.process.kill()
        await self.gone()

    async def gone(self) -> int:
        assert self.process is not None
        assert self._reading is not None
        code = await self.process.wait()
        await self._reading
        return code

    async def ask_gateway(self, **more: Any) -> int:
        body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], **more}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self.session.post(f"{self.url}/v1/chat/completions", json=body, headers=headers) as response:
            await response.read()
            return response.status

    async def asked_in_vain(self, upstream: ScriptedUpstream, openid: str, text: str) -> None:
        """Ask, and kill the daemon once the model is thinking about it."""
        before = len(upstream.requests)
        asking = asyncio.create_task(self.side.say(openid, text))
        await seen(upstream, lambda upstream: len(upstream.requests) == before + 1)
        await self.kill()
        assert (await asking).red_line, "nobody was there for the other deliveries"


@contextlib.asynccontextmanager
async def house(folder: Path, upstream: ScriptedUpstream, keys: Sequence[str]) -> AsyncIterator[House]:
    port = free_port()
    listed = "\n".join(
        f'[[keys]]\nname = "k{number}"\nsecret = "{secret}"' for number, secret in enumerate(keys, start=1)
    )
    (folder / "posthouse.toml").write_text(
        f"""
server.listen = ["127.0.0.1:{port}"]
upstreams.openai.base_url = "{upstream.base_url}"
proxy.callers = [{{ name = "test", token = "{TOKEN}" }}]
{listed}
[bot]
model = "gpt-5"
hold = "one"
hold_seconds = 1.5
[[bot.accounts]]
id = "{ACCOUNT.id}"
token = "{ACCOUNT.token}"
"""
    )
    (folder / "posthouse.toml").chmod(0o600)
    async with WeChatSide(f"http://127.0.0.1:{port}/wechat", ACCOUNT) as side, ClientSession() as session:
        place = House(folder, port, side, session)
        try:
            yield place
        finally:
            if place.process is not None and place.process.returncode is None:
                await place.kill()


@contextlib.asynccontextmanager
async def town(folder: Path, scripts: Mapping[str, Sequence[Step]]) -> AsyncIterator[tuple[House, ScriptedUpstream]]:
    async with (
        ScriptedUpstream({key: list(steps) for key, steps in scripts.items()}) as upstream,
        house(folder, upstream, list(scripts)) as place,
    ):
        await place.start()
        yield place, upstream


def words_of(outcome: Outcome) -> str:
    assert not outcome.red_line
    return outcome.words or ""


# --- kill -9


async def test_a_question_that_is_thought_about_at_kill_9_is_asked_once_more_and_collected(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Hang(), Answer("信没有丢")]}) as (place, upstream):
        await place.asked_in_vain(upstream, "o_1", "信会丢吗？")
        (kept,) = read_pending(place.database)
        assert (kept.question, kept.state) == ("信会丢吗？", "thinking")

        await place.start()
        collected = await place.side.say("o_1", "继续")

        assert "信没有丢" in words_of(collected)
        assert [received.json["messages"][-1]["content"] for received in upstream.requests] == ["信会丢吗？"] * 2
        await until(lambda: read_pending(place.database) == [])


async def test_after_a_second_kill_the_question_is_failed_in_plain_words_and_a_tap_asks_it_again(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, {"sk-1": [Hang(), Hang(), Answer("第三次")]}) as (place, upstream):
        await place.asked_in_vain(upstream, "o_1", "信会丢吗？")
        await place.start()
        await seen(upstream, lambda upstream: len(upstream.requests) == 2)
        await place.kill()
        await place.start()

        told = await place.side.say("o_1", "继续")

        assert "重启了两次" in words_of(told)
        assert len(upstream.requests) == 2, "it is not asked a third time by itself"
        await until(lambda: read_pending(place.database) == [])  # the news is known to have arrived
        (link,) = told.links
        assert "第三次" in words_of(await place.side.tap("o_1", link))
        assert len(upstream.requests) == 3


async def test_an_answer_that_nobody_collected_is_there_after_kill_9(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer("慢慢来", think_seconds=2.0)]}) as (place, upstream):
        told = await place.side.say("o_1", "慢问题")
        assert told.links, "still thinking"
        await seen(upstream, lambda upstream: upstream.requests[-1].status == 200)
        await until(lambda: [row.state for row in read_pending(place.database)] == ["answered"])
        await place.kill()

        await place.start()

        assert "慢慢来" in words_of(await place.side.tap("o_1", told.links[0]))
        assert len(upstream.requests) == 1


async def until(claim: Callable[[], bool]) -> None:
    """Of another process's database nobody tells us: look until it holds."""
    async with asyncio.timeout(5):
        while not claim():
            await asyncio.sleep(0.02)


def rested_and_exhausted(health: Health) -> bool:
    cooled = [cell for cell in health.cells if cell.rule == "rate"]
    return bool(cooled) and any(record.state == "exhausted" for record in health.keys)


async def test_a_key_that_rests_and_one_without_quota_are_known_after_kill_9(tmp_path: Path) -> None:
    scripts: dict[str, list[Step]] = {
        "sk-rests": [Limited(retry_after="3600")],
        "sk-empty": [NoQuota()],
        "sk-well": [Answer()],
    }
    async with town(tmp_path, scripts) as (place, upstream):
        upstream.organization |= {secret: f"org-of-{secret}" for secret in scripts}
        assert await place.ask_gateway() == 200
        await until(lambda: rested_and_exhausted(read_health(place.database)))
        before = read_health(place.database)
        await place.kill()

        await place.start()

        assert [await place.ask_gateway() for _ in range(4)] == [200] * 4
        assert [len(upstream.asked_of(secret)) for secret in scripts] == [1, 1, 5]
        after = read_health(place.database)
        assert after.cells[0].until == pytest.approx(before.cells[0].until, abs=2)
        assert {record.name: record.state for record in after.keys}["k2"] == "exhausted"


# --- SIGTERM


async def test_sigterm_ends_an_open_stream_honestly_and_the_process_with_0_within_seconds(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer("one two three", pieces=3, chunk_seconds=60)]}) as (place, _):
        assert place.process is not None
        body = {"model": "gpt-5", "stream": True, "messages": []}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        received = b""
        is_broken = False
        async with place.session.post(f"{place.url}/v1/chat/completions", json=body, headers=headers) as response:
            received += await response.content.readany()
            place.process.terminate()
            try:
                async with asyncio.timeout(10):
                    received += await response.content.read()
            except ClientError:
                is_broken = True
        async with asyncio.timeout(10):
            assert await place.gone() == 0
        assert is_broken or b"upstream_stream_truncated" in received
        assert b"[DONE]" not in received
        assert place.log[-1]["event"] == "daemon.stopped"
        assert [event for event in place.log if event["level"] == "error"] == []


async def test_sigterm_while_a_question_is_thought_about_loses_nothing(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Hang(), Answer("信没有丢")]}) as (place, upstream):
        assert place.process is not None
        asking = asyncio.create_task(place.side.say("o_1", "信会丢吗？"))
        await seen(upstream, lambda upstream: len(upstream.requests) == 1)
        place.process.terminate()
        async with asyncio.timeout(15):
            assert await place.gone() == 0
        await asking

        await place.start()

        assert "信没有丢" in words_of(await place.side.say("o_1", "继续"))


async def test_sigterm_stops_an_idle_daemon_within_seconds_and_it_logged_no_secret(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer()]}) as (place, _):
        assert place.process is not None
        assert await place.ask_gateway() == 200
        place.process.terminate()
        async with asyncio.timeout(5):
            assert await place.gone() == 0
        said = json.dumps(place.log)
        for secret in ("sk-1", TOKEN, ACCOUNT.token):
            assert secret not in said


# --- kept from starting


def one_sentence(complaint: str) -> bool:
    return complaint.count("\n") == 1 and complaint.startswith("posthouse: ") and "Traceback" not in complaint


async def test_a_port_in_use_is_one_sentence_and_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "posthouse.toml").write_text(f'server.listen = ["{address}"]')
        process = await launched(tmp_path, "serve", "--config", "posthouse.toml", "--log-level", "error")
        code, complaint = await ended(process)
    assert (code, one_sentence(complaint)) == (1, True), complaint
    assert address in complaint


def obeying_permissions() -> None:
    """Root may write anywhere; from its next exec on, without CAP_DAC_OVERRIDE (1), it may not. Source: capabilities(7)."""
    if os.geteuid() == 0:
        pr_capbset_drop, cap_dac_override = 24, 1
        ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override)


async def test_a_read_only_database_folder_is_one_sentence_and_1(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    (tmp_path / "posthouse.toml").write_text(
        'server.listen = ["127.0.0.1:0"]\nserver.database = "sqlite:kept/posthouse.db"'
    )
    folder.chmod(0o555)
    try:
        process = await launched(
            tmp_path,
            "serve",
            "--config",
            "posthouse.toml",
            "--log-level",
            "error",
            before=obeying_permissions,
        )
        code, complaint = await ended(process)
    finally:
        folder.chmod(0o755)
    assert (code, one_sentence(complaint)) == (1, True), complaint
    assert str(folder / "posthouse.db") in complaint


async def test_a_config_that_is_not_there_is_one_sentence_and_1(tmp_path: Path) -> None:
    code, complaint = await ended(await launched(tmp_path, "serve", "--config", "nowhere.toml"))
    assert (code, one_sentence(complaint)) == (1, True), complaint
    assert "nowhere.toml" in complaint


async def test_a_config_with_ten_errors_is_ten_lines_and_2(tmp_path: Path) -> None:
    (tmp_path / "posthouse.toml").write_text(
        """
server.listen = "127.0.0.1"
server.timezone = "Mars/Olympus"
upstreams.openai.connect_seconds = -1
proxy.replay_bytes = "8 MiB"
proxy.pasthrough = true
bot.hold = "four"
bot.hold_seconds = 9
[[keys]]
name = "a name"
secret = { env = "NOT_SET_ANYWHERE" }
uses = ["both"]
"""
    )
    code, complaint = await ended(await launched(tmp_path, "serve", "--config", "posthouse.toml"))
    lines = complaint.splitlines()
    assert (code, len(lines)) == (2, 10), complaint
    for path in (
        "server.listen",
        "server.timezone",
        "upstreams.openai.connect_seconds",
        "proxy.replay_bytes",
        "proxy.pasthrough",
        "bot.hold",
        "bot.hold_seconds",
        "keys[0].name",
        "keys[0].secret",
        "keys[0].uses[0]",
    ):
        assert sum(line.startswith(f"{path}: ") for line in lines) == 1, path


# --- without a config file


async def test_the_environment_alone_starts_a_gateway(tmp_path: Path) -> None:
    port = free_port()
    async with ScriptedUpstream({"sk-env": [Answer("from the environment")]}) as upstream, ClientSession() as session:
        environ = {
            "OPENAI_API_KEY": "sk-env",
            "OPENAI_API_BASE": upstream.base_url,
            "POSTHOUSE_TOKEN": TOKEN,
            "PORT": str(port),
        }
        process = await launched(tmp_path, "serve", environ=environ)
        assert process.stderr is not None
        async with asyncio.timeout(START_SECONDS):
            while json.loads(await process.stderr.readline())["event"] != "daemon.started":
                pass
        body = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        async with session.post(url, json=body, headers=headers) as response:
            answer = await response.json()
        process.terminate()
        assert (await ended(process))[0] == 0
    assert answer["choices"][0]["message"]["content"] == "from the environment"
    assert (tmp_path / "posthouse.db").exists()
