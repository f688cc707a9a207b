"""The client for WeChat's server API, against the simulated server, through a session like the daemon's own."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from structlog.testing import capture_logs

from bot.wechat.api import Seconds, WeChatApi
from bot.wechat.api_errors import ApiError, ApiKind, ApiOutcomeUnknown, ApiRefused, ApiUnreachable
from daemon.demo.wechat_server import WeChatServer
from daemon.demo.wechat_steps import Cut, Endless, Fault, Garbage, Misstated, Scripted, Slow, Well
from daemon.session import open_session

APP_ID, SECRET, OPENID, WORDS = "wx0123456789abcdef", "canary-secret", "oCanarySubscriber", "你好，canary"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8_000  # 2 MB
SOON = 5.0  # seconds; in which everything here happens


def patience(step: Scripted) -> Seconds:
    """Little where nothing would come anyway."""
    return Seconds(call=0.4, upload=0.4) if isinstance(step, Slow) else Seconds()


class Time:
    """A clock that goes on when the test says so, and in pauses."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def time() -> Time:
    return Time()


Start = Callable[[], Awaitable[WeChatServer]]


@pytest.fixture
async def start(time: Time) -> AsyncIterator[Start]:
    """`await start()`: one more host, of the same account, whose subscriber has just written."""
    async with AsyncExitStack() as stack:

        async def start() -> WeChatServer:
            server = await stack.enter_async_context(WeChatServer(app_id=APP_ID, app_secret=SECRET, clock=time))
            server.heard(OPENID)
            return server

        yield start


@pytest.fixture
async def server(start: Start) -> WeChatServer:
    return await start()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


Client = Callable[..., WeChatApi]


@pytest.fixture
def client(session: aiohttp.ClientSession, time: Time) -> Client:
    def client(*hosts: WeChatServer | str, **more: Any) -> WeChatApi:
        bases = [host if isinstance(host, str) else host.base_url for host in hosts]
        given = {"session": session, "app_secret": SECRET, "sleep": time.pause, **more}
        return WeChatApi(given.pop("session"), app_id=APP_ID, hosts=bases, clock=time, **given)

    return client


@pytest.fixture
def api(client: Client, server: WeChatServer) -> WeChatApi:
    return client(server)


def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nowhere() -> str:
    """A host that refuses connections."""
    return f"http://127.0.0.1:{dead_port()}"


def forced(server: WeChatServer) -> list[bool]:
    return [called.json["force_refresh"] for called in server.calls_of("stable_token")]


async def refusal(act: Awaitable[object]) -> ApiRefused:
    with pytest.raises(ApiRefused) as raised:
        await act
    return raised.value


async def test_a_text_reaches_the_subscriber_letter_for_letter(api: WeChatApi, server: WeChatServer) -> None:
    await api.send_text(OPENID, '你好 😀\n\\u4f60 "<a>"')
    assert [(sent.openid, sent.words) for sent in server.sent] == [(OPENID, '你好 😀\n\\u4f60 "<a>"')]


async def test_characters_that_could_only_be_escaped_are_left_out(api: WeChatApi, server: WeChatServer) -> None:
    await api.send_text(OPENID, "a\x1b\ud800b")
    assert b"\\u" not in server.calls_of("custom/send")[0].body
    assert server.sent[0].words == "ab"


@pytest.mark.parametrize("kind", ["png", "jpeg"])
async def test_a_picture_is_uploaded_byte_for_byte_and_sent(api: WeChatApi, server: WeChatServer, kind: str) -> None:
    data = PNG if kind == "png" else b"\xff\xd8\xff" + PNG
    media_id = await api.upload_image(data, kind)
    assert server.media == {media_id: data}
    assert server.calls_of("media/upload")[0].query["type"] == "image"
    await api.send_image(OPENID, media_id)
    assert [(sent.kind, sent.media_id) for sent in server.sent] == [("image", media_id)]


async def test_the_subscriber_sees_that_an_answer_is_written_also_when_it_is_said_twice(
    api: WeChatApi, server: WeChatServer
) -> None:
    with capture_logs() as events:
        await api.typing(OPENID)
        await api.typing(OPENID)
    assert server.is_typing(OPENID)
    assert events == []


async def test_an_upload_has_more_time_than_a_message(client: Client, server: WeChatServer) -> None:
    api = client(server, seconds=Seconds(call=0.4))
    server.script["media/upload"] = [Slow(0.5)]
    server.script["custom/send"] = [Slow(SOON * 10)]
    assert await api.upload_image(PNG, "png") in server.media
    with pytest.raises(ApiOutcomeUnknown):
        await api.send_text(OPENID, "x")


