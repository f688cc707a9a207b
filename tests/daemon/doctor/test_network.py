"""The way to a place, step by step: against real servers on loopback, with TLS that is right and wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from daemon.doctor import network
from daemon.doctor.facts import Exit, Failure, Place, Role, Step, Way
from daemon.session import open_session
from tests.daemon.doctor.servers import alone, place, saying, serving, tls_of
from tests.pem import Authority

AUTHORITY = Authority()
TRUST = AUTHORITY.trust()
NOW = 1_764_000_000.0
TRACE = "fl=1\nh=api.example.org\nip=203.0.113.7\nts=1\nvisit_scheme=https\ncolo=NRT\nloc=JP\ntls=TLSv1.3\n"


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as session:
        yield session


async def way(to: Place, session: ClientSession, clock: float = NOW, seconds: float = 5.0) -> Way:
    return await network.along(to, session, context=TRUST, clock=lambda: clock, seconds=seconds)


async def test_a_way_that_is_well_tells_addresses_certificate_and_nothing_wrong(
    tmp_path: Path, session: ClientSession
) -> None:
    async with serving(tls=tls_of(*AUTHORITY.write(tmp_path))) as port:
        seen = await way(place("https", port), session)

    assert seen.failure is None
    assert seen.addresses == ("127.0.0.1",)
    assert seen.certificate is not None
    days = (seen.certificate.ends_at - datetime.now(UTC).timestamp()) / 86_400
    assert 59 < days < 61


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: AUTHORITY.write(folder, days=(-9.0, -1.0)), "has expired"),
        (lambda folder: AUTHORITY.write(folder, days=(1.0, 9.0)), "not valid yet"),
        (lambda folder: Authority().write(folder), "signature is wrong"),
        (lambda folder: alone(folder, issuer="nobody here"), "chain is not whole"),
        (alone, "self-signed"),
    ],
    ids=["expired", "early", "signature", "chain", "self-signed"],
)
async def test_a_certificate_that_is_wrong_is_told_with_its_fault(
    tmp_path: Path, session: ClientSession, make: Callable[[Path], tuple[Path, Path]], words: str
) -> None:
    async with serving(tls=tls_of(*make(tmp_path))) as port:
        seen = await way(place("https", port, host="localhost"), session)

    assert seen.failure is not None
    assert (seen.failure.step, words in seen.failure.reason) == (Step.TLS, True), seen.failure
    assert seen.certificate is None


async def test_a_certificate_for_another_name_is_told_as_that(tmp_path: Path, session: ClientSession) -> None:
    files = alone(tmp_path, "another.test")
    trust = ssl.create_default_context(cafile=files[0])
    async with serving(tls=tls_of(*files)) as port:
        seen = await network.along(place("https", port, host="localhost"), session, context=trust)

    assert seen.failure == Failure(Step.TLS, "its certificate is for another name")


async def test_a_port_without_tls_and_one_that_nobody_listens_on(session: ClientSession) -> None:
    async with serving() as port:
        plain = await way(place("https", port), session)
    closed = await way(place("https", port), session)

    assert plain.failure == Failure(Step.TLS, "it does not speak TLS there, or none that is spoken here")
    assert closed.failure == Failure(Step.CONNECT, "the connection is refused, so nothing listens there")


async def test_of_a_name_with_two_addresses_that_both_refuse_the_reason_is_known(session: ClientSession) -> None:
    """asyncio then puts both errors into one text, and gives no number."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        seen = await way(place("http", unused.getsockname()[1], host="localhost"), session)

    assert seen.failure == Failure(Step.CONNECT, "the connection is refused, so nothing listens there")


@pytest.mark.parametrize("name", ["no-such-name.invalid", "a..b", "x" * 300])
async def test_a_name_that_is_none_ends_the_way(session: ClientSession, name: str) -> None:
    seen = await way(place("https", 443, host=name), session)

    assert seen.failure == Failure(Step.NAME, "its name is not found")
    assert seen.addresses == ()


