"""An account's path, met over real connections by pushes signed and sealed as WeChat's are."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from contextlib import AsyncExitStack
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession, web
from structlog.testing import capture_logs

from bot.wechat import codec
from bot.wechat.crypt import Envelope, signature_of
from bot.wechat.delivery import MAX_BODY_BYTES, Account
from bot.wechat.gate import SENTENCES, Credentials, Gate, Why
from bot.wechat.view import AccountView, Attempt
from bot.wechat.webhook import Webhook
from daemon.server import Limits, serving
from tests.nobodys import nobodys_house

TOKEN, APP_ID, AES_KEY = "AAAAA", "wx0123", "B" * 42 + "A"
MODES = ["plain", "plain-json", "compatible", "safe", "safe-json"]
SHORT = 0.02
IMPATIENT = {"hold_seconds": SHORT, "patience_seconds": SHORT, "longest_seconds": SHORT}
REFUSED = (403, b"")


class WeChat:
    """WeChat's side of one account in one mode."""

    def __init__(self, bot, client: ClientSession, address: tuple[str, int], mode: str) -> None:
        self.bot, self.client, self.address, self.mode = bot, client, address, mode
        self.form = "json" if mode.endswith("json") else "xml"
        self.envelope = Envelope(AES_KEY, APP_ID)
        self.nonce = "486452656"

    def fields(self, text: str = "你好", **facts: str | int) -> dict[str, str | int]:
        push = self.bot.text(text)
        given = {"ToUserName": "gh_1", "FromUserName": "o1", "CreateTime": int(self.bot.now), "MsgType": "text"}
        return {**given, "Content": text, "MsgId": push.push_id, **facts}

    def sealed(self, fields: dict[str, str | int]) -> tuple[dict[str, str], bytes]:
        """The query and the body that bring these fields."""
        timestamp = str(int(self.bot.now))
        query = {"timestamp": timestamp, "nonce": self.nonce, "openid": "o1"}
        query["signature"] = signature_of(TOKEN, timestamp, self.nonce)
        body = codec.written(fields, self.form)
        if self.mode.startswith("plain"):
            return query, body
        encrypt = self.envelope.seal(body, b"r" * 16)
        beside = fields if self.mode == "compatible" else {"ToUserName": "gh_1"}
        query |= {"encrypt_type": "aes", "msg_signature": signature_of(TOKEN, timestamp, self.nonce, encrypt)}
        return query, codec.written({**beside, "Encrypt": encrypt}, self.form)

    async def push(self, fields: dict[str, str | int]) -> bytes:
        """One delivery; the reply's body, taken out of its envelope."""
        query, body = self.sealed(fields)
        async with self.client.post("/wechat", params=query, data=body) as response:
            assert response.status == 200
            reply = await response.read()
        await self.bot.settled()
        if reply == b"success" or self.mode.startswith("plain"):
            return reply
        outer, form = codec.read(reply)
        assert form == self.form
        assert outer["Nonce"] == self.nonce
        assert outer["MsgSignature"] == signature_of(TOKEN, outer["TimeStamp"], self.nonce, outer["Encrypt"])
        return self.envelope.open(outer["Encrypt"])

    async def words(self, fields: dict[str, str | int]) -> str:
        reply, form = codec.read(await self.push(fields))
        assert form == self.form
        assert (reply["ToUserName"], reply["FromUserName"], reply["MsgType"]) == ("o1", fields["ToUserName"], "text")
        return reply["Content"]

    async def raw(self, fields: dict[str, str | int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A delivery on a connection of its own, its request sent."""
        query, body = self.sealed(fields)
        reader, writer = await asyncio.open_connection(*self.address)
        head = f"POST /wechat?{urlencode(query)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        return reader, writer


@pytest.fixture(params=["door", "aiohttp"])
async def connect(bot, request):
    """Serve the bot's account in a mode, on either lane, and be WeChat to it."""
    bot.random16 = lambda: b"0" * 16
    async with AsyncExitStack() as stack:

        async def serve(mode: str = "safe", **timing: object) -> WeChat:
            sealed = {} if mode.startswith("plain") else {"app_id": APP_ID, "encoding_aes_key": AES_KEY}
            account = Account("gh_1", "/wechat", Gate(Credentials(TOKEN, **sealed)), await bot.start(**timing))
            bot.webhook = Webhook(account, clock=bot.clock, random16=lambda: bot.random16())
            app = web.Application()
            app.add_routes(bot.webhook.routes())
            lane = {"fast_lane": nobodys_house(), "pushes": {"/wechat": bot.webhook}} if request.param == "door" else {}
            (name,) = await stack.enter_async_context(
                serving(app, ["127.0.0.1:0"], Limits(), drain_seconds=0.0, **lane)
            )
            client = await stack.enter_async_context(ClientSession(f"http://{name}"))
            host, _, port = name.rpartition(":")
            return WeChat(bot, client, (host, int(port)), mode)

        yield serve


@pytest.mark.parametrize("mode", MODES)
async def test_a_question_is_answered_in_the_mode_and_form_it_came_in(bot, connect, mode):
    wechat = await connect(mode)
    bot.model.answers("你好", "Hello ]]> <b>.")
    assert await wechat.words(wechat.fields()) == "Hello ]]> <b>."
    assert await bot.states() == ["collected"]


@pytest.mark.parametrize("mode", MODES)
async def test_a_push_of_an_unknown_kind_gets_success_as_it_is(connect, mode):
    wechat = await connect(mode)
    assert await wechat.push(wechat.fields(MsgType="hologram")) == b"success"


async def test_the_verification_is_answered_with_its_words_alone(bot, connect):
    wechat = await connect()
    query, _ = wechat.sealed({})
    async with wechat.client.get("/wechat", params={**query, "echostr": "<b>437512</b>"}) as response:
        assert (response.status, await response.text()) == (200, "<b>437512</b>")
        assert response.content_type == "text/plain"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert bot.webhook.view().attempts == (Attempt(bot.now, "verification", "accepted"),)


async def test_a_refused_verification_is_remembered_with_its_cause(bot, connect):
    wechat = await connect()
    query, _ = wechat.sealed({})
    async with wechat.client.get("/wechat", params={**query, "signature": "0" * 40, "echostr": "1"}) as response:
        assert (response.status, await response.read()) == REFUSED
    assert bot.webhook.view().attempts == (Attempt(bot.now, "verification", "signature"),)


DTD = b'<!DOCTYPE x [<!ENTITY e "boom">]><xml><ToUserName>gh_1</ToUserName><Encrypt>&e;</Encrypt></xml>'


def forge(how: str, wechat: WeChat) -> tuple[dict[str, str], bytes]:
    query, body = wechat.sealed(wechat.fields())
    stranger = Envelope("C" * 42 + "A", APP_ID).seal(b"<xml/>", b"r" * 16)
    broken = {"malformed": b"not a push", "dtd": DTD, "no_cipher": codec.written({"Encrypt": "%%%"}, "xml")}
    match how:
        case "signature":
            return query | {"msg_signature": "0" * 40}, body
        case "timestamp":
            return {**query, "timestamp": "1"}, body
        case "missing":
            return {}, body
        case "plaintext":
            return {name: query[name] for name in ("timestamp", "nonce", "signature")}, codec.written(
                wechat.fields(), "xml"
            )
        case "other_key":
            signed = signature_of(TOKEN, query["timestamp"], wechat.nonce, stranger)
            return query | {"msg_signature": signed}, codec.written({"Encrypt": stranger}, "xml")
        case _:
            return query, broken[how]


FORGERIES = ["signature", "timestamp", "missing", "plaintext", "other_key", "malformed", "dtd", "no_cipher"]


@pytest.mark.parametrize("how", FORGERIES)
async def test_every_forged_push_gets_the_same_refusal_and_one_log_event(bot, connect, how):
    wechat = await connect()
    query, body = forge(how, wechat)
    with capture_logs() as events:
        async with wechat.client.post("/wechat", params=query, data=body) as response:
            headers = {name: value for name, value in response.headers.items() if name != "Date"}
            assert (response.status, await response.read()) == REFUSED
            assert headers.keys() <= {"Content-Length", "Content-Type", "Server"}
    assert [event["event"] for event in events] == ["push.refused"]
    assert events[0]["account"] == "gh_1"
    [attempt] = bot.webhook.view().attempts
    assert (attempt.kind, attempt.outcome) == ("push", events[0]["reason"])
    assert events[0]["advice"] == SENTENCES[Why(attempt.outcome)]
    assert "o1" not in events[0].values()
    assert bot.model.asked == []


async def test_only_the_last_attempts_are_remembered(bot, connect):
    wechat = await connect()
    for _ in range(25):
        async with wechat.client.post("/wechat"):
            bot.now += 1
    attempts = bot.webhook.view().attempts
    assert len(attempts) == 20
    assert attempts[-1].at == bot.now - 1


async def test_an_account_is_seen_with_its_deliveries(bot, connect):
    wechat = await connect()
    bot.model.answers("你好", "Hello.")
    await wechat.words(wechat.fields())
    pushes = (("text", "answered", 1),)
    assert bot.webhook.view() == AccountView("gh_1", "/wechat", (), bot.visits.counts(), pushes=pushes)
    assert bot.visits.counts().answered == 1


async def test_deliveries_are_counted_by_what_they_bring_and_what_became_of_them(bot, connect):
    wechat = await connect(**IMPATIENT)
    await wechat.push(wechat.fields(MsgType="hologram"))
    await wechat.push(wechat.fields(MsgType="event", Event="subscribe"))
    await wechat.push(wechat.fields(MsgType="event", Event="unsubscribe"))
    for _ in range(2):
        reader, writer = await wechat.raw(fields := wechat.fields())
        assert await reader.read() == b""
        writer.close()
    bot.model.answers("你好", "Hello.")
    await wechat.words(fields)
    query, body = forge("signature", wechat)
    await wechat.client.post("/wechat", params=query, data=body)
    await wechat.client.post("/wechat", data=b"x" * (MAX_BODY_BYTES + 1))
    await wechat.client.get("/wechat", params=query)  # no push
    assert set(bot.webhook.view().pushes) == {
        ("other", "success", 1),
        ("event", "answered", 1),
        ("event", "success", 1),
        ("text", "unanswered", 2),
        ("text", "answered", 1),
        ("other", "signature", 1),
        ("other", "too_large", 1),
    }


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_larger_than_any_push_is_413(bot, connect, chunked):
    wechat = await connect()
    body = b"x" * (MAX_BODY_BYTES + 1)

    async def in_pieces():
        yield body

    async with wechat.client.post("/wechat", data=in_pieces() if chunked else body) as response:
        assert (response.status, await response.read()) == (413, b"too large")
    assert [attempt.outcome for attempt in bot.webhook.view().attempts] == ["too_large"]


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_405(connect, method):
    wechat = await connect()
    async with wechat.client.request(method, "/wechat") as response:
        assert response.status == 405


async def test_control_characters_in_a_push_do_not_lose_the_question(bot, connect):
    wechat = await connect("plain")
    bot.model.answers("你好吗", "Fine.")
    query, body = wechat.sealed(wechat.fields("你好QQ吗"))
    async with wechat.client.post("/wechat", params=query, data=body.replace(b"QQ", b"\x1d\x08")) as response:
        assert codec.read(await response.read())[0]["Content"] == "Fine."


async def test_following_is_welcomed_and_unfollowing_deletes_every_row(bot, connect):
    wechat = await connect()
    event = {"MsgType": "event", "Content": "", "MsgId": ""}
    assert (await wechat.words(wechat.fields(**event, Event="subscribe"))).startswith("你好！")
    bot.model.answers("你好", "Hello.")
    await wechat.words(wechat.fields())
    assert await bot.states() == ["collected"]
    assert await wechat.push(wechat.fields(**event, Event="unsubscribe")) == b"success"
    assert await bot.states() == []


async def test_a_delivery_that_is_left_ends_without_a_byte(connect):
    wechat = await connect(**IMPATIENT)
    reader, writer = await wechat.raw(wechat.fields())
    assert await reader.read() == b""
    writer.close()


async def test_the_third_delivery_gets_a_tap_and_the_tap_gets_the_answer(bot, connect):
    wechat = await connect(**IMPATIENT)
    fields = wechat.fields()
    for _ in range(2):
        reader, writer = await wechat.raw(fields)
        assert await reader.read() == b""
        writer.close()
    assert "msgmenuid=x1" in await wechat.words(fields)
    bot.model.answers("你好", "Hello.")
    await bot.settled()
    assert await wechat.words(wechat.fields("继续", bizmsgmenuid="x1")) == "Hello."
    assert await bot.states() == ["collected"]
    assert bot.model.asked == ["你好"]


async def test_a_delivery_that_wechat_hangs_up_is_answered_at_the_next_with_the_same_words_ever_after(bot, connect):
    wechat = await connect()
    fields = wechat.fields()
    _, writer = await wechat.raw(fields)
    await bot.until_asked("你好")
    writer.close()
    await writer.wait_closed()
    bot.model.answers("你好", "Hello.")
    assert await bot.states() == ["answered"]
    assert await wechat.words(fields) == "Hello."
    assert await wechat.words(fields) == "Hello."
    assert await bot.states() == ["collected"]


async def test_a_page_written_to_nobody_stays_in_the_mailbox(bot, connect):
    wechat = await connect()
    _, writer = await wechat.raw(wechat.fields())
    await bot.until_asked("你好")
    writer.transport.abort()
    async with asyncio.timeout(20):
        while bot.visits.counts().unanswered == 0:  # until the server knows
            await asyncio.sleep(0)
    bot.model.answers("你好", "Hello.")
    assert await bot.states() == ["answered"]
    assert await wechat.words(wechat.fields("继续")) == "Hello."


async def test_a_page_whose_connection_breaks_in_the_write_stays_in_the_mailbox(bot, connect):
    wechat = await connect()
    fields = wechat.fields()
    query, body = wechat.sealed(fields)
    caller = socket.create_connection(wechat.address)

    def random16() -> bytes:
        """The last thing before the write: WeChat resets the connection, and the server has no chance to hear of it."""
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.close()
        return b"0" * 16

    bot.random16 = random16
    bot.model.answers("你好", "Hello.")
    head = f"POST /wechat?{urlencode(query)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    caller.sendall(head.encode() + body)
    async with asyncio.timeout(20):
        while caller.fileno() != -1:
            await asyncio.sleep(0)
    assert await bot.states() == ["answered"]
    assert bot.visits.counts().answered == 0
    assert bot.webhook.view().pushes == (("text", "unanswered", 1),)


async def test_two_pages_come_by_typing_and_then_the_last_again(bot, connect):
    wechat = await connect()
    bot.model.answers("长", "一句话。" * 300)
    first = await wechat.words(wechat.fields("长"))
    second = await wechat.words(wechat.fields("继续"))
    assert (first + second).count("一句话。") == 300
    assert await wechat.words(wechat.fields("继续")) == second


async def test_the_operators_name_of_the_account_counts_and_the_reply_bears_wechats(bot, connect):
    wechat = await connect("plain")
    bot.model.answers("你好", "Hello.")
    assert await wechat.words(wechat.fields(ToUserName="gh_other")) == "Hello."
    assert await bot.states() == ["collected"]


async def test_a_json_push_gets_json(bot, connect):
    wechat = await connect("plain-json")
    bot.model.answers("你好", "Hello.")
    reply = json.loads(await wechat.push(wechat.fields()))
    assert reply == {
        "ToUserName": "o1",
        "FromUserName": "gh_1",
        "CreateTime": int(bot.now),
        "MsgType": "text",
        "Content": "Hello.",
    }


@pytest.mark.parametrize(
    ("version", "lines", "stays"),
    [
        ("1.1", "", True),
        ("1.1", "Connection: close\r\n", False),
        ("1.0", "", False),
        ("1.0", "Connection: keep-alive\r\n", False),
    ],
)
async def test_the_reply_is_framed_as_the_request_wants_it_and_the_connection_stays_where_it_may(
    bot, connect, version, lines, stays
):
    wechat = await connect("plain")
    query, body = wechat.sealed(wechat.fields("帮助"))
    target = f"POST /wechat?{urlencode(query)} HTTP/{version}\r\nHost: a\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection(*wechat.address)
    try:
        async with asyncio.timeout(10):
            for _ in range(1 + stays):
                writer.write(target.encode() + body)
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                reply = await reader.readexactly(length)
                assert head.startswith(f"http/{version} 200 ok\r\n")
                assert "content-type: application/xml\r\n" in head
                assert "\r\ndate: " in head
                assert codec.read(reply)[0]["MsgType"] == "text"
            if not stays:
                assert await reader.read() == b""
    finally:
        writer.close()
