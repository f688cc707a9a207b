from __future__ import annotations

import asyncio
import re
import socket
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest
from aiohttp import ClientSession, web
from structlog.testing import capture_logs

from bot.exchange import Exchange, State
from bot.memory_store import MemoryStore
from daemon import app, config
from daemon.operator.gate import SESSION
from daemon.operator.health import DATABASE_SECONDS
from daemon.operator.live import MOST_VIEWERS, Pace
from daemon.secret import Sources
from proxy.lease import Want
from proxy.verdict import Rule, Verdict
from tests.daemon.operator.events import BASIC, NEVER, PATIENCE, Stream, watch
from tests.daemon.operator.house import PASSWORD, Visit, Visitor, a_key, build

QUICK = Pace(event=0.01, share=0.0, look=0.01, glance=0.001, fresh=NEVER, beat=NEVER)


class HangingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def pending(self, limit: int, offset: int = 0) -> NoReturn:
        self.asked += 1
        await asyncio.Event().wait()
        raise AssertionError


async def until(visitor: Visitor, looks: int) -> None:
    """Until the house was looked at so many times more."""
    wanted = visitor.house.looks + looks
    async with asyncio.timeout(PATIENCE):
        while visitor.house.looks < wanted:
            await asyncio.sleep(0.001)


async def ask(visitor: Visitor, question: str, number: int = 0) -> None:
    asked = Exchange(f"e{number}", "gh_1", "oABC", str(number), question, state=State.THINKING, asked_at=number)
    await visitor.house.store.begin(asked)


async def test_the_page_comes_at_once_and_is_the_one_that_a_visit_shows(visit: Visit) -> None:
    visitor = await visit(keys=[a_key()])
    await visitor.sign_in()
    shown = await (await watch(visitor)).main()
    page = await (await visitor.get("/status?lang=en")).text()
    assert shown["main"].strip() in page
    assert f"<title>{shown['title']}</title>" in page
    for file in shown["files"].split():
        assert f'"{file}"' in page


async def test_the_stream_is_not_kept_and_not_held_back_on_its_way(visit: Visit) -> None:
    stream = await watch(await visit(), headers=BASIC)
    assert stream.response.content_type == "text/event-stream"
    assert stream.response.headers["X-Accel-Buffering"] == "no"
    assert stream.response.headers["Cache-Control"] == "no-store"


async def test_what_changes_is_shown_to_whoever_watches(visit: Visit) -> None:
    visitor = await visit(pace=QUICK)
    stream = await watch(visitor, headers=BASIC)
    assert "late-key" not in (await stream.main())["main"]
    visitor.house.keys.append(a_key(name="late-key"))
    await stream.main_with("late-key")
    await ask(visitor, "为什么天是蓝的")
    assert (await stream.main_with("为什么天是蓝的"))["title"].startswith("1 of 1 keys usable, 1 answer waiting")


async def test_a_change_that_is_told_does_not_wait_for_the_next_look(visit: Visit) -> None:
    visitor = await visit(pace=replace(QUICK, look=NEVER))
    stream = await watch(visitor, headers=BASIC)
    await stream.main()
    visitor.house.keys.append(a_key(name="late-key"))
    visitor.house.operator.wake()
    await stream.main_with("late-key")


async def test_two_events_are_a_second_apart_however_much_happens(visit: Visit) -> None:
    visitor = await visit(pace=replace(QUICK, event=0.1), keys=[a_key()])
    stream = await watch(visitor, headers=BASIC)
    times = []
    for number in range(4):
        await stream.main()
        times.append(asyncio.get_running_loop().time())
        visitor.house.keys[0] = a_key(name=f"k{number}")
        visitor.house.operator.wake()
    assert min(later - sooner for sooner, later in pairwise(times)) > 0.08


async def test_waking_does_not_make_us_look_without_a_pause(visit: Visit) -> None:
    visitor = await visit(pace=replace(QUICK, look=NEVER, glance=0.1), keys=[a_key()])
    await (await watch(visitor, headers=BASIC)).main()
    loop = asyncio.get_running_loop()
    began = loop.time()
    while loop.time() - began < 0.35:
        visitor.house.operator.wake()
        await asyncio.sleep(0)
    assert 2 <= visitor.house.looks <= 5


async def test_where_nothing_happens_the_heart_beats(visit: Visit) -> None:
    visitor = await visit(pace=replace(QUICK, beat=0.02), keys=[a_key()])
    stream = await watch(visitor, headers=BASIC)
    assert [(await stream.event())[0] for _ in range(4)] == ["main", "beat", "beat", "beat"]
    assert visitor.house.looks > 2