async def test_every_answer_is_asked_for_unpacked(api: WeChatApi, server: WeChatServer) -> None:
    await api.send_text(OPENID, "x")
    assert [called.headers["Accept-Encoding"] for called in server.calls] == ["identity", "identity"]


async def test_every_call_has_a_connection_of_its_own(api: WeChatApi, server: WeChatServer) -> None:
    for _ in range(3):
        await api.send_text(OPENID, "x")
    assert server.connections == len(server.calls) == 4


# The token


async def test_a_token_is_kept_until_five_minutes_before_its_end(
    api: WeChatApi, server: WeChatServer, time: Time
) -> None:
    await api.check()
    time.passes(6899)
    await api.check()
    assert forced(server) == [False]
    time.passes(1)
    await api.check()
    assert forced(server) == [False, False]


async def test_a_token_of_five_minutes_is_kept_for_half_of_them(
    api: WeChatApi, server: WeChatServer, time: Time
) -> None:
    server.token_seconds = 300
    await api.check()
    time.passes(149)
    await api.check()
    assert len(forced(server)) == 1
    time.passes(1)
    await api.check()
    assert len(forced(server)) == 2


async def test_a_token_ages_from_when_it_was_asked_for(client: Client, server: WeChatServer, time: Time) -> None:
    async def pause(seconds: float) -> None:
        time.passes(100)

    server.script["stable_token"] = [Fault(-1)]
    api = client(server, sleep=pause)
    await api.check()
    time.passes(6799)
    await api.check()
    assert len(forced(server)) == 2
    time.passes(1)
    await api.check()
    assert len(forced(server)) == 3


@pytest.mark.parametrize("expires_in", [b"-1", b"0", b"null", b'"soon"', b"1" + b"0" * 400])
async def test_a_strange_time_does_not_keep_a_token_for_long(
    api: WeChatApi, server: WeChatServer, time: Time, expires_in: bytes
) -> None:
    server.script["stable_token"] = [Garbage(200, b'{"access_token":"t","expires_in":' + expires_in + b"}")]
    await api.check()
    time.passes(7200)
    await api.send_text(OPENID, "x")
    assert len(server.sent) == 1


@pytest.mark.parametrize("who_knows", ["we", "wechat"])
async def test_ten_senders_with_an_expired_token_ask_for_one(
    api: WeChatApi, server: WeChatServer, time: Time, who_knows: str
) -> None:
    await api.check()
    if who_knows == "we":
        time.passes(7200)
    else:
        server.expire_tokens()
    for number in range(10):
        server.heard(f"o{number}")
    await asyncio.gather(*(api.send_text(f"o{number}", "x") for number in range(10)))
    assert len(server.sent) == 10
    assert forced(server) == [False, False]


async def test_who_stops_waiting_for_a_token_takes_it_from_nobody(api: WeChatApi, server: WeChatServer) -> None:
    server.script["stable_token"] = [Slow(SOON * 10)]
    first = asyncio.create_task(api.send_text(OPENID, "一"))
    await server.until(lambda server: len(server.calls) == 1)
    others = [asyncio.create_task(api.send_text(OPENID, "二")) for _ in range(3)]
    first.cancel()
    async with asyncio.timeout(SOON):
        await asyncio.gather(*others)
        with pytest.raises(asyncio.CancelledError):
            await first
    assert [sent.words for sent in server.sent] == ["二"] * 3
    assert len(forced(server)) == 2


