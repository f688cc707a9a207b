"""The simulated WeChat server is believed by the bot's tests, so it is itself tried, also with somebody else's client."""

from __future__ import annotations

import asyncio
import io
import json
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import pytest

from daemon.demo.wechat_server import WeChatServer
from daemon.demo.wechat_steps import Cut, Endless, Fault, Garbage, Misstated, Slow, Well

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # wechatpy 1.8.18 is of 2021 and warns of its own age on import
    from wechatpy import WeChatClient
    from wechatpy.exceptions import WeChatClientException

APP_ID, SECRET, OPENID = "wx0123456789abcdef", "s3cret", "oSubscriber"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + b"\r\n--\r\n"
HOUR = 3600.0


class Time:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def server(time: Time) -> AsyncIterator[WeChatServer]:
    async with WeChatServer(app_id=APP_ID, app_secret=SECRET, clock=time) as server:
        yield server


class Raw:
    """Requests as a programmer writes them after the documents."""

    def __init__(self, server: WeChatServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.session = session

    async def get(self, path: str, **query: str) -> Any:
        async with self.session.get(f"{self.server.base_url}{path}", params=query, allow_redirects=False) as answer:
            return await answer.json()

    async def post(self, path: str, body: Any, **query: str) -> Any:
        data = body if isinstance(body, bytes | aiohttp.FormData) else json.dumps(body, ensure_ascii=False).encode()
        async with self.session.post(f"{self.server.base_url}{path}", data=data, params=query) as answer:
            return await answer.json()

    async def stable_token(self, *, force: bool = False, secret: str = SECRET, app_id: str = APP_ID) -> Any:
        asked = {"grant_type": "client_credential", "appid": app_id, "secret": secret, "force_refresh": force}
        return await self.post("/cgi-bin/stable_token", asked)

    async def token(self) -> Any:
        return await self.get("/cgi-bin/token", grant_type="client_credential", appid=APP_ID, secret=SECRET)

    async def with_token(self) -> str:
        return str((await self.stable_token())["access_token"])

    async def text(self, words: str = "你好", *, token: str | None = None, openid: str = OPENID) -> int:
        token = await self.with_token() if token is None else token
        body = {"touser": openid, "msgtype": "text", "text": {"content": words}}
        return code(await self.post("/cgi-bin/message/custom/send", body, access_token=token))

    async def image(self, media_id: str) -> int:
        body = {"touser": OPENID, "msgtype": "image", "image": {"media_id": media_id}}
        return code(await self.post("/cgi-bin/message/custom/send", body, access_token=await self.with_token()))

    async def typing(self, command: str = "Typing", openid: str = OPENID) -> int:
        body = {"touser": openid, "command": command}
        return code(await self.post("/cgi-bin/message/custom/typing", body, access_token=await self.with_token()))

    async def upload(self, data: bytes, *, kind: str = "image", filename: str | None = "a.png") -> Any:
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("media", io.BytesIO(data) if filename else data.decode("latin-1"), filename=filename)
        return await self.post("/cgi-bin/media/upload", form, access_token=await self.with_token(), type=kind)


def code(answer: dict[str, Any]) -> int:
    return int(answer.get("errcode", 0))


@pytest.fixture
async def raw(server: WeChatServer) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(server, session)


async def test_a_message_reaches_a_subscriber_who_has_written(server: WeChatServer, raw: Raw, time: Time) -> None:
    server.heard(OPENID)
    assert await raw.text("你好 \\u4f60 \n") == 0
    [sent] = server.sent
    assert (sent.openid, sent.kind, sent.words, sent.at) == (OPENID, "text", "你好 \\u4f60 \n", time.now)


async def test_whoever_watches_hears_of_a_message_when_it_is_sent(server: WeChatServer, raw: Raw) -> None:
    heard: list[str] = []
    server.on_sent = lambda sent: heard.append(sent.words)
    server.heard(OPENID)
    await raw.text("一")
    await raw.text("二", openid="nobody")
    assert heard == ["一"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [({"secret": "wrong"}, 40125), ({"app_id": "wx0"}, 40013), ({}, 0)],
    ids=["secret", "app_id", "well"],
)
async def test_a_token_is_given_for_the_right_secret_alone(raw: Raw, asked: dict[str, str], expected: int) -> None:
    assert code(await raw.stable_token(**asked)) == expected


async def test_a_token_is_given_for_the_one_grant_type_there_is(raw: Raw) -> None:
    asked = {"grant_type": "password", "appid": APP_ID, "secret": SECRET}
    assert code(await raw.post("/cgi-bin/stable_token", asked)) == 40002


async def test_a_token_is_refused_when_it_is_missing_unknown_or_expired(raw: Raw, time: Time) -> None:
    token = await raw.with_token()
    assert await raw.text(token="") == 41001
    assert await raw.text(token="nonsense") == 40001
    time.passes(7200)
    assert await raw.text(token=token) == 42001


async def test_the_stable_token_is_the_same_while_it_is_valid_and_new_five_minutes_before_its_end(
    server: WeChatServer, raw: Raw, time: Time
) -> None:
    server.heard(OPENID)
    first = await raw.stable_token()
    assert first["expires_in"] == 7200
    time.passes(6000)
    again = await raw.stable_token()
    assert (again["access_token"], again["expires_in"]) == (first["access_token"], 1200)
    time.passes(950)
    assert (await raw.stable_token())["access_token"] != first["access_token"]
    assert await raw.text(token=first["access_token"]) == 0, "for the rest of its time the old one is good, too"


async def test_a_forced_refresh_ends_the_old_token_at_most_every_thirty_seconds_and_twenty_times_a_day(
    raw: Raw, time: Time
) -> None:
    old = await raw.with_token()
    forced = (await raw.stable_token(force=True))["access_token"]
    assert forced != old
    assert await raw.text(token=old) == 40001
    assert (await raw.stable_token(force=True))["access_token"] == forced
    for _ in range(19):
        time.passes(30)
        assert code(await raw.stable_token(force=True)) == 0
    time.passes(30)
    assert code(await raw.stable_token(force=True)) == 45009


async def test_the_two_kinds_of_token_do_not_touch_each_other(server: WeChatServer, raw: Raw, time: Time) -> None:
    server.heard(OPENID)
    stable, plain = await raw.with_token(), (await raw.token())["access_token"]
    newer = (await raw.token())["access_token"]
    assert newer != plain
    assert [await raw.text(token=token) for token in (stable, plain, newer)] == [0, 0, 0]
    time.passes(301)
    assert [await raw.text(token=token) for token in (stable, plain, newer)] == [0, 42001, 0]


@pytest.mark.parametrize(
    ("words", "expected"),
    [("", 44004), ("x" * 2048, 0), ("x" * 2049, 45002), ("字" * 683, 45002)],
    ids=["empty", "full", "long", "long in bytes"],
)
async def test_a_text_has_to_have_the_right_length(server: WeChatServer, raw: Raw, words: str, expected: int) -> None:
    server.heard(OPENID)
    assert await raw.text(words) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [(rb"\u4f60", 40033), (rb"a\\\u00e9", 40033), (rb"\\u4f60", 0), (rb"\u001b", 0), ("你".encode(), 0)],
)
async def test_letters_beyond_ascii_may_not_be_escaped(
    server: WeChatServer, raw: Raw, content: bytes, expected: int
) -> None:
    server.heard(OPENID)
    body = b'{"touser": "oSubscriber", "msgtype": "text", "text": {"content": "' + content + b'"}}'
    answer = await raw.post("/cgi-bin/message/custom/send", body, access_token=await raw.with_token())
    assert code(answer) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", 47001),
        (b"[]", 47001),
        (b'{"touser": "oSubscriber"}', 40008),
        (b'{"touser": "oSubscriber", "msgtype": "text", "text": "x"}', 40008),
    ],
)
async def test_what_is_no_message_is_refused(server: WeChatServer, raw: Raw, body: bytes, expected: int) -> None:
    server.heard(OPENID)
    answer = await raw.post("/cgi-bin/message/custom/send", body, access_token=await raw.with_token())
    assert code(answer) == expected


