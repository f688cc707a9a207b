"""Cloud Run's pushes: JSON in, JSON out, behind a secret."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from bot.wechat import codec
from bot.wechat.cloudrun import TIMING, CloudRun
from bot.wechat.delivery import MAX_BODY_BYTES, Account
from bot.wechat.gate import Credentials, Gate
from bot.wechat.hold import Timing

SECRET = "relay"
SHOWN = {"X-Posthouse-Secret": SECRET}
PLACES = ["/message/post", "/message/simple"]


@pytest.fixture
async def cloud(bot):
    """A client of a Cloud Run with as many accounts as asked for, all of them with the one bot's visits."""
    clients: list[TestClient] = []

    async def serve(*accounts: tuple[str, str]) -> TestClient:
        visits = await bot.start()
        gate = Gate(Credentials("AAAAA"))
        named = [Account(name, "/wechat", gate, visits, app_id) for name, app_id in accounts or [("gh_1", "wx1")]]
        timing = Timing(hold="one", hold_seconds=0.02)
        run = CloudRun(named, secret=SECRET, clock=bot.clock, timing=timing if bot.is_impatient else Timing())
        app = web.Application()
        app.add_routes(run.routes())
        clients.append(TestClient(TestServer(app)))
        await clients[-1].start_server()
        return clients[-1]

    bot.is_impatient = False
    yield serve
    for client in clients:
        await client.close()


def pushed(**facts: object) -> dict[str, object]:
    given = {"ToUserName": "gh_1", "FromUserName": "o1", "CreateTime": 1700000000, "MsgType": "text", "Content": "你好"}
    return {**given, "MsgId": 23637352235060880, **facts}


async def words(
    client: TestClient, body: dict[str, object], place: str = PLACES[0], **headers: str
) -> dict[str, object]:
    async with client.post(place, json=body, headers=SHOWN | headers) as response:
        assert response.status == 200
        return json.loads(await response.read())


@pytest.mark.parametrize("place", PLACES)
async def test_a_push_is_answered_in_json_on_both_paths(bot, cloud, place):
    client = await cloud()
    bot.model.answers("你好", "Hello.")
    assert await words(client, pushed(), place) == {
        "ToUserName": "o1",
        "FromUserName": "gh_1",
        "CreateTime": int(bot.now),
        "MsgType": "text",
        "Content": "Hello.",
    }
    assert await bot.states() == ["collected"]


@pytest.mark.parametrize("place", ["/message/relay/post", "/message/relay/simple"])
async def test_the_secret_may_stand_in_the_path(bot, cloud, place):
    client = await cloud()
    bot.model.answers("你好", "Hello.")
    async with client.post(place, json=pushed()) as response:
        assert (await response.json())["Content"] == "Hello."


@pytest.mark.parametrize(
    ("place", "headers"),
    [
        ("/message/post", {}),
        ("/message/post", {"X-WX-SOURCE": "other", "X-WX-OPENID": "o1"}),
        ("/message/post", {"X-Posthouse-Secret": "relax"}),
        ("/message/post", {"X-Posthouse-Secret": ""}),
        ("/message/relax/simple", {}),
        ("/message/relay/simple", {"X-Posthouse-Secret": "relax"}),
    ],
)
async def test_without_the_secret_a_push_is_refused_whatever_it_says_of_itself(bot, cloud, place, headers):
    client = await cloud()
    with capture_logs() as events:
        async with client.post(place, json=pushed(), headers=headers) as response:
            assert (response.status, await response.read()) == (403, b"")
    assert [(event["event"], event["reason"]) for event in events] == [("push.refused", "secret")]
    assert not any("rela" in str(value) for value in events[0].values())
    assert bot.model.asked == []


@pytest.mark.parametrize(
    "body", [b'{"action":"CheckContainerPath"}', b"<xml><action>CheckContainerPath</action></xml>"]
)
async def test_the_consoles_check_of_the_path_gets_success(cloud, body):
    client = await cloud()
    async with client.post("/message/post", data=body, headers=SHOWN) as response:
        assert (response.status, await response.read()) == (200, b"success")


async def test_a_slow_answer_gets_a_tap_at_the_first_delivery(bot, cloud):
    bot.is_impatient = True
    client = await cloud()
    assert "msgmenuid=x1" in (await words(client, pushed()))["Content"]
    assert (TIMING.hold, TIMING.hold_seconds) == ("one", 2.8)


async def test_neighbouring_message_ids_beyond_a_double_are_two_questions(bot, cloud):
    bot.is_impatient = True
    client = await cloud()
    await words(client, pushed(MsgId=25033203329280739))
    await words(client, pushed(MsgId=25033203329280738, Content="另一问"))
    assert await bot.store.count_pending() == 2


@pytest.mark.parametrize(
    ("to", "headers", "answers"),
    [
        ("gh_2", {"X-WX-FROM-APPID": "wx1"}, "gh_2"),
        ("", {"x-wx-from-appid": "wx2"}, "gh_2"),
        ("gh_3", {}, None),
        ("", {"X-WX-FROM-APPID": "wx3"}, None),
        ("", {}, None),
    ],
)
async def test_the_account_that_answers_is_the_one_named_in_the_body_else_by_its_app_id(
    bot, cloud, to, headers, answers
):
    client = await cloud(("gh_1", "wx1"), ("gh_2", "wx2"))
    async with client.post(
        "/message/post", json=pushed(ToUserName=to, Content="获取id"), headers=SHOWN | headers
    ) as response:
        if answers is None:
            assert (response.status, await response.read()) == (403, b"")
        else:
            assert (await response.json())["FromUserName"] == answers


async def test_the_only_account_answers_whom_the_header_names_where_the_body_leaves_both_open(cloud):
    client = await cloud()
    said = await words(client, pushed(ToUserName="", FromUserName="", Content="获取id"), **{"X-WX-OPENID": "o7"})
    assert (said["ToUserName"], said["FromUserName"], said["Content"]) == ("o7", "gh_1", "o7")


async def test_a_push_in_xml_gets_json_too(bot, cloud):
    client = await cloud()
    bot.model.answers("你好", "Hello.")
    body = codec.written({name: str(value) for name, value in pushed().items()}, "xml")
    async with client.post("/message/post", data=body, headers=SHOWN) as response:
        assert (await response.json())["Content"] == "Hello."


@pytest.mark.parametrize("body", [b"", b"[]", b"not json", b'{"MsgType":"text"}'])
async def test_a_body_that_is_no_push_is_refused(cloud, body):
    client = await cloud()
    async with client.post("/message/post", data=body, headers=SHOWN) as response:
        assert (response.status, await response.read()) == (403, b"")


async def test_a_body_larger_than_any_push_is_413(cloud):
    client = await cloud()
    async with client.post("/message/post", data=b"x" * (MAX_BODY_BYTES + 1), headers=SHOWN) as response:
        assert (response.status, await response.read()) == (413, b"too large")


def test_cloud_run_without_a_secret_cannot_be_made(bot):
    with pytest.raises(ValueError, match="need a secret"):
        CloudRun([], secret="", clock=bot.clock)
