"""
Every cause of “Token 验证失败”, provoked for real: a running daemon, a played WeChat, proxies in front that spoil things; and
doctor, which names it.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import encode_basic_auth, web

from bot.wechat.crypt import signature_of
from bot.wechat.view import SELF_TEST
from daemon import config
from daemon.demo.envelope import Account, Mode
from daemon.demo.subscriber import WeChatSide
from daemon.doctor.examination import examine
from daemon.doctor.finding import Area, Finding, Verdict
from daemon.doctor.findings import findings
from daemon.schema import Settings
from daemon.secret import Sources
from tests.daemon.doctor.servers import Front, fronting, serving, tls_of
from tests.flows.daemon_bench import AES_KEY, Town, document, path_of, town
from tests.pem import Authority

AUTHORITY = Authority()
ACCOUNT = Account()
SAFE = Account(mode=Mode.SAFE, app_id="wx0000000000000001", aes_key=AES_KEY)
WHO = "o_0123456789abcdef"
ILL, DOUBT, WELL = Verdict.ILL, Verdict.DOUBT, Verdict.WELL


def settings_for(daemon: str, folder: Path, public_url: str = "", **of_account: Any) -> Settings:
    """What doctor is run with: the daemon's own config, but for what is given here."""
    written = document("http://127.0.0.1:1/v1", [ACCOUNT], [])
    written["server"] |= {"listen": [daemon.removeprefix("http://")], "public_url": public_url}
    written["bot"]["accounts"][0] |= of_account
    return config.parse(written, Sources({}, folder))


async def found(settings: Settings, *areas: Area, context: ssl.SSLContext | None = None) -> list[Finding]:
    asked_for = areas or (Area.WECHAT,)
    facts = await examine(settings, areas=asked_for, context=context)
    return findings(facts, settings, areas=asked_for, source="posthouse.toml", doubts=(), now=0.0)


def callback(found: list[Finding]) -> Finding:
    """What became of doctor's own verification; it comes first."""
    return found[0]


def console(found: list[Finding]) -> list[Finding]:
    """What the daemon remembers of WeChat's console; after it comes the API."""
    return found[1:-1]


async def seen_by(here: Town, folder: Path, **of_account: Any) -> list[Finding]:
    return console(await found(settings_for(here.daemon.url, folder, here.daemon.url, **of_account)))


async def test_before_anything_came_the_port_and_the_way_are_suspected(tmp_path: Path) -> None:
    async with town(tmp_path, {}) as here:
        told = await found(settings_for(here.daemon.url, tmp_path))

    assert callback(told).verdict is DOUBT
    assert "On this machine a signed verification is answered" in callback(told).what
    assert [(each.verdict, each.what[:30]) for each in console(told)] == [
        (DOUBT, "The daemon listens on 127.0.0."),
        (DOUBT, "Nothing of WeChat's has arrive"),
    ]


async def test_a_console_with_another_token_is_named(tmp_path: Path) -> None:
    async with town(tmp_path, {}) as here:
        assert not await here.side.verify(token="another")
        [finding] = await seen_by(here, tmp_path)

    assert (finding.verdict, "the Token in WeChat's console is not" in finding.what) == (ILL, True)


async def test_a_console_with_another_path_is_named_with_both_paths(tmp_path: Path) -> None:
    async with town(tmp_path, {}) as here, WeChatSide(f"{here.daemon.url}/wechat/", ACCOUNT) as lost:
        assert not await lost.verify()
        [finding] = await seen_by(here, tmp_path)

    assert (finding.verdict, "came to /wechat/," in finding.what) == (ILL, True)
    assert here.daemon.url + path_of(ACCOUNT) in finding.to_do


