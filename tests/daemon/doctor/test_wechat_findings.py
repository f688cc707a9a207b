"""What is said of an account where a test has no port 80 to verify by, and of a daemon that tells nothing."""

from __future__ import annotations

import ssl

import pytest
from aiohttp import web

from daemon.doctor import own_urls
from daemon.doctor.doors import Site
from daemon.doctor.facts import AccountFact, Called, Console, Echo, Failure, Step
from daemon.doctor.finding import Finding, Verdict
from daemon.doctor.wechat_findings import account_findings, no_account_findings
from daemon.session import open_session
from tests.daemon.doctor.servers import serving

ILL, DOUBT, WELL = Verdict.ILL, Verdict.DOUBT, Verdict.WELL
RIGHT = Called(status=200, echo=Echo.EXACT, seconds=0.2)
SLOW = Called(status=200, echo=Echo.EXACT, seconds=3.4)


def callback(url: str, public: Called | None, local: Called | None = RIGHT) -> Finding:
    fact = AccountFact("gh_1", "/wechat", has_api=False, public=public, local=local)
    return next(account_findings(fact, [], public_url=url, listen=["127.0.0.1:8080"]))


@pytest.mark.parametrize(
    ("url", "public", "local", "verdict", "words"),
    [
        ("https://bot.example.org", RIGHT, RIGHT, WELL, "https://bot.example.org/wechat answers"),
        ("http://bot.example.org", RIGHT, None, WELL, "http://bot.example.org/wechat answers"),
        ("http://bot.example.org:8080", RIGHT, RIGHT, ILL, "The port is 8080"),
        ("https://bot.example.org", SLOW, RIGHT, DOUBT, "after 3.4 s"),
        ("https://bot.example.org", Called(status=403), None, ILL, "not what WeChat wants back"),
        ("https://bot.example.org", Called(status=404), None, ILL, "not what WeChat wants back"),
        ("https://bot.example.org", Called(Failure(Step.TLS, "it fails")), RIGHT, ILL, "not reached: it fails"),
        ("https://bot.example.org", Called(Failure(Step.CONNECT, "it fails")), RIGHT, ILL, "not reached: it fails"),
        ("", None, RIGHT, DOUBT, "On this machine a signed verification is answered"),
        ("", None, None, DOUBT, "Nothing could be called"),
    ],
)
def test_a_verification_of_our_own_is_judged(
    url: str, public: Called | None, local: Called | None, verdict: Verdict, words: str
) -> None:
    finding = callback(url, public, local)

    assert (finding.verdict, words in finding.what) == (verdict, True), finding
    assert bool(finding.to_do) is (verdict is not WELL)


def test_a_port_that_was_told_once_is_not_told_again() -> None:
    fact = AccountFact("gh_1", "/wechat", has_api=False, public=RIGHT, local=RIGHT, console=Console())
    found = list(account_findings(fact, [], public_url="http://bot.example.org:8080", listen=()))
    assert sum("The port is" in finding.what for finding in found) == 1


def test_an_account_that_gets_pushes_is_well() -> None:
    fact = AccountFact("gh_1", "/wechat", has_api=False, public=RIGHT, console=Console(deliveries=3))
    found = list(account_findings(fact, [], public_url="https://bot.example.org", listen=()))
    assert [finding.verdict for finding in found] == [WELL] * 3


def test_without_an_account_and_without_wechat_there_is_nothing_to_say() -> None:
    assert list(no_account_findings([], "")) == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, "{}"),
        (200, "<html>"),
        (200, "[]"),
        (200, "[" * 100_000),
        (200, '{"accounts": [{"path": "/wechat"}], "misdirected": []}'),
        (200, '{"accounts": [], "misdirected": [{"age_seconds": "x"}]}'),
        (200, '{"accounts": [{"path": "/wechat", "attempts": [], "deliveries": 1e999}], "misdirected": []}'),
        (200, '{"accounts": [], "misdirected": [{"age_seconds": 1' + "0" * 400 + ', "path": "/", "method": "GET"}]}'),
    ],
)
async def test_another_program_or_an_older_daemon_tells_nothing(status: int, body: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async with serving(answer) as port, open_session() as session:
        site = Site(f"http://127.0.0.1:{port}", session, ssl.create_default_context())
        assert await own_urls.remembered(site, "password", clock=lambda: 0.0) is None


async def test_a_server_that_breaks_off_is_told_as_that() -> None:
    async def leave(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with serving(leave) as port, open_session() as session:
        site = Site(f"http://127.0.0.1:{port}", session, ssl.create_default_context())
        called = await own_urls.verify(site, "/wechat", "demotoken", clock=lambda: 0.0)
        first = await own_urls.first_event(site, "password", seconds=5.0)

    assert called.failure is not None
    assert first.failure is not None
    assert {called.failure.reason, first.failure.reason} <= {"the connection broke", "the connection is reset"}
