"""A whole examination: what is contacted for which area, that it ends in time, and that no secret comes out of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from daemon import config
from daemon.demo.refusals import Revoked
from daemon.demo.upstream import ScriptedUpstream
from daemon.demo.wechat_server import WeChatServer
from daemon.doctor.examination import examine
from daemon.doctor.facts import Console, Door, Echo, Role
from daemon.doctor.finding import Area, Verdict, is_ill
from daemon.doctor.findings import bot_models, findings
from daemon.doctor.patience import Patience
from daemon.doctor.places import places
from daemon.doctor.report import rows
from daemon.schema import Settings
from daemon.secret import Sources
from tests.daemon.doctor.servers import alone, saying, serving
from tests.flows.daemon_bench import town

KEYS = ("sk-first-0123456789ab", "sk-second-0123456789")
SECRETS = (*KEYS, "demotoken", "journey-password", "0123456789abcdef0123456789abcdef")
APP_ID = "wx0123456789abcdef"


def settings(folder: Path, **tables: Any) -> Settings:
    return config.parse(tables, Sources({}, folder))


def account(api_base: str, **more: Any) -> dict[str, Any]:
    return {
        "id": "gh_1",
        "token": "demotoken",
        "app_id": APP_ID,
        "app_secret": SECRETS[-1],
        "api_base": api_base,
        **more,
    }


def upstreams(base_url: str) -> dict[str, Any]:
    return {"openai": {"base_url": base_url}}


async def test_a_whole_examination_of_a_running_daemon_finds_what_is_ill_and_nothing_else(tmp_path: Path) -> None:
    async with (
        WeChatServer(app_id=APP_ID, app_secret=SECRETS[-1]) as wechat,
        town(tmp_path, {KEYS[0]: [], KEYS[1]: [Revoked()]}, model="gpt-5.2") as here,
    ):
        given = settings(
            tmp_path,
            server={"listen": [here.daemon.url.removeprefix("http://")]},
            operator={"password": "journey-password"},
            upstreams=upstreams(here.upstream.base_url),
            keys=[{"name": f"k{number}", "secret": key} for number, key in enumerate(KEYS)],
            bot={
                "model": "gpt-5.2",
                "accounts": [account(f"http://127.0.0.1:{wechat.port}", path="/wechat/gh_0123456789ab")],
            },
        )
        told: list[tuple[str, int, int]] = []
        facts = await examine(given, tell=lambda *progress: told.append(progress))
        found = findings(facts, given, areas=list(Area), source="posthouse.toml", doubts=(), now=time.time())

    ill = [(finding.area, finding.subject) for finding in found if finding.verdict is Verdict.ILL]
    assert ill == [(Area.KEYS, "k1 (…6789)")]
    assert {finding.area for finding in found} == set(Area) - {Area.DNS}  # every host is an address here
    assert [finding.area for finding in found] == sorted((finding.area for finding in found), key=list(Area).index)
    assert [done for _, done, _ in told] == list(range(1, len(told) + 1))
    assert told[-1] == ("", len(told), len(told))
    assert all(waited_for for waited_for, _, _ in told[:-1])
    for secret in SECRETS:
        assert secret not in repr(facts) + repr(rows(found))


@pytest.mark.parametrize(
    ("area", "upstream", "wechat", "daemon"),
    [
        (Area.CONFIG, [], 0, []),
        (Area.DNS, ["/cdn-cgi/trace"], 0, []),
        (Area.KEYS, ["/cdn-cgi/trace", "/v1/models"], 0, []),
        (Area.EGRESS, ["/cdn-cgi/trace", "/v1/models"], 0, []),
        (Area.DATABASE, [], 0, []),
        (Area.PORTS, [], 0, ["/healthz"]),
        (Area.WECHAT, [], 2, ["/healthz", "/status.json", "/wechat"]),
        (Area.STREAM, [], 0, ["/healthz", "/status/events"]),
    ],
)
async def test_for_an_area_nothing_is_contacted_that_it_does_not_need(
    tmp_path: Path, area: Area, upstream: list[str], wechat: int, daemon: list[str]
) -> None:
    asked: list[str] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text="ok\n")

    async with (
        ScriptedUpstream({KEYS[0]: []}) as openai,
        WeChatServer(app_id=APP_ID, app_secret=SECRETS[-1]) as api,
        serving(note) as port,
    ):
        given = settings(
            tmp_path,
            server={"listen": [f"127.0.0.1:{port}"]},
            operator={"password": "journey-password"},
            upstreams=upstreams(openai.base_url),
            keys=[{"name": "k", "secret": KEYS[0]}],
            bot={"model": "gpt-5.2", "accounts": [account(f"http://127.0.0.1:{api.port}")]},
        )
        facts = await examine(given, areas=[area])
        found = findings(facts, given, areas=[area], source="x", doubts=(), now=0.0)

    assert sorted({request.path for request in openai.requests}) == upstream
    assert len(api.calls) == wechat
    assert sorted(set(asked)) == daemon
    assert {finding.area for finding in found} <= {area}


async def test_where_everything_hangs_the_examination_ends_all_the_same(tmp_path: Path) -> None:
    async with saying(b"") as port:
        silent = f"http://127.0.0.1:{port}"
        given = settings(
            tmp_path,
            server={"listen": [f"127.0.0.1:{port}"], "public_url": silent},
            operator={"password": "journey-password"},
            upstreams=upstreams(f"{silent}/v1"),
            keys=[{"name": "k", "secret": KEYS[0]}],
            bot={"model": "gpt-5.2", "accounts": [account(silent)]},
        )
        soon = Patience(*[0.2] * len(fields(Patience)))
        async with asyncio.timeout(10):
            facts = await examine(given, patience=soon)

    assert facts.doors[0].door is Door.SILENT
    assert is_ill(findings(facts, given, areas=list(Area), source="x", doubts=(), now=0.0))


async def test_a_daemon_that_ends_tls_itself_is_reached_on_this_machine(tmp_path: Path) -> None:
    """Its certificate is for a name, and on this machine it is called by an address."""
    certificate, key = alone(tmp_path, "bot.example.org")
    files = {"tls_certificate": str(certificate), "tls_key": str(key)}
    async with town(tmp_path, {}, amend=lambda written: written["server"].update(files)) as here:
        server = {"listen": [here.daemon.url.removeprefix("https://")], **files}
        given = settings(tmp_path, server=server, operator={"password": "journey-password"})
        facts = await examine(given, areas=[Area.PORTS, Area.STREAM, Area.TLS])

    assert facts.doors[0].door is Door.OURS
    assert facts.stream is not None
    assert facts.stream.local is not None
    assert facts.stream.local.seconds is not None
    [own] = findings(facts, given, areas=[Area.TLS], source="x", doubts=(), now=time.time())
    assert (own.subject, own.verdict) == ("server.tls_certificate", Verdict.WELL)


async def test_a_daemon_behind_a_unix_socket_is_reached_through_it(tmp_path: Path) -> None:
    listen = [f"unix:{tmp_path}/http.sock"]
    async with town(tmp_path, {}, amend=lambda written: written["server"].update(listen=listen)):
        given = settings(
            tmp_path,
            server={"listen": listen},
            operator={"password": "journey-password"},
            bot={"model": "m", "accounts": [{"id": "gh_1", "token": "demotoken", "path": "/wechat/gh_0123456789ab"}]},
        )
        facts = await examine(given, areas=[Area.PORTS, Area.WECHAT])

    assert facts.doors[0].door is Door.OURS
    [of_account] = facts.accounts
    assert of_account.local is not None
    assert (of_account.local.echo, of_account.console) == (Echo.EXACT, Console())


def test_the_longest_row_of_waits_is_below_half_a_minute() -> None:
    """A way is a name, a connection and a greeting; what needs it waits for it, and an event may be waited for twice."""
    usual = Patience()
    after_a_way = max(usual.key, usual.verification, usual.event)
    assert 3 * usual.step + after_a_way < 30
    assert usual.knock + 2 * usual.event < 30
    assert usual.api + usual.addresses < 30
    assert max(getattr(usual, each.name) for each in fields(Patience)) <= 10


def test_the_places_are_those_that_the_daemon_goes_to(tmp_path: Path) -> None:
    given = settings(
        tmp_path,
        server={"public_url": "https://bot.example.org:8443"},
        upstreams={
            "openai": {},
            "unused": {"base_url": "https://unused.example.org/v1"},
            "other": {"base_url": "https://api.openai.com/other"},
        },
        keys=[
            {"name": "a", "secret": KEYS[0]},
            {"name": "b", "secret": KEYS[1], "upstream": "other"},
        ],
        bot={
            "model": "m",
            "accounts": [
                account("https://hk.api.weixin.qq.com"),
                {"id": "gh_2", "token": "demotoken", "path": "/second", "api_base": "https://never.example.org"},
            ],
        },
    )
    found = [(place.role, place.host, place.port) for place in places(given, set(Role))]

    assert found == [
        (Role.UPSTREAM, "api.openai.com", 443),
        (Role.WECHAT, "hk.api.weixin.qq.com", 443),
        (Role.PUBLIC, "bot.example.org", 8443),
        *((Role.SPARE, f"{name}.weixin.qq.com", 443) for name in ("api", "api2", "sh.api", "sz.api")),
    ]
    assert places(given, {Role.PUBLIC})[0].host == "bot.example.org"
    assert places(settings(tmp_path, proxy={"passthrough": True}), set(Role))[0].host == "api.openai.com"
    assert places(settings(tmp_path), set(Role)) == []


def test_the_models_are_all_that_the_bot_may_ask(tmp_path: Path) -> None:
    given = settings(
        tmp_path,
        server={"public_url": "https://bot.example.org"},
        bot={
            "model": "large",
            "images": {"model": "painter"},
            "accounts": [
                {"id": "gh_1", "token": "demotoken"},
                {"id": "gh_2", "token": "demotoken", "path": "/second", "model": "small"},
                {"id": "gh_3", "token": "demotoken", "path": "/third", "model": "large"},
            ],
        },
    )
    assert bot_models(given) == {"large": "bot.model", "small": "the model of gh_2", "painter": "bot.images.model"}
    assert bot_models(settings(tmp_path)) == {}