async def test_all_who_wait_for_a_token_hear_of_the_one_refusal_and_the_next_one_asks_again(
    api: WeChatApi, server: WeChatServer
) -> None:
    server.script["stable_token"] = [Fault(40125)]
    outcomes = await asyncio.gather(*(api.check() for _ in range(10)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ApiRefused}
    assert len({id(outcome) for outcome in outcomes}) == 10
    assert len(forced(server)) == 1
    await api.check()


async def test_a_refusal_of_long_ago_is_not_the_outcome_of_a_call_that_was_given_up(
    api: WeChatApi, server: WeChatServer
) -> None:
    server.script["stable_token"] = [Fault(40125), Slow(SOON * 10)]
    await refusal(api.check())
    first = asyncio.create_task(api.check())
    await server.until(lambda server: len(server.calls) == 2)
    second = asyncio.create_task(api.check())
    await asyncio.sleep(0)  # so that it waits
    first.cancel()
    async with asyncio.timeout(SOON):
        await second
    assert len(forced(server)) == 3


async def test_a_token_that_another_program_has_replaced_is_fetched_and_not_forced(
    api: WeChatApi, server: WeChatServer
) -> None:
    await api.check()
    server.revoke_tokens()
    await api.send_text(OPENID, "x")
    assert len(server.sent) == 1
    assert forced(server) == [False, False]


@pytest.mark.parametrize("code", [40001, 40014, 42001])
async def test_a_token_that_wechat_gives_again_although_it_refused_it_is_forced(
    api: WeChatApi, server: WeChatServer, code: int
) -> None:
    server.script["custom/send"] = [Fault(code)]
    await api.send_text(OPENID, "x")
    assert forced(server) == [False, False, True]
    assert len(server.sent) == 1
    tokens = [called.query["access_token"] for called in server.calls_of("custom/send")]
    assert tokens[0] != tokens[1]


async def test_nothing_is_forced_twice_within_thirty_seconds(api: WeChatApi, server: WeChatServer, time: Time) -> None:
    server.script["custom/send"] = [Fault(40001), Well(), Fault(40001), Well(), Fault(40001), Well()]
    await api.send_text(OPENID, "x")
    time.passes(29)
    await api.send_text(OPENID, "x")
    assert forced(server) == [False, False, True, False]
    time.passes(1)
    await api.send_text(OPENID, "x")
    assert forced(server) == [False, False, True, False, False, True]


async def test_a_token_that_is_refused_twice_is_told(api: WeChatApi, server: WeChatServer) -> None:
    server.script["custom/send"] = [Fault(40001), Fault(40001)]
    assert (await refusal(api.send_text(OPENID, "x"))).kind is ApiKind.TOKEN
    assert len(server.calls_of("custom/send")) == 2


async def test_a_wrong_secret_is_told_and_not_tried_again(client: Client, server: WeChatServer) -> None:
    error = await refusal(client(server, app_secret="wrong").check())
    assert (error.code, error.kind) == (40125, ApiKind.OPERATOR)
    assert len(server.calls) == 1


# Refusals


@pytest.mark.parametrize("code", [48001, 45015, 45047, 45002, 43004, 45009, 40007, 99999])
async def test_a_refusal_is_final_and_is_logged_once(api: WeChatApi, server: WeChatServer, code: int) -> None:
    server.script["custom/send"] = [Fault(code, f"{WORDS} {OPENID}")]
    with capture_logs() as events:
        error = await refusal(api.send_text(OPENID, WORDS))
    assert (error.code, error.detail) == (code, "")
    assert len(server.calls_of("custom/send")) == 1
    assert events == [
        {"event": "wechat_api.refused", "call": "custom/send", "code": code, "log_level": "warning"},
    ]


async def test_the_rules_of_the_simulated_server_come_through(api: WeChatApi, server: WeChatServer, time: Time) -> None:
    for _ in range(5):
        await api.send_text(OPENID, "x")
    assert (await refusal(api.send_text(OPENID, "x"))).kind is ApiKind.QUOTA
    assert (await refusal(api.send_text("oStranger", "x"))).kind is ApiKind.SUBSCRIBER
    assert (await refusal(api.send_text(OPENID, "字" * 700))).kind is ApiKind.TOO_LONG
    assert (await refusal(api.send_text(OPENID, ""))).kind is ApiKind.CONTENT
    assert (await refusal(api.send_image(OPENID, "none"))).kind is ApiKind.CONTENT
    assert (await refusal(api.upload_image(b"RIFF", "webp"))).kind is ApiKind.CONTENT
    time.passes(48 * 3600 + 1)
    assert (await refusal(api.send_text(OPENID, "x"))).kind is ApiKind.WINDOW
    assert (await refusal(api.typing(OPENID))).kind is ApiKind.WINDOW
    server.is_verified = False
    assert (await refusal(api.typing(OPENID))).kind is ApiKind.NOT_ALLOWED


async def test_the_operator_learns_the_address_that_wechat_does_not_allow(api: WeChatApi, server: WeChatServer) -> None:
    server.script["stable_token"] = [Fault(40164)]
    with capture_logs() as events:
        error = await refusal(api.send_text(OPENID, "x"))
    assert (error.kind, error.detail) == (ApiKind.OPERATOR, "203.0.113.7")
    assert [event["address"] for event in events] == ["203.0.113.7"]


@pytest.mark.parametrize("code", [-1, 45011])
@pytest.mark.parametrize("path", ["stable_token", "custom/send"])
async def test_a_busy_wechat_is_asked_again_after_growing_pauses(
    api: WeChatApi, server: WeChatServer, time: Time, path: str, code: int
) -> None:
    server.script[path] = [Fault(code)] * 3
    await api.send_text(OPENID, "x")
    assert time.pauses == [0.5, 1.0, 2.0]
    assert len(server.sent) == 1


async def test_a_wechat_that_stays_busy_is_told(api: WeChatApi, server: WeChatServer) -> None:
    server.script["custom/send"] = [Fault(-1)] * 9
    assert (await refusal(api.send_text(OPENID, "x"))).kind is ApiKind.BUSY
    assert len(server.calls_of("custom/send")) == 4


# Hosts


async def test_a_host_that_refuses_connections_is_passed_over_and_then_left_for_ten_minutes(
    client: Client, server: WeChatServer, time: Time
) -> None:
    api = client(nowhere(), server)
    with capture_logs() as events:
        await api.send_text(OPENID, "x")
        await api.send_text(OPENID, "x")
    assert len(server.sent) == 2
    assert events == [
        {
            "event": "wechat_api.moved",
            "host": "127.0.0.1",
            "call": "stable_token",
            "reason": "no connection",
            "log_level": "warning",
        }
    ]


async def test_the_configured_host_has_its_turn_again_after_ten_minutes(
    client: Client, start: Start, time: Time
) -> None:
    first, second = await start(), await start()
    first.token_seconds = second.token_seconds = 2  # so that every check asks
    first.script["stable_token"] = [Garbage(502)]
    api = client(first, second)
    with capture_logs() as events:
        await api.check()
        time.passes(599)
        await api.check()
        assert [len(server.calls) for server in (first, second)] == [1, 2]
        time.passes(1)
        await api.check()
    assert [len(server.calls) for server in (first, second)] == [2, 2]
    assert [event["reason"] for event in events] == ["status 502", "it is the configured one's turn again"]


class Resolver(AbstractResolver):
    """Knows no name, or takes for ever to say so."""

    def __init__(self, *, is_slow: bool) -> None:
        self._is_slow = is_slow

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        if self._is_slow:
            await asyncio.Event().wait()
        raise OSError("no such name")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("host", "is_slow", "reason"),
    [
        ("http://nowhere.example", False, "its name was not found"),
        ("http://nowhere.example", True, "no connection in time"),
        ("https://127.0.0.1:{port}", False, "its certificate or TLS is not right"),
    ],
)
async def test_any_failure_to_connect_leaves_the_message_to_the_next_host(
    client: Client, server: WeChatServer, host: str, is_slow: bool, reason: str
) -> None:
    connector = aiohttp.TCPConnector(resolver=Resolver(is_slow=is_slow))
    seconds = Seconds(connect=0.3) if is_slow else Seconds()
    async with aiohttp.ClientSession(connector=connector) as session:
        broken = host.format(port=server.port)
        api = client(broken, server, session=session, seconds=seconds)
        with capture_logs() as events:
            await api.send_text(OPENID, "x")
        alone = client(broken, session=session, seconds=seconds)
        with pytest.raises(ApiUnreachable) as raised:
            await alone.check()
    assert len(server.sent) == 1
    assert [event["reason"] for event in events] == [reason]
    assert raised.value.reason == reason


