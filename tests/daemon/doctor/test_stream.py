"""Whether streams come through: a proxy that passes, one that holds back, and every reason why nobody can know."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from daemon import config
from daemon.doctor import own_urls
from daemon.doctor.doors import Site
from daemon.doctor.examination import examine
from daemon.doctor.facts import Failure, First, Step, StreamFact, Untried
from daemon.doctor.finding import Area, Finding, Verdict
from daemon.doctor.findings import findings
from daemon.doctor.machine_findings import stream_finding
from daemon.doctor.patience import USUAL, Patience
from daemon.secret import Sources
from daemon.session import open_session
from tests.daemon.doctor.servers import Front, fronting, serving
from tests.flows.daemon_bench import document, town

PASSWORD = "journey-password"
ILL, DOUBT, WELL = Verdict.ILL, Verdict.DOUBT, Verdict.WELL


@dataclass
class Events:
    """The page's events: one at once, and then none until `end` is set."""

    authorizations: list[str] = field(default_factory=list)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/healthz":
            return web.Response(text="ok\n")
        self.authorizations.append(request.headers.get("Authorization", ""))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await response.write(b"event: main\ndata: {}\n\n")
        with contextlib.suppress(ConnectionError):
            await self.end.wait()
        return response


@contextlib.asynccontextmanager
async def site(url: str) -> AsyncIterator[Site]:
    async with open_session() as session:
        yield Site(url, session, ssl.create_default_context())


async def first_by(front: Front, seconds: float = 0.3) -> First:
    async with serving(Events().handle) as port, fronting(front), site(front.url) as there:
        front.upstream = f"http://127.0.0.1:{port}"
        return await own_urls.first_event(there, PASSWORD, seconds=seconds)


async def test_the_first_event_comes_at_once_through_a_proxy_that_passes_it_on() -> None:
    first = await first_by(Front(), seconds=10.0)

    assert (first.status, first.is_stream) == (200, True)
    assert first.seconds is not None
    assert first.seconds < 5


async def test_a_proxy_that_buffers_lets_no_event_through() -> None:
    assert await first_by(Front(buffers=True)) == First()


async def test_a_proxy_that_sends_the_head_and_holds_the_events_lets_none_through() -> None:
    async def head_alone(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async with serving(head_alone) as port, site(f"http://127.0.0.1:{port}") as there:
        assert await own_urls.first_event(there, PASSWORD, seconds=0.3) == First(status=200, is_stream=True)


async def test_the_password_is_sent_as_basic_auth_and_a_page_is_no_stream() -> None:
    events = Events()
    async with serving(events.handle) as port, site(f"http://127.0.0.1:{port}") as there:
        await own_urls.first_event(there, "口令", seconds=5.0)
    assert events.authorizations == ["Basic ZG9jdG9yOuWPo+S7pA=="]

    first = await first_by(Front(answer=lambda: web.Response(status=401)))
    assert first == First(status=401)


async def looked_at(folder: Path, public_url: str, daemon: str, patience: Patience = USUAL, **more: Any) -> Finding:
    written = document("http://127.0.0.1:1/v1", [], [])
    written["server"] |= {"listen": [daemon.removeprefix("http://")], "public_url": public_url}
    written |= more
    settings = config.parse(written, Sources({}, folder))
    facts = await examine(settings, areas=[Area.STREAM], patience=patience)
    [finding] = findings(facts, settings, areas=[Area.STREAM], source="", doubts=(), now=0.0)
    return finding


async def test_a_running_daemon_behind_a_proxy_that_passes_is_well(tmp_path: Path) -> None:
    front = Front()
    async with town(tmp_path, {}) as here, fronting(front):
        front.upstream = here.daemon.url
        finding = await looked_at(tmp_path, front.url, here.daemon.url)
        without = await looked_at(tmp_path, "", here.daemon.url)
        changed = await looked_at(tmp_path, front.url, here.daemon.url, operator={"password": "changed"})

    assert (finding.verdict, finding.subject) == (WELL, front.url)
    assert (without.verdict, "server.public_url" in without.to_do) == (DOUBT, True)
    assert (changed.verdict, "takes another password" in changed.what) == (DOUBT, True)


async def test_a_running_daemon_behind_a_proxy_that_buffers_is_ill(tmp_path: Path) -> None:
    async with town(tmp_path, {}) as here, fronting(Front(here.daemon.url, buffers=True)) as front:
        finding = await looked_at(tmp_path, front.url, here.daemon.url, Patience(event=1.0))

    assert (finding.verdict, "holds streams back" in finding.what) == (ILL, True), finding
    assert "proxy_buffering off" in finding.to_do


@pytest.mark.parametrize(
    ("url", "addresses", "may"),
    [
        ("https://bot.example.org", ["192.0.2.1"], True),
        ("http://bot.example.org", ["127.0.0.1"], True),
        ("http://bot.example.org", ["192.0.2.1"], False),
        ("http://bot.example.org", ["127.0.0.1", "192.0.2.1"], False),
        ("http://bot.example.org", [], False),
    ],
)
def test_by_plain_http_to_another_machine_no_password_goes(url: str, addresses: list[str], may: bool) -> None:
    assert own_urls.may_carry_a_password(url, addresses) is may


HERE = First(status=200, is_stream=True, seconds=0.1)
BROKEN = First(Failure(Step.ANSWER, "the connection broke"))


@pytest.mark.parametrize(
    ("fact", "verdict", "words"),
    [
        (StreamFact(public=HERE, local=HERE), WELL, "nothing holds streams back"),
        (StreamFact(public=HERE), WELL, "nothing holds streams back"),
        (StreamFact(public=First(), local=HERE), ILL, "holds streams back"),
        (StreamFact(public=First(status=200, is_stream=True), local=HERE), ILL, "holds streams back"),
        (StreamFact(public=First(), local=First()), DOUBT, "no answer in time"),
        (StreamFact(public=First()), DOUBT, "no answer in time"),
        (StreamFact(public=First(status=401), local=HERE), DOUBT, "status 401"),
        (StreamFact(public=First(status=404), local=HERE), DOUBT, "status 404"),
        (StreamFact(public=First(status=502), local=HERE), DOUBT, "status 502"),
        (StreamFact(public=BROKEN, local=HERE), DOUBT, "the connection broke"),
        *[(StreamFact(reason), DOUBT, "Not tried") for reason in Untried],
    ],
)
def test_what_came_of_it_is_judged(fact: StreamFact, verdict: Verdict, words: str) -> None:
    finding = stream_finding(fact, "https://bot.example.org")

    assert (finding.verdict, words in finding.what) == (verdict, True), finding
    assert bool(finding.to_do) is (verdict is not WELL)
