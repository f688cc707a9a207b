"""A key falls, an upstream breaks, the pool is empty, and back: who is on duty hears of it by the webhook."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from bot.texts import Texts
from daemon import config
from daemon.alerts import Alerts
from daemon.demo.refusals import Deactivated, NoQuota, RegionBlocked, ServerError
from daemon.demo.steps import Answer
from daemon.news import News
from daemon.secret import Secret, Sources
from daemon.session import open_session
from tests.daemon.receiver import Receiver, receiver
from tests.flows.conftest import Bench, Start
from tests.flows.daemon_bench import TOKEN, document, town

CHAT = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}


class Duty:
    """What the webhook has told, one look at a time; `bench`'s clock may jump."""

    def __init__(self, bench: Bench, alerts: Alerts, received: Receiver) -> None:
        self._bench, self._alerts, self._received = bench, alerts, received
        self._news = News(bench.pool, [self._hear], clock=lambda: time.monotonic() + bench.later[0])
        self._heard = 0

    def _hear(self, news: Any) -> None:
        self._heard += len(news)
        self._alerts.hear(news)

    async def asks(self) -> int:
        async with self._bench.session.post(
            f"{self._bench.url}/v1/chat/completions", json=CHAT, headers=self._bench.headers
        ) as answer:
            await answer.read()
            return answer.status

    async def told(self) -> list[str]:
        """What comes of one look."""
        before = len(self._received.posts)
        await self._news.look()
        while len(self._received.posts) < self._heard:
            await self._alerts.post_next()
        return [
            " ".join(alert.get(name, "") for name in ("event", "key", "upstream", "rule")).rstrip()
            for alert in self._received.alerts[before:]
        ]


async def test_a_broken_upstream_is_told_and_back_only_when_an_answer_has_shown_it(start: Start) -> None:
    bench = await start([ServerError()] * 6 + [Answer()])
    async with receiver() as received, open_session() as session:
        duty = Duty(bench, alerts_to(received, session), received)
        for _ in range(5):
            await duty.asks()
        assert await duty.told() == ["upstream.down  scripted breaker"]

        bench.let_pass(6)  # the rest is over, nobody has tried
        assert await duty.told() == []
        assert await duty.asks() == 500
        assert await duty.told() == []
        bench.let_pass(60)
        assert await duty.asks() == 200
        assert await duty.told() == ["upstream.up  scripted"]
    assert received.alerts[0]["text"] == "上游 scripted 暂停使用。上游接连出错，先歇一会。恢复了会再通知。"
    assert received.alerts[0]["reason"] == "it failed server again and again"


async def test_a_pool_whose_last_key_has_no_quota_is_told_empty_and_usable_again(start: Start) -> None:
    bench = await start([NoQuota(), Answer()], [NoQuota(), Answer()])
    async with receiver() as received, open_session() as session:
        duty = Duty(bench, alerts_to(received, session), received)
        await duty.asks()
        assert await duty.told() == ["key.exhausted k1  quota", "key.exhausted k2  quota"]
        bench.let_pass(11)
        assert await duty.told() == ["pool.empty"]
        bench.let_pass(600)  # their rest is over
        assert await duty.told() == []
        assert await duty.asks() == 200
        assert await duty.told() == []
        bench.let_pass(31)
        assert await duty.told() == ["pool.usable"]


async def test_a_country_that_is_not_served_is_the_upstreams_news_and_not_the_keys(start: Start) -> None:
    bench = await start([RegionBlocked()], [RegionBlocked()])
    async with receiver() as received, open_session() as session:
        duty = Duty(bench, alerts_to(received, session), received)
        await duty.asks()
        assert await duty.told() == ["upstream.down  scripted region"]


def alerts_to(received: Receiver, session: Any) -> Alerts:
    return Alerts(session, Secret(received.url), Texts(), zone=ZoneInfo("Asia/Shanghai"), clock=time.time)


@pytest.mark.usefixtures("both_lanes")
async def test_the_whole_daemon_tells_of_a_dead_key_and_takes_up_another_webhook(tmp_path: Path) -> None:
    async with receiver() as first, receiver() as second:

        def to(received: Receiver) -> Any:
            return lambda written: written.update(alerts={"webhook": received.url})

        with capture_logs() as logs:
            scripts = {"sk-1": [Deactivated()], "sk-2": [Answer()]}
            async with town(tmp_path, scripts, (), amend=to(first)) as place:

                async def ask() -> int:
                    headers = {"Authorization": f"Bearer {TOKEN}"}
                    url = f"{place.daemon.url}/v1/chat/completions"
                    async with place.session.post(url, json=CHAT, headers=headers) as answer:
                        return answer.status

                assert await ask() == 200
                await first.has(1)
                [alert] = first.alerts
                assert (alert["event"], alert["key"], alert["rule"]) == ("key.dead", "k1", "dead")

                changed = document(place.upstream.base_url, (), ["sk-1", "sk-2"])
                to(second)(changed)
                place.daemon.reload(config.parse(changed, Sources({}, tmp_path)))
                place.upstream.script["sk-2"] = [NoQuota()]
                await ask()
                await second.has(1)
                assert second.alerts[0]["event"] == "key.exhausted"
    assert len(first.posts) == 1
    assert "canary" not in str(logs)
