"""WeChat's server API for an account: against the played WeChat, and what is said of every way in which it refuses."""

from __future__ import annotations

import json
import socket
import ssl
import threading

import pytest

from bot.wechat.api_errors import ApiError, ApiRefused, ApiUnreachable
from daemon import config
from daemon.demo.wechat_server import CALLBACK_ADDRESSES, WeChatServer
from daemon.demo.wechat_steps import Fault, Garbage, Scripted, Slow
from daemon.doctor import wechat_api
from daemon.doctor.facts import AccountFact, Console, Failure, Step
from daemon.doctor.finding import Finding, Verdict
from daemon.doctor.patience import USUAL, Patience
from daemon.doctor.wechat_findings import account_findings
from daemon.schema.bot import Account
from daemon.secret import Sources
from daemon.session import open_session

SECRET = "0123456789abcdef0123456789abcdef"
APP_ID = "wx0123456789abcdef"
ILL, DOUBT, WELL = Verdict.ILL, Verdict.DOUBT, Verdict.WELL


def account(api_base: str) -> Account:
    table = {"id": "gh_1", "token": "demotoken", "app_id": APP_ID, "app_secret": SECRET, "api_base": api_base}
    return config.parse({"bot": {"model": "gpt-5", "accounts": [table]}}, Sources()).bot.accounts[0]


async def asked(server: WeChatServer, patience: Patience = USUAL) -> tuple[ApiError | Failure | None, int | None]:
    async with open_session() as session:
        at = account(f"http://127.0.0.1:{server.port}")
        return await wechat_api.ask(at, session, context=ssl.create_default_context(), patience=patience)


async def scripted(**script: list[Scripted]) -> tuple[ApiError | Failure | None, int | None]:
    async with WeChatServer(app_id=APP_ID, app_secret=SECRET, script=script) as server:
        return await asked(server)


def api_finding(failure: ApiError | Failure | None, addresses: int | None = None) -> Finding:
    fact = AccountFact("gh_1", "/wechat", has_api=True, api_failure=failure, callback_addresses=addresses)
    [*_, finding] = account_findings(fact, [], public_url="", listen=())
    return finding


async def test_a_token_is_had_as_the_daemon_has_it_and_wechats_addresses_are_counted() -> None:
    async with WeChatServer(app_id=APP_ID, app_secret=SECRET) as server:
        outcome = await asked(server)

    assert outcome == (None, len(CALLBACK_ADDRESSES))
    first, second = server.calls
    assert (first.path, first.json["force_refresh"]) == ("/cgi-bin/stable_token", False)
    assert second.path == "/cgi-bin/getcallbackip"
    finding = api_finding(*outcome)
    assert (finding.verdict, "from 2 addresses" in finding.what) == (WELL, True)


async def test_a_running_daemons_token_stays_good() -> None:
    async with WeChatServer(app_id=APP_ID, app_secret=SECRET) as server:
        request = {"grant_type": "client_credential", "appid": APP_ID, "secret": SECRET}
        before = server.stable_token(json.dumps(request).encode())["access_token"]
        await asked(server)
        server.admit(before, needs_verified=False)


@pytest.mark.parametrize(
    ("code", "verdict", "words"),
    [
        (40013, ILL, "app_id is wrong"),
        (40125, ILL, "app_secret is wrong"),
        (40164, ILL, "Add the address 203.0.113.7 to the IP allow-list"),
        (45009, ILL, "quota"),
        (50002, ILL, "restricted"),
        (89503, ILL, "confirm this server's address"),
        (99999, ILL, "99999"),
    ],
)
async def test_a_refusal_is_named_with_what_to_do(code: int, verdict: Verdict, words: str) -> None:
    message = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist" if code == 40164 else "no"
    failure, addresses = await scripted(stable_token=[Fault(code, message)])

    assert isinstance(failure, ApiRefused)
    finding = api_finding(failure, addresses)
    assert (finding.verdict, str(code) in finding.what, words in finding.to_do) == (verdict, True, True), finding


async def test_a_wrong_secret_is_what_wechat_says_it_is() -> None:
    async with WeChatServer(app_id=APP_ID, app_secret="another") as server:
        failure, _ = await asked(server)

    assert isinstance(failure, ApiRefused)
    assert failure.code == 40125


async def test_a_server_that_is_gone_is_no_fault_of_the_account() -> None:
    async with WeChatServer(app_id=APP_ID, app_secret=SECRET) as server:
        pass
    failure, _ = await asked(server)

    assert isinstance(failure, ApiUnreachable)
    assert api_finding(failure).verdict is DOUBT


async def test_a_server_that_does_not_answer_is_left_in_time() -> None:
    async with WeChatServer(app_id=APP_ID, app_secret=SECRET, script={"stable_token": [Slow(5.0)]}) as server:
        failure, _ = await asked(server, Patience(api=0.1))

    assert failure == Failure(Step.ANSWER, "no answer in time")
    assert api_finding(failure).verdict is DOUBT


async def test_a_resolver_that_never_answers_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, asked_for = threading.Event(), []

    def silent(host: str, *_: object, **__: object) -> list[object]:
        asked_for.append(host)
        may_end.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    async with open_session() as session:
        try:
            failure, _ = await wechat_api.ask(
                account("https://slow.test"),
                session,
                context=ssl.create_default_context(),
                patience=Patience(step=0.05),
            )
        finally:
            may_end.set()

    assert failure == Failure(Step.NAME, "its name is not found in time")
    assert asked_for == ["slow.test"]


@pytest.mark.parametrize("step", [Fault(48001), Garbage(500), Garbage(200, b"[]"), Garbage(200, b"\xff"), Garbage(302)])
async def test_without_the_list_of_addresses_the_token_is_well_all_the_same(step: Scripted) -> None:
    outcome = await scripted(getcallbackip=[step])

    assert outcome == (None, None)
    assert api_finding(*outcome).verdict is WELL


def test_an_account_without_a_secret_is_not_asked_about() -> None:
    fact = AccountFact("gh_1", "/wechat", has_api=False, console=Console())
    assert [finding.verdict for finding in account_findings(fact, [], public_url="", listen=())][-1] is WELL