async def test_a_subscribers_message_allows_five_within_two_days(server: WeChatServer, raw: Raw, time: Time) -> None:
    server.heard(OPENID)
    assert [await raw.text() for _ in range(6)] == [0, 0, 0, 0, 0, 45047]
    server.heard(OPENID)
    assert await raw.text() == 0
    time.passes(48 * HOUR + 1)
    assert await raw.text() == 45015
    assert await raw.text(openid="oStranger") == 40003


async def test_a_follow_allows_three_within_a_minute(server: WeChatServer, raw: Raw, time: Time) -> None:
    server.followed(OPENID)
    assert [await raw.text() for _ in range(4)] == [0, 0, 0, 45047]
    server.followed("oLate")
    time.passes(61)
    assert await raw.text(openid="oLate") == 45015


async def test_typing_lasts_fifteen_seconds_or_until_a_message(server: WeChatServer, raw: Raw, time: Time) -> None:
    assert await raw.typing() == 40003
    server.heard(OPENID)
    assert [await raw.typing(), await raw.typing()] == [0, 45081]
    assert server.is_typing(OPENID)
    await raw.text()
    assert not server.is_typing(OPENID)
    assert [await raw.typing(), await raw.typing("CancelTyping"), await raw.typing()] == [0, 0, 0]
    time.passes(15)
    assert [await raw.typing(), await raw.typing("Dancing")] == [0, 45072]
    time.passes(16)
    assert await raw.typing() == 45080