async def test_a_clock_that_is_wrong_is_named(tmp_path: Path) -> None:
    """The daemon's clock is this machine's, so it is WeChat's that is shifted; the difference is what counts."""
    stamp = "1000000000"
    query = {"signature": signature_of(ACCOUNT.token, stamp, "1"), "timestamp": stamp, "nonce": "1", "echostr": "2"}
    async with town(tmp_path, {}) as here:
        async with here.session.get(here.daemon.url + path_of(ACCOUNT), params=query) as answer:
            assert answer.status == 403
        [finding] = await seen_by(here, tmp_path)

    assert (finding.verdict, "clock is wrong" in finding.what) == (ILL, True)


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        (ACCOUNT, SAFE, "encoding_aes_key` is not set"),
        (SAFE, ACCOUNT, "A push came in plain"),
        (SAFE, Account(mode=Mode.SAFE, app_id=SAFE.app_id, aes_key=AES_KEY[::-1]), "does not open"),
        (SAFE, Account(mode=Mode.SAFE, app_id="wx0000000000000009", aes_key=AES_KEY), "another AppID"),
    ],
    ids=["no key", "plain", "another key", "another app"],
)
async def test_pushes_that_do_not_open_are_named(tmp_path: Path, mine: Account, theirs: Account, words: str) -> None:
    async with town(tmp_path, {}, [mine]) as here, WeChatSide(f"{here.daemon.url}{path_of(mine)}", theirs) as other:
        assert await here.side.verify()
        await other.say(WHO, "在吗")
        [finding] = await seen_by(here, tmp_path)

    assert (finding.verdict, words in finding.what) == (ILL, True), finding


async def test_once_the_console_has_verified_nothing_is_left_to_say(tmp_path: Path) -> None:
    async with town(tmp_path, {}) as here:
        await here.side.verify(token="another")
        assert await here.side.verify()
        [finding] = await seen_by(here, tmp_path)

    assert (finding.verdict, finding.to_do) == (WELL, "")


async def test_without_an_account_wechat_knocks_at_no_door(tmp_path: Path) -> None:
    async with town(tmp_path, {}, []) as here, WeChatSide(f"{here.daemon.url}/wechat", ACCOUNT) as side:
        assert not await side.verify()
        written = document("http://127.0.0.1:1/v1", [], [])
        written["server"]["listen"] = [here.daemon.url.removeprefix("http://")]
        [finding] = await found(config.parse(written, Sources({}, tmp_path)))

    assert (finding.verdict, "No account is configured" in finding.what) == (ILL, True)


async def test_doctors_own_calls_leave_no_trace_in_what_the_daemon_remembers(tmp_path: Path) -> None:
    async with town(tmp_path, {}) as here:
        assert not await here.side.verify(token="another")
        before = await remembered(here)
        await seen_by(here, tmp_path)
        await seen_by(here, tmp_path, token="changed")
        await seen_by(here, tmp_path, path="/changed")
        assert await remembered(here) == before


async def test_only_a_verification_can_be_a_self_test(tmp_path: Path) -> None:
    """Or whoever forges pushes could hide them from the operator's page."""
    async with town(tmp_path, {}) as here:
        url = f"{here.daemon.url}{path_of(ACCOUNT)}?signature=0&timestamp=1&nonce=2&echostr={SELF_TEST}3"
        async with here.session.post(url, data=b"<xml/>") as answer:
            assert answer.status == 403
        assert await remembered(here) == ([("push", "signature")], [])


async def test_a_daemon_that_has_not_taken_up_the_config_is_named(tmp_path: Path) -> None:
    async with town(tmp_path, {}) as here:
        token = callback(await found(settings_for(here.daemon.url, tmp_path, here.daemon.url, token="changed")))
        path = callback(await found(settings_for(here.daemon.url, tmp_path, here.daemon.url, path="/changed")))

    assert (token.verdict, "refuses a verification that is signed with the config's token" in token.what) == (ILL, True)
    assert (path.verdict, "does not know the path /changed" in path.what) == (ILL, True)
    assert "Restart" in token.to_do
    assert "Restart" in path.to_do


async def by(front: Front, folder: Path) -> Finding:
    """Doctor's own verification, by the URL of a proxy that stands before a daemon that is right."""
    async with town(folder, {}) as here, fronting(front):
        front.upstream = here.daemon.url
        return callback(await found(settings_for(here.daemon.url, folder, front.url)))