async def test_what_is_unchanged_is_sent_again_before_its_ages_are_old(visit: Visit) -> None:
    stream = await watch(await visit(pace=replace(QUICK, fresh=0.05), keys=[a_key()]), headers=BASIC)
    assert await stream.main() == await stream.main()


async def test_each_sees_the_page_in_their_language_and_the_page_of_what_waits(visit: Visit) -> None:
    visitor = await visit(pace=QUICK)
    for number in range(60):
        await ask(visitor, f"question {number:02}", number)
    streams = [await watch(visitor, query, headers=BASIC) for query in ("lang=zh", "lang=en&page=2", "lang=en&page=x")]
    chinese, second, first = [await stream.main() for stream in streams]
    assert "60 条回答待取" in chinese["title"]
    assert ("question 00" in first["main"], "question 55" in first["main"]) == (True, False)
    assert ("question 00" in second["main"], "question 55" in second["main"]) == (False, True)


async def test_a_hundred_viewers_cost_one_look_and_one_more_is_told_so(visit: Visit) -> None:
    visitor = await visit(pace=Pace(look=NEVER, glance=0.001), keys=[a_key()])
    streams = await asyncio.gather(*(watch(visitor, headers=BASIC) for _ in range(MOST_VIEWERS)))
    first = [await stream.main() for stream in streams]
    assert visitor.house.looks == 1
    assert all(shown == first[0] for shown in first)
    refused = await visitor.get("/status/events", headers=BASIC)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "10")


async def test_nobody_looks_any_more_when_the_last_viewer_has_left(visit: Visit) -> None:
    visitor = await visit(pace=QUICK)
    streams = [await watch(visitor, headers=BASIC) for _ in range(2)]
    await until(visitor, 3)
    for stream in streams:
        stream.response.close()
    async with asyncio.timeout(PATIENCE):
        while any(task.get_name() == "status events" for task in asyncio.all_tasks()):
            await asyncio.sleep(0.001)
    assert (await (await watch(visitor, headers=BASIC)).main())["main"]


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic b3Blbjp3cm9uZw=="}])
async def test_a_stranger_sees_nothing(visit: Visit, headers: dict[str, str]) -> None:
    visitor = await visit(keys=[a_key()])
    answer = await visitor.get("/status/events", headers=headers)
    assert answer.status == 401
    assert visitor.house.looks == 0


async def test_without_a_password_there_is_no_stream(visit: Visit) -> None:
    assert (await (await visit(password=None)).get("/status/events")).status == 404


async def test_a_stream_ends_when_its_session_is_signed_out_elsewhere(visit: Visit) -> None:
    visitor = await visit(pace=replace(QUICK, beat=0.02))
    await visitor.sign_in()
    stream = await watch(visitor)
    await stream.main()
    token = await visitor.form_token("/status")
    await visitor.post("/status/sign-out", data={"form_token": token})
    await stream.end()


async def test_a_stream_ends_with_the_age_of_its_session(visit: Visit) -> None:
    visitor = await visit(pace=replace(QUICK, beat=0.02))
    await visitor.sign_in()
    assert SESSION in {cookie.key for cookie in visitor.http.session.cookie_jar}
    stream, program = await watch(visitor), await watch(visitor, headers=BASIC)
    visitor.http.session.cookie_jar.clear()
    by_password = await watch(visitor, headers=BASIC)
    visitor.house.time[0] += 31 * 86_400
    await stream.end()
    await program.end()  # it came with the cookie, too
    await by_password.main()


async def test_the_end_of_the_daemon_ends_every_stream_at_once(visit: Visit) -> None:
    visitor = await visit(pace=replace(QUICK, look=NEVER, beat=NEVER))
    streams = [await watch(visitor, headers=BASIC) for _ in range(3)]
    for stream in streams:
        await stream.main()
    await visitor.house.operator.close()
    for stream in streams:
        await stream.end()
    assert (await visitor.get("/status/events", headers=BASIC)).status == 503


@pytest.fixture
async def narrow(aiohttp_client: Any) -> Visit:
    """A visitor before a house whose kernel keeps little for those who do not read."""

    async def limit(request: web.Request, _: web.StreamResponse) -> None:
        assert request.transport is not None
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)

    async def visit(**changes: Any) -> Visitor:
        house = build(keys=[a_key(name=f"k{number:04}", last_request_id="r" * 64) for number in range(150)], **changes)
        house.app.on_response_prepare.append(limit)
        return Visitor(house, await aiohttp_client(house.app))

    return visit