async def test_an_uploaded_picture_can_be_sent_and_fetched_for_three_days(
    server: WeChatServer, raw: Raw, time: Time
) -> None:
    server.heard(OPENID)
    media_id = (await raw.upload(PNG))["media_id"]
    assert server.media[media_id] == PNG
    assert await raw.image(media_id) == 0
    assert server.sent[-1].media_id == media_id
    query = {"access_token": await raw.with_token(), "media_id": media_id}
    async with raw.session.get(f"{server.base_url}/cgi-bin/media/get", params=query) as answer:
        assert (answer.content_type, await answer.read()) == ("image/png", PNG)
    time.passes(3 * 24 * HOUR)
    server.heard(OPENID)
    assert await raw.image(media_id) == 40007
    assert await raw.image("never heard of") == 40007


@pytest.mark.parametrize(
    ("upload", "expected"),
    [
        ({"data": PNG, "kind": "picture"}, 40004),
        ({"data": b"PNG", "filename": None}, 41005),
        ({"data": b""}, 44001),
        ({"data": b"<html>"}, 40005),
        ({"data": PNG + bytes(10 * 1024 * 1024)}, 45001),
    ],
    ids=["kind", "filename", "empty", "no picture", "too large"],
)
async def test_what_cannot_be_uploaded_is_refused(raw: Raw, upload: dict[str, Any], expected: int) -> None:
    assert code(await raw.upload(**upload)) == expected


async def test_an_account_that_is_not_verified_gets_tokens_and_nothing_else(server: WeChatServer, raw: Raw) -> None:
    server.is_verified = False
    server.heard(OPENID)
    assert [await raw.text(), await raw.typing(), code(await raw.upload(PNG))] == [48001, 48001, 48001]
    assert (await raw.get("/cgi-bin/getcallbackip", access_token=await raw.with_token()))["ip_list"]


async def test_a_wrong_method_and_an_unknown_path_are_told_so(server: WeChatServer, raw: Raw) -> None:
    assert code(await raw.get("/cgi-bin/stable_token")) == 43002
    async with raw.session.get(f"{server.base_url}/cgi-bin/menu/create") as answer:
        assert answer.status == 404


async def test_a_script_is_taken_step_by_step_and_then_all_is_well(server: WeChatServer, raw: Raw) -> None:
    server.heard(OPENID)
    server.script["custom/send"] = [Fault(-1), Well(), Fault(45011, "slower"), Slow(0.01, Fault(48001))]
    assert [await raw.text() for _ in range(5)] == [-1, 0, 45011, 48001, 0]
    assert len(server.sent) == 2


async def test_a_script_is_for_its_own_path_alone(server: WeChatServer, raw: Raw) -> None:
    server.script["token"] = [Fault(-1)]
    assert code(await raw.stable_token()) == 0
    assert code(await raw.token()) == -1


@pytest.mark.parametrize(("before", "received"), [(True, 0), (False, 1)])
async def test_a_cut_comes_before_or_after_the_message_is_recorded(
    server: WeChatServer, raw: Raw, before: bool, received: int
) -> None:
    server.heard(OPENID)
    server.script["custom/send"] = [Cut(before=before)]
    token = await raw.with_token()
    with pytest.raises(aiohttp.ClientError):
        await raw.text(token=token)
    await server.until(lambda server: len(server.calls_of("custom/send")) == 1)
    assert len(server.sent) == received


async def test_until_wakes_when_a_message_was_received(server: WeChatServer, raw: Raw) -> None:
    server.heard(OPENID)
    waiting = asyncio.create_task(server.until(lambda server: len(server.sent) == 1))
    await raw.text()
    await asyncio.wait_for(waiting, 5)