async def test_when_no_host_can_be_reached_nothing_was_sent(client: Client) -> None:
    with capture_logs() as events, pytest.raises(ApiUnreachable):
        await client(nowhere(), nowhere()).send_text(OPENID, "x")
    assert [(event["event"], event["call"]) for event in events] == [("wechat_api.unreachable", "stable_token")]


async def test_a_message_whose_hosts_are_all_gone_is_unreachable(client: Client, server: WeChatServer) -> None:
    api = client(server)
    await api.check()
    await server.__aexit__()
    with pytest.raises(ApiUnreachable):
        await api.send_text(OPENID, "x")


LOST: list[Scripted] = [
    Cut(before=False),
    Cut(before=True),
    Slow(SOON * 10),
    Misstated(10),
    Endless(),
    Garbage(502, b'{"errcode":0}'),
    Garbage(500),
    Garbage(204),
    Garbage(302, headers={"Location": "/cgi-bin/getcallbackip"}),
    Garbage(200, b"<html>"),
    Garbage(200, b"[]"),
    Garbage(200, b'{"errcode":"0"}'),
]


@pytest.mark.parametrize("step", LOST, ids=repr)
async def test_a_message_of_which_nobody_knows_the_end_is_not_sent_again(
    client: Client, start: Start, step: Scripted
) -> None:
    first, second = await start(), await start()
    api = client(first, second, seconds=patience(step))
    await api.check()
    first.script["custom/send"] = [step]
    with capture_logs() as events, pytest.raises(ApiOutcomeUnknown):
        await api.send_text(OPENID, "x")
    assert len(first.calls_of("custom/send")) == 1
    assert second.calls == []
    assert first.calls_of("getcallbackip") == [], "a redirect would take the token along"
    assert len(first.sent) == (step in (Cut(before=False), Misstated(10), Endless()))
    assert [(event["event"], event["call"]) for event in events] == [("wechat_api.lost", "custom/send")]


