import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import ClientConnectorCertificateError, ClientConnectorError, ClientError, ClientSession

from daemon import session as session_module
from daemon.addresses import parsed
from daemon.session import Sessions, is_public, open_public_session, open_session, trouble_with
from proxy.key import Upstream
from tests.pem import Authority


@asynccontextmanager
async def upstream(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Gives its URL and the heads it hears; the n-th request gets the n-th answer, on whatever connection it comes."""
    heads: list[bytes] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = b"Content-Length: 4"
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                heads.append(head)
                if with_body in head:
                    await reader.readexactly(4)
                writer.write(answers[len(heads) - 1])
        except asyncio.IncompleteReadError:
            writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/x", heads


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Opened = Callable[[], ClientSession]
every_session = pytest.mark.parametrize("opened", [open_session, partial(open_public_session, allow_loopback=True)])


@every_session
async def test_nothing_is_added_to_a_request(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with (
        upstream(OK) as (url, heads),
        opened() as session,
        session.post(url, data=b"body", headers={"Authorization": "Bearer k"}) as answer,
    ):
        await answer.read()
    names = {line.partition(b":")[0] for line in heads[0].split(b"\r\n")[1:] if line}
    assert names == {b"Host", b"Authorization", b"Content-Length"}


@every_session
async def test_a_cookie_set_with_one_key_is_not_sent_with_another(opened: Opened) -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: __cf_bm=1; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with upstream(cookie, OK) as (url, heads), opened() as session:
        for key in ("a", "b"):
            async with session.get(url, headers={"Authorization": f"Bearer {key}"}) as answer:
                await answer.read()
    assert len(heads) == 2
    assert not any(b"cookie" in head.lower() for head in heads)


@every_session
async def test_a_compressed_answer_stays_as_it_came(opened: Opened) -> None:
    packed = b"\x1f\x8b not really gzip"
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with upstream(head + packed) as (url, _), opened() as session, session.get(url) as answer:
        assert (await answer.read(), answer.headers["Content-Encoding"]) == (packed, "gzip")


async def test_a_long_line_in_an_answers_head_is_understood() -> None:
    policy = b"p" * 12000
    head = b"HTTP/1.1 200 OK\r\nContent-Security-Policy: %b\r\nContent-Length: 0\r\n\r\n" % policy
    async with upstream(head) as (url, _), open_session() as session, session.get(url) as answer:
        assert answer.headers["Content-Security-Policy"] == policy.decode()


async def test_more_requests_run_at_once_than_aiohttp_would_allow() -> None:
    everyone_is_here = asyncio.Barrier(150)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await everyone_is_here.wait()
        writer.write(OK)
        writer.close()

    async with await asyncio.start_server(speak, "127.0.0.1", 0, backlog=200) as server, open_session() as session:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*(session.get(url) for _ in range(150)))
        assert {answer.status for answer in answers} == {200}
        for answer in answers:
            answer.close()


async def test_there_is_one_session_for_each_source_address_and_all_are_closed_at_the_end() -> None:
    async with Sessions() as sessions:
        near, again, other = (
            sessions.towards(Upstream(name, "https://a.test", source_address=address))
            for name, address in (("near", ""), ("again", ""), ("other", "127.0.0.1"))
        )
        assert near is again
        assert near is not other
    assert near.closed
    assert other.closed


@pytest.mark.parametrize(
    ("address", "trouble"), [("", False), ("127.0.0.1", False), ("192.0.2.1", True), ("2001:db8::1", True)]
)
def test_an_address_of_another_machine_is_trouble(address: str, trouble: bool) -> None:
    assert bool(trouble_with(address)) is trouble


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "101.226.0.1", "2606:4700:4700::1111", "240e::1", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_what_somebody_on_the_internet_has_is_public(address: str) -> None:
    assert is_public(parsed(address) or ip_address("::"))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
        *(
            "100.64.0.1",
            "169.254.169.254",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "255.255.255.255",
        ),
        *("::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%2", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
        *("2001:db8::1", "2001:0:1::1", "2002:7f00:1::1", "2002:a00:1::1", "100::1", "4000::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1"),
    ],
)
def test_what_is_ones_own_or_nobodys_is_not_public(address: str) -> None:
    assert not is_public(parsed(address) or ip_address("8.8.8.8"))


@pytest.mark.parametrize(
    "name",
    ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0x7f000001", "127.1"],
)
async def test_no_way_of_writing_an_inner_address_leads_to_it(name: str) -> None:
    async with upstream(OK) as (url, heads), open_public_session() as session:
        with pytest.raises(ClientError):
            await session.get(url.replace("127.0.0.1", name))
    assert heads == []


@pytest.mark.parametrize("name", ["10.255.255.1", "0.0.0.0", "169.254.169.254", "[fe80::1]", "[64:ff9b::7f00:1]"])
async def test_to_allow_this_machine_allows_nothing_else(name: str) -> None:
    async with open_public_session(allow_loopback=True) as session:
        with pytest.raises(ClientConnectorError) as caught:
            await session.get(f"http://{name}:9/")
    assert isinstance(caught.value.os_error, PermissionError)


@every_session
async def test_a_server_is_believed_by_the_system_s_authorities_alone(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read at the first connection; nothing is believed before, and nothing else after."""
    authority = Authority()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*authority.write(tmp_path))
    known = tmp_path / "authorities.pem"
    async with await asyncio.start_server(_say_ok, "127.0.0.1", 0, ssl=tls) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        for trusted, is_believed in ((authority, True), (Authority(), False)):
            known.write_bytes(trusted.pem)
            monkeypatch.setenv("SSL_CERT_FILE", str(known))
            monkeypatch.setattr(session_module, "_verified", cache(session_module._verified.__wrapped__))
            async with opened() as session:
                assert await _is_believed(session, url) is is_believed


async def _say_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)


async def _is_believed(session: ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except ClientConnectorCertificateError:
        return False
