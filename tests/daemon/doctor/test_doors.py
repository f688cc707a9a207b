"""What answers at the doors of this machine, and what is said of it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from daemon.doctor.doors import Site, base_of, entrance, knock
from daemon.doctor.facts import Door, DoorFact, Place, Role
from daemon.doctor.finding import Verdict
from daemon.doctor.machine_findings import port_findings
from daemon.session import open_session, open_unix_session
from tests.daemon.doctor.servers import Handler, alone, saying, serving, tls_of

ILL, DOUBT, WELL = Verdict.ILL, Verdict.DOUBT, Verdict.WELL
HTTPS = Place(Role.PUBLIC, "https://bot.example.org", "https", "bot.example.org", 443)


async def healthy(request: web.Request) -> web.Response:
    return web.Response(text="ok\n" if request.path == "/healthz" else "no")


async def nginx(_: web.Request) -> web.Response:
    return web.Response(status=404, text="<html>404</html>", headers={"Server": "nginx/1.26 " + "x" * 100})


async def knocked(base: str, *, host: str = "", context: ssl.SSLContext | None = None) -> DoorFact:
    async with open_session() as session:
        site = Site(base, session, context or ssl.create_default_context())
        return await knock(base.removeprefix("http://"), site, host=host)


async def test_the_daemon_another_program_and_nobody_are_told_apart() -> None:
    async with serving(healthy) as ours, serving(nginx) as others:
        first = await knocked(f"http://127.0.0.1:{ours}")
        second = await knocked(f"http://127.0.0.1:{others}")
    third = await knocked(f"http://127.0.0.1:{ours}")

    assert [first.door, second.door, third.door] == [Door.OURS, Door.ANOTHER, Door.CLOSED]
    assert (second.status, second.server[:10], len(second.server)) == (404, "nginx/1.26", 60)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\no"])
async def test_what_does_not_answer_as_http_does_is_silent(answer: bytes) -> None:
    async with saying(answer) as port, open_session() as session:
        site = Site(f"http://127.0.0.1:{port}", session, ssl.create_default_context())
        assert (await knock("x", site, seconds=0.3)).door is Door.SILENT


@contextlib.asynccontextmanager
async def on_socket(path: Path, handler: Handler) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_get("/healthz", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        yield
    finally:
        await runner.cleanup()


async def test_a_unix_socket_is_knocked_at_as_well(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    context = ssl.create_default_context()
    async with open_unix_session(str(path)) as session:
        site = Site(base_of(f"unix:{path}"), session, context)
        before = await knock(f"unix:{path}", site)
        async with on_socket(path, healthy):
            during = await knock(f"unix:{path}", site)

    assert (before.door, during.door) == (Door.CLOSED, Door.OURS)


async def test_a_site_behind_tls_is_asked_for_by_its_name(tmp_path: Path) -> None:
    hosts = []

    async def note(request: web.Request) -> web.Response:
        hosts.append(request.headers["Host"])
        return await healthy(request)

    files = alone(tmp_path, "server.test")
    async with serving(note, tls=tls_of(*files)) as port:
        trust = ssl.create_default_context(cafile=files[0])
        fact = await knocked(f"https://127.0.0.1:{port}", host="server.test", context=trust)

    assert (fact.door, hosts) == (Door.OURS, ["server.test"])


@pytest.mark.parametrize(
    ("address", "has_certificate", "base"),
    [
        ("0.0.0.0:8080", False, "http://127.0.0.1:8080"),
        ("[::]:80", False, "http://[::1]:80"),
        ("192.0.2.1:8080", False, "http://192.0.2.1:8080"),
        ("0.0.0.0:443", True, "https://127.0.0.1:443"),
        ("0.0.0.0:80", True, "http://127.0.0.1:80"),
        ("unix:/run/posthouse/http.sock", True, "http://localhost"),
        ("127.0.0.1:0", False, ""),
    ],
)
def test_where_a_listener_is_reached_on_this_machine(address: str, has_certificate: bool, base: str) -> None:
    assert base_of(address, has_certificate=has_certificate) == base


@pytest.mark.parametrize(
    ("public", "listen", "address"),
    [
        (None, ["0.0.0.0:8080"], "127.0.0.1:80"),
        (None, ["0.0.0.0:80"], ""),
        (HTTPS, ["127.0.0.1:8080"], "127.0.0.1:443"),
        (HTTPS, ["0.0.0.0:80", "[::]:443"], ""),
    ],
)
def test_where_the_world_comes_in(public: Place | None, listen: list[str], address: str) -> None:
    assert entrance(public, listen)[0] == address


@pytest.mark.parametrize(
    ("door", "is_configured", "verdict"),
    [
        (Door.OURS, True, WELL),
        (Door.CLOSED, True, ILL),
        (Door.ANOTHER, True, ILL),
        (Door.SILENT, True, ILL),
        (Door.FORBIDDEN, True, DOUBT),
        (Door.OURS, False, WELL),
        (Door.ANOTHER, False, DOUBT),
        (Door.CLOSED, False, DOUBT),
        (Door.SILENT, False, DOUBT),
    ],
)
def test_every_door_is_judged(door: Door, is_configured: bool, verdict: Verdict) -> None:
    [finding] = port_findings([DoorFact("127.0.0.1:80", is_configured, door, "nginx", 404)], [], is_needed=True)

    assert (finding.subject, finding.verdict) == ("127.0.0.1:80", verdict)
    assert bool(finding.to_do) is (verdict is not WELL)


def test_where_nobody_is_to_come_in_nothing_is_said_of_the_usual_port() -> None:
    assert list(port_findings([DoorFact("127.0.0.1:80", False, Door.CLOSED)], [], is_needed=False)) == []


def test_a_port_that_the_system_chooses_cannot_be_knocked_at() -> None:
    [finding] = port_findings([], ["127.0.0.1:0"], is_needed=True)
    assert finding.verdict is DOUBT
