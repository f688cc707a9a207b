"""News on its way to a webhook that answers, refuses, hangs, floods, or is not there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, MutableMapping, Sequence
from datetime import datetime
from itertools import pairwise
from socket import AF_INET, AddressFamily
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientSession, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from structlog.testing import capture_logs
from yarl import URL

from bot.texts import Texts
from daemon import config
from daemon.alerts import GRACE_SECONDS, MOST_WAITING, PAUSES, Alerts, open_alerts
from daemon.jobs import Job
from daemon.jobs import running as jobs_running
from daemon.notices import Event, Notice
from daemon.secret import Secret, Sources
from daemon.session import open_session
from daemon.wrong_config import WrongConfig
from tests.daemon.receiver import CUT, FLOOD, HANG, MOVED, STALL, receiver

DEAD = Notice(Event.KEY_DEAD, "main", "auth", "401 invalid_api_key")
EMPTY = Notice(Event.POOL_EMPTY)
ZONE = ZoneInfo("Asia/Shanghai")
EVENING = datetime(2026, 11, 22, 22, 0, 0, 500_000, ZONE).timestamp()
QUICK = (0.01, 0.02, 0.04)
Logs = list[MutableMapping[str, Any]]


@contextlib.asynccontextmanager
async def alerting(
    url: str, *, pauses: Sequence[float] = QUICK, seconds: float = 5.0, session: ClientSession | None = None
) -> AsyncIterator[tuple[Alerts, Logs]]:
    """Alerts to `url`, and what they log; each post is for the test to run, or for `posting`."""
    with capture_logs() as logs:
        async with session or open_session() as opened:
            yield (
                Alerts(
                    opened,
                    Secret(url) if url else None,
                    Texts(),
                    zone=ZONE,
                    clock=lambda: EVENING,
                    pauses=pauses,
                    seconds=seconds,
                ),
                logs,
            )
    assert "canary" not in str(logs)


@contextlib.asynccontextmanager
async def posting(alerts: Alerts) -> AsyncIterator[None]:
    """As the daemon has it: one post after the other, and a moment at the end."""
    async with jobs_running(Job("alerts", alerts.post_next, 0.0)):
        yield
        await alerts.finish()


async def test_news_is_posted_as_json_with_the_time_of_the_servers_zone() -> None:
    async with receiver() as received, alerting(received.url) as (alerts, logs):
        alerts.hear([DEAD])
        await alerts.post_next()
    [(path, headers, _)] = received.posts
    assert path == "/hook/canary-path?key=canary-key"
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["User-Agent"] == "posthouse"
    assert received.alerts == [
        {
            "source": "posthouse",
            "event": "key.dead",
            "key": "main",
            "state": "dead",
            "rule": "auth",
            "reason": "401 invalid_api_key",
            "at": "2026-11-22T22:00:00+08:00",
            "text": "密钥 main：已失效。请在 posthouse.toml 中换上新密钥。每 24 小时会再检查一次。到状态页看原因。",
        }
    ]
    [sent] = logs
    assert (sent["event"], sent["news"], sent["status"], sent["tries"]) == ("alert.sent", ["key.dead main"], 200, 1)


async def test_several_news_are_several_posts_in_their_order() -> None:
    async with receiver() as received, alerting(received.url) as (alerts, _), posting(alerts):
        alerts.hear([DEAD, EMPTY])
        alerts.hear([Notice(Event.POOL_USABLE)])
        await received.has(3)
    assert [alert["event"] for alert in received.alerts] == ["key.dead", "pool.empty", "pool.usable"]


@pytest.mark.parametrize("failure", [500, 503, 429, CUT, HANG])
async def test_what_may_pass_is_tried_again_with_growing_pauses(failure: int | str) -> None:
    async with (
        receiver(failure, failure, failure) as received,
        alerting(received.url, seconds=0.1) as (alerts, logs),
    ):
        alerts.hear([DEAD])
        await alerts.post_next()
    [sent] = logs
    assert (sent["event"], sent["tries"], len(received.posts)) == ("alert.sent", 4, 4)
    waited = [later - sooner for sooner, later in pairwise(received.at)]
    assert all(seconds >= pause for seconds, pause in zip(waited, QUICK, strict=True))
    assert list(PAUSES) == sorted(PAUSES)


async def test_what_does_not_pass_is_given_up_and_the_next_news_has_its_turn() -> None:
    async with receiver(500, 502, 503, 500) as received, alerting(received.url) as (alerts, logs):
        alerts.hear([DEAD, EMPTY])
        await alerts.post_next()
        await alerts.post_next()
    failed, sent = logs
    assert (failed["event"], failed["news"], failed["status"]) == ("alert.failed", ["key.dead main"], 500)
    assert (failed["tries"], failed["reason"]) == (4, "it is busy or broken")
    assert (sent["event"], sent["news"]) == ("alert.sent", ["pool.empty"])
    assert len(received.posts) == 5


@pytest.mark.parametrize(("answer", "status"), [(404, 404), (410, 410), (MOVED, 302)])
async def test_a_refusal_and_a_redirect_are_final(answer: int | str, status: int) -> None:
    async with receiver(answer) as received, alerting(received.url) as (alerts, logs):
        alerts.hear([DEAD])
        await alerts.post_next()
    [failed] = logs
    assert (failed["event"], failed["status"], failed["tries"]) == ("alert.failed", status, 1)
    assert "alerts.webhook" in failed["reason"]
    assert len(received.posts) == 1


@pytest.mark.parametrize("answer", [FLOOD, STALL])
async def test_an_answer_without_an_end_is_not_waited_for(answer: str) -> None:
    async with receiver(answer) as received, alerting(received.url, seconds=0.5, pauses=()) as (alerts, logs):
        alerts.hear([DEAD])
        await alerts.post_next()
    assert [line["event"] for line in logs] == ["alert.sent"]


class AtHome(AbstractResolver):
    """Every name is this machine's."""

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=AF_INET, proto=0, flags=0)]

    async def close(self) -> None: ...


