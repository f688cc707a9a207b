import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from daemon.session import Sessions, open_session, trouble_with
from proxy.key import Upstream


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


async def test_nothing_is_added_to_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with (
        upstream(OK) as (url, heads),
        open_session() as session,
        session.post(url, data=b"body", headers={"Authorization": "Bearer k"}) as answer,
    ):
        await answer.read()
    names = {line.partition(b":")[0] for line in heads[0].split(b"\r\n")[1:] if line}
    assert names == {b"Host", b"Authorization", b"Content-Length"}


async def test_a_cookie_set_with_one_key_is_not_sent_with_another() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: __cf_bm=1; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with upstream(cookie, OK) as (url, heads), open_session() as session:
        for key in ("a", "b"):
            async with session.get(url, headers={"Authorization": f"Bearer {key}"}) as answer:
                await answer.read()
    assert len(heads) == 2
    assert not any(b"cookie" in head.lower() for head in heads)


async def test_a_compressed_answer_stays_as_it_came() -> None:
    packed = b"\x1f\x8b not really gzip"
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with upstream(head + packed) as (url, _), open_session() as session, session.get(url) as answer:
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