async def test_a_picture_is_served_as_it_is_or_spoilt(server: WeChatServer, raw: Raw) -> None:
    server.pictures["a"] = ("image/png", PNG)
    server.script["pictures/a"] = [
        Well(),
        Garbage(302, headers={"Location": "http://127.0.0.1/"}),
        Garbage(200, b"<html>", {"Content-Type": "text/html"}),
        Misstated(3),
        Misstated(-3),
        Endless(),
    ]

    async def get() -> aiohttp.ClientResponse:
        return await raw.session.get(f"{server.base_url}/pictures/a", allow_redirects=False)

    well = await get()
    assert (well.content_type, await well.read()) == ("image/png", PNG)
    redirect = await get()
    assert (redirect.status, redirect.headers["Location"]) == (302, "http://127.0.0.1/")
    html = await get()
    assert (html.content_type, await html.read()) == ("text/html", b"<html>")
    short = await get()
    assert short.content_length == len(PNG) + 3
    with pytest.raises(aiohttp.ClientPayloadError):
        await short.read()
    assert await (await get()).read() == PNG[:-3]
    endless = await get()
    assert len(await endless.content.readexactly(1_000_000)) == 1_000_000
    endless.close()
    assert (await raw.session.get(f"{server.base_url}/pictures/b")).status == 404


def test_neither_secret_nor_tokens_are_in_the_repr(time: Time) -> None:
    server = WeChatServer(app_id=APP_ID, app_secret=SECRET, clock=time)
    asked = {"grant_type": "client_credential", "appid": APP_ID, "secret": SECRET}
    token = server.token(asked)["access_token"]
    assert SECRET not in repr(server)
    assert token not in repr(server)


class Theirs(WeChatClient):
    """wechatpy's client; what it has for a host is hard-wired in this one place."""

    def fetch_access_token(self) -> Any:
        asked = {"grant_type": "client_credential", "appid": self.appid, "secret": self.secret}
        return self._fetch_access_token(url=f"{self.API_BASE_URL}token", params=asked)


@contextmanager
def wechatpy(server: WeChatServer, secret: str = SECRET) -> Iterator[Theirs]:
    client = Theirs(APP_ID, secret, timeout=5)
    client.API_BASE_URL = f"{server.base_url}/cgi-bin/"
    with client._http:
        yield client


async def with_wechatpy(server: WeChatServer, act: Callable[[Theirs], Any], secret: str = SECRET) -> Any:
    def run() -> Any:
        with wechatpy(server, secret) as client:
            return act(client)

    return await asyncio.to_thread(run)


async def test_wechatpy_sends_a_text_and_a_picture(server: WeChatServer) -> None:
    server.heard(OPENID)

    def act(client: Theirs) -> str:
        client.message.send_text(OPENID, "你好")
        media_id = client.media.upload("image", ("a.png", io.BytesIO(PNG), "image/png"))["media_id"]
        client.message.send_image(OPENID, media_id)
        assert client.media.download(media_id).content == PNG
        return str(media_id)

    media_id = await with_wechatpy(server, act)
    assert [(sent.kind, sent.words, sent.media_id) for sent in server.sent] == [
        ("text", "你好", ""),
        ("image", "", media_id),
    ]


async def test_wechatpy_understands_that_it_may_not(server: WeChatServer) -> None:
    server.is_verified = False
    with pytest.raises(WeChatClientException) as refused:
        await with_wechatpy(server, lambda client: client.message.send_text(OPENID, "你好"))
    assert refused.value.errcode == 48001
    with pytest.raises(WeChatClientException) as refused:
        await with_wechatpy(server, lambda client: client.access_token, secret="wrong")
    assert refused.value.errcode == 40125


async def test_wechatpy_renews_a_token_that_is_expired(server: WeChatServer) -> None:
    server.heard(OPENID)

    def act(client: Theirs) -> None:
        client.message.send_text(OPENID, "一")
        server.expire_tokens()
        client.message.send_text(OPENID, "二")

    await with_wechatpy(server, act)
    assert [sent.words for sent in server.sent] == ["一", "二"]
    assert len(server.calls_of("token")) == 2


async def test_wechatpy_reads_the_callback_addresses(server: WeChatServer) -> None:
    assert await with_wechatpy(server, lambda client: client.misc.get_wechat_ips()) == ["127.0.0.1", "127.0.0.0/8"]