async def test_the_whole_daemon_shows_a_429_and_ends_without_waiting_for_its_viewers(tmp_path: Path) -> None:
    document = {
        "server": {"listen": ["127.0.0.1:0"], "database": "sqlite:posthouse.db"},
        "operator": {"password": PASSWORD},
        "keys": [{"name": "main", "secret": "sk-1"}],
    }
    settings = config.parse(document, Sources({}, tmp_path))
    async with ClientSession(headers=BASIC) as session, AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(app.running(settings, drain_seconds=NEVER))
        async with session.get(f"{daemon.url}/status/events?lang=en") as answer:
            stream = Stream(answer)
            assert "Cooling" not in (await stream.main())["main"]
            lease = daemon.pool.lease(Want("proxy", "gpt-5"))
            daemon.pool.settle(lease, Verdict(Rule.RATE, wait_seconds=60.0))
            assert daemon.operator._live._woken.is_set()  # so that nobody waits for the next look
            daemon.pool.release(lease)
            await stream.main_with("Cooling")
            async with asyncio.timeout(PATIENCE):
                with capture_logs() as logs:
                    await stack.aclose()
                await stream.end()
    assert [log["cancelled"] for log in logs if log["event"] == "server.stopped"] == [0]


class Dawdler:
    """A viewer that does not read what it is sent, until it does."""

    def __init__(self, visitor: Visitor) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self.socket.connect((visitor.http.host, visitor.http.port))
        self.socket.setblocking(False)
        head = f"GET /status/events?lang=en HTTP/1.1\r\nHost: x\r\nAuthorization: {BASIC['Authorization']}\r\n\r\n"
        self.socket.send(head.encode())

    async def read_until(self, words: bytes) -> bytes:
        data = b""
        async with asyncio.timeout(PATIENCE):
            while words not in data:
                data += await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
        return data


async def test_who_takes_nothing_is_dropped_and_the_others_are_served(narrow: Visit) -> None:
    visitor = await narrow(pace=replace(QUICK, write=0.05))
    dawdler, stream = Dawdler(visitor), await watch(visitor, headers=BASIC)
    viewers = visitor.house.operator._live._viewers
    with dawdler.socket:
        async with asyncio.timeout(PATIENCE):
            while len(viewers) < 2:
                await asyncio.sleep(0.001)
            while len(viewers) > 1:
                await asyncio.sleep(0.001)
    visitor.house.keys.append(a_key(name="late-key"))
    await stream.main_with("late-key")


async def test_the_end_of_the_daemon_does_not_wait_for_who_takes_nothing(narrow: Visit) -> None:
    visitor = await narrow(pace=replace(QUICK, write=NEVER))
    viewers = visitor.house.operator._live._viewers
    with Dawdler(visitor).socket:
        await until(visitor, 5)
        assert [viewer.patience is not None for viewer in viewers] == [True]
        await visitor.house.operator.close()
        async with asyncio.timeout(PATIENCE):
            while viewers:
                await asyncio.sleep(0.001)


async def test_who_is_slow_gets_the_newest_and_nothing_in_between(narrow: Visit) -> None:
    visitor = await narrow(pace=QUICK)
    dawdler = Dawdler(visitor)
    with dawdler.socket:
        await until(visitor, 2)
        for number in range(20):
            visitor.house.keys[0] = a_key(name=f"change-{number:02}")
            await until(visitor, 2)
        text = await dawdler.read_until(b"change-19")
    assert len(set(re.findall(rb"change-\d\d", text))) < 5


async def test_a_silent_database_is_said_and_asked_once_for_all(visit: Visit) -> None:
    store = HangingStore()
    visitor = await visit(pace=QUICK, store=store, keys=[a_key(name="survivor")])
    loop = asyncio.get_running_loop()
    began = loop.time()
    streams = await asyncio.gather(*(watch(visitor, headers=BASIC) for _ in range(20)))
    shown = [await stream.main() for stream in streams]
    assert loop.time() - began < 3 * DATABASE_SECONDS
    assert all("survivor" in each["main"] and "The database does not answer." in each["main"] for each in shown)
    assert store.asked <= 3
    visitor.house.keys[0] = a_key(name="later")
    await streams[0].main_with("later")


async def test_a_look_that_fails_is_logged_and_the_next_one_is_shown(visit: Visit) -> None:
    visitor = await visit(pace=QUICK)
    stream = await watch(visitor, headers=BASIC)
    await stream.main()
    with capture_logs() as logs:
        visitor.house.keys.append(None)  # type: ignore[arg-type]
        async with asyncio.timeout(PATIENCE):
            while not any(log["event"] == "job.crashed" for log in logs):
                await asyncio.sleep(0.001)
        visitor.house.keys[:] = [a_key(name="well-again")]
        await stream.main_with("well-again")
    assert {log["job"] for log in logs} == {"status page"}