def answering(status: int, text: str = "", **headers: str) -> Front:
    return Front(answer=lambda: web.Response(status=status, text=text, headers=headers))


@pytest.mark.parametrize(
    ("front", "words"),
    [
        (Front(), "The port is"),  # 80 and 443 are not for tests; all else is right
        (Front(drops_query=True), "taken on this machine: what stands between changes the request"),
        (Front(adds=b"<!-- statistics -->"), "the answer has more in it"),
        (Front(prefix="/bot"), ", and right on this machine: it is not passed"),
        (answering(200, "<h1>Welcome to nginx!</h1>", Server="nginx"), "another site answers (nginx)"),
        (answering(404, Server="nginx"), "status 404 (nginx), and right on this machine: it is not passed"),
        (
            answering(301, Location="https://bot.example.org/wechat?echostr=1"),
            "redirect to https://bot.example.org/wechat,",
        ),
        (answering(401), "a password is asked for"),
        (answering(403, Server="cloudflare"), "refused (cloudflare), and taken on this machine"),
        (answering(502, Server="nginx"), "status 502 (nginx): the proxy in front does not reach the daemon"),
        (answering(418), ", and not what WeChat wants back"),
    ],
    ids=["right", "query", "adds", "prefix", "site", "404", "redirect", "password", "firewall", "502", "418"],
)
async def test_a_proxy_in_front_that_spoils_the_verification_is_named(tmp_path: Path, front: Front, words: str) -> None:
    finding = await by(front, tmp_path)

    assert (finding.verdict, words in finding.what) == (ILL, True), finding
    assert finding.to_do


async def test_an_address_that_is_not_reached_is_named_with_the_reason(tmp_path: Path) -> None:
    async with serving() as port:
        pass
    async with town(tmp_path, {}) as here:
        refused = callback(await found(settings_for(here.daemon.url, tmp_path, f"http://127.0.0.1:{port}")))
        nameless = callback(await found(settings_for(here.daemon.url, tmp_path, "https://no-such-name.invalid")))

    assert (refused.verdict, "the connection is refused" in refused.what) == (ILL, True)
    assert (nameless.verdict, "its name is not found" in nameless.what) == (ILL, True)
    assert "A record" in nameless.to_do


async def test_a_certificate_that_wechat_would_refuse_is_named(tmp_path: Path) -> None:
    front = Front()
    expired = tls_of(*AUTHORITY.write(tmp_path, days=(-9.0, -1.0)))
    async with town(tmp_path, {}) as here, serving(front.handle, tls=expired) as port:
        front.upstream = here.daemon.url
        settings = settings_for(here.daemon.url, tmp_path, f"https://localhost:{port}")
        finding = callback(await found(settings, context=AUTHORITY.trust()))

    assert (finding.verdict, "its certificate has expired" in finding.what) == (ILL, True)
    assert "certificate" in finding.to_do


async def test_where_no_daemon_runs_that_is_said_and_what_cannot_be_known(tmp_path: Path) -> None:
    async with serving() as port:
        pass
    told = await found(settings_for(f"http://127.0.0.1:{port}", tmp_path), Area.WECHAT, Area.PORTS)

    assert [(each.area, each.verdict) for each in told if each.verdict is ILL] == [(Area.PORTS, ILL)]
    assert any("no running daemon told it" in each.what for each in told)


async def remembered(here: Town) -> tuple[list[tuple[str, str]], list[str]]:
    """What the page shows: the account's attempts, and the paths that are no account's."""
    signed_in = {"Authorization": encode_basic_auth("me", "journey-password")}
    async with here.session.get(f"{here.daemon.url}/status.json", headers=signed_in) as answer:
        said = await answer.json()
    attempts = [(each["kind"], each["outcome"]) for each in said["accounts"][0]["attempts"]]
    return attempts, [each["path"] for each in said["misdirected"]]
