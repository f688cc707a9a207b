"""A verified account between the whole daemon, a scripted model, and WeChat's server API that fails by script."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import encode_basic_auth
from structlog.testing import capture_logs

from bot.exchange import State
from daemon.demo.dialects import Asked
from daemon.demo.envelope import Account
from daemon.demo.pictures import png
from daemon.demo.refusals import Revoked
from daemon.demo.steps import Answer, AsUrl, Step
from daemon.demo.wechat_server import WeChatServer
from daemon.demo.wechat_steps import Cut, Endless, Fault, Garbage, Scripted, Slow, Well
from tests.flows.daemon_bench import Town, town, words

WHO = "o_reader"
VERIFIED = Account(app_id="wx0123456789abcdef")
SECRET = "0123456789abcdef0123456789abcdef"
SUBSCRIBERS = 200
OPERATOR = {"Authorization": encode_basic_auth("operator", "journey-password")}


def answer(asked: Asked) -> str:
    return f"答：{asked.question}"


SLOW = Answer(text=answer, think_seconds=0.6)
# For what a delivery is told while the model thinks: the question must be on the disk by then, on however busy a machine.
SLOWER: dict[str, Any] = {"hold": "one", "hold_seconds": 1.5}
THINKS = Answer(text=answer, think_seconds=4.0)


@contextlib.asynccontextmanager
async def verified(
    folder: Path, server: WeChatServer, *steps: Step, amend: Any = lambda document: None, **bot: Any
) -> AsyncIterator[Town]:
    """Deliveries are held for 0.2 s here, not for four."""

    def with_service(document: dict[str, Any]) -> None:
        document["bot"]["accounts"][0] |= {"app_secret": SECRET, "api_base": server.base_url}
        amend(document)

    async with town(
        folder,
        {"sk-pool": list(steps)},
        [VERIFIED],
        amend=with_service,
        photo_hosts=lambda host, port: host == "127.0.0.1",
        **{"hold_seconds": 0.2, **bot},
    ) as place:
        yield place


async def say(place: Town, server: WeChatServer, openid: str, text: str) -> str | None:
    server.heard(openid)
    return (await place.side.say(openid, text)).words


async def is_over(place: Town) -> bool:
    """Whether the courier has done what it can: of all that is not collected something was kept."""
    async with place.session.get(f"{place.daemon.url}/status.json", headers=OPERATOR) as response:
        [account] = (await response.json())["accounts"]
    rows = await place.daemon.store.pending(1000)
    return all(row.state is State.ANSWERED for row in rows) and account["customer_service"]["kept"] >= len(rows)


async def test_an_answer_that_takes_longer_than_wechat_waits_comes_by_itself(tmp_path: Path) -> None:
    async with (
        WeChatServer(VERIFIED.app_id, SECRET) as server,
        verified(tmp_path, server, SLOW) as place,
    ):
        assert await say(place, server, WHO, "驿站是什么？") is None  # "success": nothing to show yet
        assert server.is_typing(WHO)
        await server.until(lambda server: bool(server.sent))
        await place.has_told()

        [sent] = server.sent
        assert (sent.openid, sent.words) == (WHO, "答：驿站是什么？\n\n（内容由AI生成）")
        assert len(server.calls_of("stable_token")) == 1


async def test_an_account_that_is_not_verified_keeps_to_links_and_is_asked_once(tmp_path: Path) -> None:
    async with (
        WeChatServer(VERIFIED.app_id, SECRET, is_verified=False) as server,
        verified(tmp_path, server, THINKS, **SLOWER) as place,
    ):
        assert "还在想" in (await say(place, server, WHO, "一") or "")
        assert "还在想" in (await say(place, server, "o_other", "二") or "")
        assert len(server.calls_of("custom/typing")) == 1
        assert server.sent == []


async def test_an_address_that_is_not_on_the_list_is_named_to_the_operator(tmp_path: Path) -> None:
    refusal = Fault(40164, "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 1")
    async with WeChatServer(VERIFIED.app_id, SECRET, script={"stable_token": [refusal] * 99}) as server:
        with capture_logs() as logs:
            async with verified(tmp_path, server, THINKS, **SLOWER) as place:
                assert "还在想" in (await say(place, server, WHO, "问题") or "")
                page = f"{place.daemon.url}/status.json"
                async with place.session.get(page, headers=OPERATOR) as response:
                    [account] = (await response.json())["accounts"]
    assert "203.0.113.7" in account["customer_service"]["trouble"]
    assert not any(SECRET in str(event) for event in logs)


async def test_a_drawing_is_an_image_message_and_a_photo_is_looked_at(tmp_path: Path) -> None:
    def with_pictures(document: dict[str, Any]) -> None:
        document["server"]["public_url"] = "https://bot.example.org"

    def seen(asked: Asked) -> str:
        return f"看到 {asked.pictures} 张照片"

    async with (
        WeChatServer(VERIFIED.app_id, SECRET) as server,
        verified(
            tmp_path,
            server,
            Answer(text=seen, think_seconds=0.6),
            amend=with_pictures,
            images={"model": "gpt-image-1"},
        ) as place,
    ):
        await say(place, server, WHO, "作画 一只猫")
        await server.until(lambda server: bool(server.sent))
        assert server.sent[0].kind == "image"
        data = server.media[server.sent[0].media_id]
        assert b"AIGC" in (data if isinstance(data, bytes) else data.data)

        server.pictures["cat"] = ("image/png", png("a cat", "64x64"))
        server.heard(WHO)
        await place.side.push("image", WHO, PicUrl=f"{server.base_url}/pictures/cat", MediaId="m")
        await server.until(lambda server: len(server.sent) == 2)
        assert server.sent[1].words.startswith("看到 1 张照片")


async def test_a_picture_that_an_upstream_only_names_is_fetched_from_public_addresses_alone(tmp_path: Path) -> None:
    def with_pictures(document: dict[str, Any]) -> None:
        document["server"]["public_url"] = "https://bot.example.org"

    async with (
        WeChatServer(VERIFIED.app_id, SECRET) as server,
        verified(
            tmp_path, server, AsUrl(), amend=with_pictures, images={"model": "dall-e-3"}, hold="one", hold_seconds=4.0
        ) as place,
    ):
        outcome = words(await place.side.say(WHO, "作画 一只猫"))  # http://127.0.0.1:…/pictures/…

    assert "点这里再问一次" in outcome


@pytest.mark.parametrize(
    "place_of",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:1/x.png",
        "http://mmbiz.qpic.cn.evil.example/x.png",
        "http://user@127.0.0.1/x.png",
        "file:///etc/passwd",
        "{server}/pictures/redirect",
        "{server}/pictures/page",
        "{server}/pictures/endless",
    ],
)
async def test_a_photo_that_points_elsewhere_or_never_ends_is_refused_and_the_subscriber_is_told(
    tmp_path: Path, place_of: str
) -> None:
    script: dict[str, list[Scripted]] = {
        "pictures/redirect": [Garbage(302, b"", {"Location": "http://169.254.169.254/"})],
        "pictures/page": [Garbage(200, b"<html>", {"Content-Type": "image/png"})],
        "pictures/endless": [Endless()],
    }
    async with (
        WeChatServer(VERIFIED.app_id, SECRET, script=script, is_verified=False) as server,
        verified(tmp_path, server, Answer("好"), hold="one", hold_seconds=4.0) as place,
    ):
        said = words(await place.side.push("image", WHO, PicUrl=place_of.format(server=server.base_url), MediaId="m"))

        assert said.startswith("这张图片没能取到")
        assert place.model_calls == 0


async def test_two_hundred_answers_through_an_api_that_fails_arrive_once_or_wait_in_the_mailbox(tmp_path: Path) -> None:
    chance = random.Random(20261127)
    faults: list[Scripted] = [
        *(Fault(code) for code in (45015, 45047, 40001, -1, -1, 45002, 42001) for _ in range(6)),
        *(Cut(before=before) for before in (True, False) for _ in range(6)),
        *(Garbage(500, b"<html>bad gateway</html>") for _ in range(4)),
        *(Slow(60.0) for _ in range(3)),  # longer than anybody waits
    ]
    script: list[Scripted] = faults + [Well() for _ in range(SUBSCRIBERS - len(faults))]
    chance.shuffle(script)
    people = [f"o_{number}" for number in range(SUBSCRIBERS)]
    async with WeChatServer(VERIFIED.app_id, SECRET) as server:
        async with verified(tmp_path, server, Answer(text=answer, think_seconds=1.5), hold_budget=1000) as place:
            await say(place, server, "o_first", "先问一句")  # from here on the account is known to be allowed
            await server.until(lambda server: bool(server.sent))
            server.script["custom/send"] = script
            await asyncio.gather(*(say(place, server, who, f"问题 {who}") for who in people))
            async with asyncio.timeout(60):
                while not await is_over(place):
                    await asyncio.sleep(0.05)
        arrived = Counter(sent.openid for sent in server.sent)
        assert max(arrived.values()) == 1
        assert len(arrived) > 120  # most got through

        async with verified(tmp_path, server, SLOW) as place:  # brings what certainly was not sent, and nothing twice
            async with asyncio.timeout(30):
                while any(row.sent_pages <= row.next_page for row in await place.daemon.store.pending(1000)):
                    await asyncio.sleep(0.05)
            waiting = [row.openid for row in await place.daemon.store.pending(1000)]
            for who in waiting:  # also of what is on its way at this moment: a tap waits for what becomes of it
                assert f"答：问题 {who}\n" in (await say(place, server, who, "继续") or "")
            arrived = Counter(sent.openid for sent in server.sent)
            assert set(waiting) | set(arrived) >= set(people)
            assert max(arrived.values()) == 1
            lost = [fault for fault in faults if isinstance(fault, Cut | Garbage | Slow)]
            assert len(set(waiting) - set(arrived)) <= len(
                lost
            )  # of the others that wait, nobody knew that they arrived
        assert Counter(sent.openid for sent in server.sent) == arrived


async def test_an_administrator_commands_by_message_and_hears_of_a_key_that_falls(tmp_path: Path) -> None:
    def with_administrator(document: dict[str, Any]) -> None:
        document["bot"]["accounts"][0]["administrators"] = [WHO]

    async with (
        WeChatServer(VERIFIED.app_id, SECRET) as server,
        verified(tmp_path, server, Answer("好"), Revoked(), amend=with_administrator, hold_seconds=4.0) as place,
    ):
        assert (await say(place, server, WHO, "问一句") or "").startswith("好")
        assert "会通知你" in (await say(place, server, WHO, "通知") or "")
        assert (await say(place, server, WHO, "状态") or "").startswith(
            "密钥 1/1 可用，0 个问题还没有取走。\n密钥 k1："
        )
        assert "没有叫 k9 的密钥。现有：k1" in (await say(place, server, WHO, "停用 k9") or "")
        await say(place, server, WHO, "停用 k1")
        assert "没有可用的模型" in (await say(place, server, "o_other", "在吗") or "")
        await say(place, server, WHO, "启用 k1")
        assert await say(place, server, WHO, "拉黑 o_other") == "已拉黑 o_other。"
        assert await say(place, server, "o_other", "在吗？") is None
        await say(place, server, WHO, "取消拉黑 o_other")

        await say(place, server, "o_other", "现在呢")  # 401: suspect, checked after five seconds, then dead
        await server.until(lambda server: any("密钥 k1" in sent.words for sent in server.sent))


async def test_an_account_that_loses_the_right_meanwhile_keeps_its_answers(tmp_path: Path) -> None:
    async with (
        WeChatServer(VERIFIED.app_id, SECRET, script={"custom/send": [Fault(48001)]}) as server,
        verified(tmp_path, server, SLOW) as place,
    ):
        assert await say(place, server, WHO, "问题") is None
        await server.until(lambda server: bool(server.calls_of("custom/send")))
        await place.until(lambda upstream: bool(upstream.requests))

        assert (await say(place, server, WHO, "继续") or "").startswith("答：问题")
        assert server.sent == []