def at_home() -> ClientSession:
    return ClientSession(connector=TCPConnector(resolver=AtHome()))


async def test_a_robot_gets_what_waits_as_one_message_and_its_code_is_read() -> None:
    taken = b'{"errcode": 0, "errmsg": "ok"}'
    async with receiver(b'{"errcode": 45009}', taken, b'{"errcode": 93000}') as received:
        url = str(URL(received.url).with_host("qyapi.weixin.qq.com"))
        async with alerting(url, session=at_home()) as (alerts, logs):
            alerts.hear([DEAD, EMPTY])
            await alerts.post_next()
            alerts.hear([EMPTY])
            await alerts.post_next()
    sent, refused = logs
    assert (sent["news"], sent["tries"]) == (["key.dead main", "pool.empty"], 2)
    assert received.alerts[1]["msgtype"] == "text"
    assert [line[:4] for line in received.alerts[1]["text"]["content"].splitlines()] == ["【驿站】", "现在没有"]
    assert (refused["status"], refused["tries"]) == (200, 1)
    assert "93000" in refused["reason"]


async def test_a_robots_answer_is_read_no_further_than_a_code_may_stand() -> None:
    async with receiver(FLOOD) as received:
        url = str(URL(received.url).with_host("open.feishu.cn"))
        async with alerting(url, session=at_home(), pauses=()) as (alerts, logs):
            alerts.hear([DEAD])
            await alerts.post_next()
    [failed] = logs
    assert failed["reason"] == "that is no answer of the robot's: look at alerts.webhook"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/canary", "no connection"),
        ("http://canary.invalid/", "its name was not found"),
        (f"http://{'canary' * 20}.test/", "its name was not found"),
    ],
)
async def test_a_webhook_that_is_not_there_is_told_without_its_address(url: str, reason: str) -> None:
    async with alerting(url) as (alerts, logs):
        alerts.hear([DEAD])
        await alerts.post_next()
    [failed] = logs
    assert (failed["status"], failed["tries"], failed["reason"]) == (None, 4, reason)


async def test_a_webhook_whose_tls_is_not_right_is_told_so() -> None:
    async with receiver() as received, alerting(received.url.replace("http:", "https:"), pauses=()) as (alerts, logs):
        alerts.hear([DEAD])
        await alerts.post_next()
    [failed] = logs
    assert failed["reason"] == "its certificate or TLS is not right"