async def test_an_answer_without_end_is_left_at_once(api: WeChatApi, server: WeChatServer) -> None:
    server.script["custom/send"] = [Endless()]
    with pytest.raises(ApiOutcomeUnknown) as raised:
        await api.send_text(OPENID, "x")
    assert raised.value.reason == "an answer larger than any of WeChat's"


@pytest.mark.parametrize("step", [Cut(before=True), Slow(SOON * 10), Garbage(502), Garbage(200, b"{")], ids=repr)
@pytest.mark.parametrize("path", ["stable_token", "custom/typing", "media/upload"])
async def test_what_does_no_harm_twice_is_asked_of_the_next_host(
    client: Client, start: Start, path: str, step: Scripted
) -> None:
    first, second = await start(), await start()
    second.script["media/upload"] = [Garbage(200, b'{"media_id":"m"}')]  # the token is the first one's
    second.script["custom/typing"] = [Garbage(200, b"{}")]
    first.script[path] = [step]
    api = client(first, second, seconds=patience(step))
    match path:
        case "stable_token":
            await api.check()
        case "custom/typing":
            await api.typing(OPENID)
        case _:
            await api.upload_image(PNG[:300], "png")
    assert len(first.calls_of(path)) == len(second.calls_of(path)) == 1


async def test_two_hosts_that_do_not_answer_are_enough(client: Client, start: Start) -> None:
    hosts = [await start() for _ in range(3)]
    api = client(*hosts)
    await api.check()
    for host in hosts:
        host.script["custom/typing"] = [Garbage(502)]
    with pytest.raises(ApiOutcomeUnknown):
        await api.typing(OPENID)
    assert [len(host.calls_of("custom/typing")) for host in hosts] == [1, 1, 0]


async def test_a_message_for_which_no_token_could_be_had_was_certainly_not_sent(
    api: WeChatApi, server: WeChatServer
) -> None:
    server.script["stable_token"] = [Garbage(502)]
    with pytest.raises(ApiUnreachable) as raised:
        await api.send_text(OPENID, "x")
    assert raised.value.reason == "status 502"
    assert server.calls_of("custom/send") == []


@pytest.mark.parametrize(("path", "body"), [("stable_token", b"{}"), ("media/upload", b'{"media_id":7}')])
async def test_a_success_without_what_was_asked_for_is_none(
    api: WeChatApi, server: WeChatServer, path: str, body: bytes
) -> None:
    server.script[path] = [Garbage(200, body)]
    with pytest.raises(ApiUnreachable if path == "stable_token" else ApiOutcomeUnknown):
        await api.upload_image(PNG, "png")


# Secrets


@pytest.mark.parametrize("path", ["stable_token", "custom/send"])
@pytest.mark.parametrize(
    "step", [*LOST, Fault(40001), Fault(40164), Fault(45015, f"{OPENID} {WORDS} {SECRET}")], ids=repr
)
async def test_no_secret_is_in_a_log_or_an_error(
    client: Client, start: Start, session: aiohttp.ClientSession, path: str, step: Scripted
) -> None:
    first, second = await start(), await start()
    for server in (first, second):
        server.script[path] = [step, step, step]
    api = client(nowhere(), first, second, seconds=patience(step))
    with capture_logs() as events, pytest.raises(ApiError) as raised:
        await api.send_text(OPENID, WORDS)
    tokens = [
        called.query["access_token"] for called in (*first.calls, *second.calls) if "access_token" in called.query
    ]
    chain: list[BaseException] = [raised.value]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(inner)
    assert {type(error).__module__ for error in chain} == {"bot.wechat.api_errors"}
    told = repr(events) + repr(api) + repr(chain) + "".join(traceback.format_exception(raised.value))
    assert [secret for secret in (SECRET, OPENID, WORDS, "canary", "access_token=", *tokens) if secret in told] == []


async def test_its_repr_says_nothing(api: WeChatApi) -> None:
    await api.check()
    assert repr(api) == "<WeChatApi>"