async def test_a_resolver_that_never_answers_ends_the_way_in_time_and_holds_up_nothing(
    session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        may_end.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    try:
        seen = await way(place("https", 443, host="slow.test"), session, seconds=0.05)
    finally:
        may_end.set()

    assert seen.failure == Failure(Step.NAME, "no answer in time")


async def test_a_server_that_takes_the_connection_and_says_nothing_ends_the_way_in_time(
    session: ClientSession,
) -> None:
    async with saying(b"") as port:
        over_tls = await way(place("https", port), session, seconds=0.2)
        plain = await way(place("http", port), session, seconds=0.2)

    assert over_tls.failure == Failure(Step.CONNECT, "no answer in time")
    assert (plain.failure, plain.ahead_seconds) == (None, None)


def dated(at: float | None, **headers: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        date = {} if at is None else {"Date": format_datetime(datetime.fromtimestamp(at, UTC), usegmt=True)}
        return web.Response(text=TRACE if request.path == "/cdn-cgi/trace" else "", headers={**date, **headers})

    return answer


@pytest.mark.parametrize("ahead", [0.0, 7.0, -3600.0])
async def test_an_upstream_tells_how_far_the_clock_is_off(session: ClientSession, ahead: float) -> None:
    async with serving(dated(NOW)) as port:
        seen = await way(place("http", port), session, clock=NOW + 0.5 + ahead)

    assert seen.ahead_seconds == pytest.approx(ahead)
    assert seen.within_seconds == pytest.approx(0.5)


@pytest.mark.parametrize(
    "date",
    ["yesterday", "Mon, 32 Jan 2026 00:00:00 GMT", f"Mon, 01 Jan {10**20} 00:00:00 GMT", "1 Jan 2026 0:0 +" + "9" * 20],
)
async def test_a_date_that_is_in_no_calendar_tells_no_time_and_ends_nothing(session: ClientSession, date: str) -> None:
    async with serving(dated(None, Date=date)) as port:
        seen = await way(place("http", port), session)

    assert (seen.failure, seen.ahead_seconds) == (None, None)


async def test_an_upstream_behind_cloudflare_tells_where_we_come_out(session: ClientSession) -> None:
    async with serving(dated(NOW, **{"CF-RAY": "8f00aa11bb22cc33-NRT"})) as port:
        seen = await way(place("http", port), session)

    assert seen.exit == Exit("203.0.113.7", "JP", "NRT")


@pytest.mark.parametrize("said", ["ip=<b>\nloc=japan\n", "", "\xff\xfe=\x1b[31m", "ip=\nloc=\n"])
async def test_what_is_no_trace_of_cloudflares_tells_nothing(session: ClientSession, said: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=said.encode("latin-1"), headers={"CF-RAY": "1-<b>", "Date": "yesterday"})

    async with serving(answer) as port:
        seen = await way(place("http", port), session)

    assert (seen.failure, seen.exit, seen.ahead_seconds) == (None, Exit(), None)


@pytest.mark.parametrize("role", [Role.WECHAT, Role.SPARE, Role.PUBLIC])
async def test_only_an_upstream_is_asked_anything(session: ClientSession, role: Role) -> None:
    asked = []

    async def note(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async with serving(note) as port:
        seen = await way(place("http", port, role=role), session)

    assert (seen.failure, asked) == (None, [])


async def test_a_greeting_carries_nothing_that_is_secret_and_follows_no_redirect(session: ClientSession) -> None:
    asked: list[web.Request] = []

    async def redirect(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with serving(redirect) as port:
        await way(place("http", port), session)

    [request] = asked
    assert request.path == "/cdn-cgi/trace"
    assert not {"Authorization", "Cookie", "api-key"} & set(request.headers)


async def test_a_source_address_is_where_every_connection_comes_from() -> None:
    peers = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername")[0])
        writer.transport.abort()

    async with await asyncio.start_server(note, "127.0.0.1", 0) as server, open_session("127.0.0.2") as session:
        to = replace(place("http", server.sockets[0].getsockname()[1]), source_address="127.0.0.2")
        seen = await way(to, session)

    assert (seen.failure, set(peers)) == (None, {"127.0.0.2"})


async def test_a_lookup_that_was_given_up_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, has_ended = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        may_end.wait(20)
        has_ended.set()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    looking = asyncio.create_task(network.lookup("slow.test", 443))
    await asyncio.sleep(0)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    may_end.set()
    assert await asyncio.to_thread(has_ended.wait, 5)
    await asyncio.sleep(0)