async def test_another_webhook_gets_the_next_news_and_none_gets_none() -> None:
    async with receiver() as first, receiver() as second, alerting("") as (alerts, logs):
        alerts.hear([DEAD])  # nobody's
        alerts.reconfigure(settings_with(first.url))
        alerts.hear([DEAD])
        await alerts.post_next()
        alerts.reconfigure(settings_with(second.url))
        alerts.hear([EMPTY, EMPTY])
        await alerts.post_next()
        alerts.reconfigure(settings_with(""))
        await alerts.post_next()
    assert [[alert["event"] for alert in received.alerts] for received in (first, second)] == [
        ["key.dead"],
        ["pool.empty"],
    ]
    assert len(logs) == 2


async def test_of_too_many_that_wait_the_oldest_go() -> None:
    many = [Notice(Event.KEY_DEAD, f"k{number}") for number in range(MOST_WAITING + 2)]
    async with receiver() as received, alerting(received.url) as (alerts, logs):
        alerts.hear(many)
        async with posting(alerts):
            await received.has(MOST_WAITING)
    assert [alert["key"] for alert in received.alerts] == [notice.name for notice in many[2:]]
    dropped = [line["news"] for line in logs if line["event"] == "alert.dropped"]
    assert dropped == [["key.dead k0"], ["key.dead k1"]]


@pytest.mark.parametrize(("failures", "event"), [([500], "alert.sent"), ([500, 500], "alert.failed")])
async def test_at_the_end_what_waits_has_one_more_try_and_no_pause(failures: list[int], event: str) -> None:
    async with (
        receiver(*failures) as received,
        alerting(received.url, pauses=(3600.0, 3600.0)) as (alerts, logs),
        posting(alerts),
    ):
        alerts.hear([DEAD])
        await received.has(1)
        alerts.hear([EMPTY])
    assert [alert["event"] for alert in received.alerts] == ["key.dead", "key.dead", "pool.empty"]
    assert [line["event"] for line in logs] == [event, "alert.sent"]


async def test_the_end_does_not_wait_for_a_webhook_that_hangs() -> None:
    now = asyncio.get_running_loop().time
    async with receiver(HANG) as received, alerting(received.url, seconds=3600) as (alerts, logs):
        async with posting(alerts):
            alerts.hear([DEAD, EMPTY])
            await received.has(1)
            began = now()
        assert now() - began < 2
    [line] = logs
    assert (line["event"], line["news"]) == ("alert.dropped", ["key.dead main", "pool.empty"])


async def test_what_was_just_heard_is_posted_before_the_end() -> None:
    async with receiver() as received, open_alerts(settings_with(received.url)) as alerts:
        alerts.hear([DEAD])
    assert [alert["event"] for alert in received.alerts] == ["key.dead"]


async def test_the_end_is_at_once_where_nothing_waits() -> None:
    now = asyncio.get_running_loop().time
    began = now()
    async with open_alerts(settings_with("https://alerts.test/")):
        pass
    assert now() - began < GRACE_SECONDS


def settings_with(webhook: str) -> config.Settings:
    return config.parse({"alerts": {"webhook": webhook}}, Sources())


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.slack.com/services/T0/B0/xyz",
        "https://user:word@alerts.test:8443/a%2Fb?x=1&y=+",
        "http://127.0.0.1:9093/",
        "http://localhost/x",
        "http://[::1]:8080/x",
    ],
)
def test_a_webhook_is_https_or_on_this_machine(url: str) -> None:
    webhook = settings_with(url).alerts.webhook
    assert webhook is not None
    assert webhook.reveal() == url


@pytest.mark.parametrize(
    "url",
    [
        "http://canary.test/",
        "https://",
        "https:///canary",
        "https://[::1",
        "https://canary.test:99999/",
        "https://canary.test/a b",
        "ftp://canary.test/",
        "canary",
    ],
)
def test_what_is_no_such_webhook_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(WrongConfig) as wrong:
        settings_with(url)
    assert str(wrong.value) == "alerts.webhook: expected an https:// URL (http:// to this machine only)"
