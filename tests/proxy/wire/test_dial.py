"""Connections made: over TLS with its certificate looked at, its session taken up again, and what does not come about."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from aiohappyeyeballs import AddrInfoType

from proxy.key import Upstream
from proxy.wire.connection import NotSent
from proxy.wire.dial import Dialer
from proxy.wire.exchange import Lost
from proxy.wire.pool import WirePool
from tests.proxy.wire.conftest import CHUNKED, OK, Far, Papers, answered, ask, asked, listening


@pytest.fixture
async def far(papers: Papers) -> AsyncIterator[Far]:
    async with listening(papers.server) as far:
        yield far


@pytest.fixture
async def wires(papers: Papers) -> AsyncIterator[WirePool]:
    async with WirePool(papers.dialer()) as wires:
        yield wires


async def test_a_request_goes_out_over_tls_and_speaks_http_1_1(wires: WirePool, far: Far) -> None:
    end = await ask(wires, far)
    assert end.tls.selected_alpn_protocol() == "http/1.1"
    await ask(wires, far, end=end)
    assert far.count == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
async def test_a_later_connection_takes_up_the_session_of_the_one_before(
    wires: WirePool, papers: Papers, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(papers.server, "maximum_version", version)
    async with listening(papers.server) as far:
        first = await ask(wires, far)
        assert not first.tls.session_reused
        first.hang_up()
        assert await first.has_ended()
        second = await ask(wires, far)
        assert second is not first
        assert second.tls.session_reused
        assert second.tls.version() == version.name.replace("_", ".")


async def test_a_session_is_not_taken_up_from_another_address(wires: WirePool, far: Far) -> None:
    """It would show that both addresses are ours."""
    await ask(wires, far)
    base_url = far.upstream().base_url
    exchange = await asked(wires, Upstream("far", base_url, source_address="127.0.0.1"))
    end = await far.end()
    assert not end.tls.session_reused
    end.say(OK)
    assert await answered(exchange) == (200, b"ok")


async def test_a_certificate_nobody_vouches_for_is_refused_before_a_byte_is_sent(far: Far) -> None:
    async with WirePool() as wires:
        with pytest.raises(NotSent) as caught:
            await wires.towards(far.upstream())
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is nobody's")
async def test_a_certificate_of_another_name_is_refused(wires: WirePool, papers: Papers) -> None:
    async with listening(papers.server, host="127.0.0.2") as far:
        with pytest.raises(NotSent) as caught:
            await wires.towards(far.upstream("127.0.0.2"))
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_what_does_not_speak_tls_is_not_sent_to(wires: WirePool) -> None:
    async with listening() as plain:
        plain.is_tls = True  # as the config has it
        dialing = asyncio.ensure_future(wires.towards(plain.upstream()))
        end = await plain.end()
        end.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(NotSent):
            await dialing
        assert await end.has_ended()


async def test_a_handshake_that_takes_too_long_is_given_up_and_its_connection_closed(wires: WirePool, far: Far) -> None:
    await ask(wires, far)  # the certificates are loaded
    async with listening() as deaf:
        deaf.is_tls = True
        with pytest.raises(NotSent) as caught:
            await wires.towards(deaf.upstream(connect_seconds=0.2))
        assert isinstance(caught.value.__context__, TimeoutError)
        assert await (await deaf.end()).has_ended()


async def test_a_body_that_ends_with_the_connection_ends_with_a_goodbye(wires: WirePool, far: Far) -> None:
    exchange = await asked(wires, far.upstream())
    end = await far.end()
    await end.heard()
    end.say(b"HTTP/1.1 200 OK\r\n\r\nsome")
    end.hang_up()
    assert await answered(exchange) == (200, b"some")


async def test_one_whose_connection_was_cut_off_on_the_way_is_not_whole(wires: WirePool, far: Far) -> None:
    exchange = await asked(wires, far.upstream())
    end = await far.end()
    await end.heard()
    end.say(b"HTTP/1.1 200 OK\r\n\r\nsome")
    await exchange.head(5)
    assert await exchange.read(5) == b"some"
    end.cut_off()
    with pytest.raises(Lost):
        await exchange.read(5)


async def test_a_long_answer_over_tls_arrives_whole(wires: WirePool, far: Far) -> None:
    piece = bytes(range(256)) * 1_000
    exchange = await asked(wires, far.upstream(), body=piece)
    end = await far.end()
    await end.heard()
    assert await end.heard(len(piece)) == piece
    end.say(CHUNKED, *[b"%x\r\n%b\r\n" % (len(piece), piece)] * 8, b"0\r\n\r\n")
    assert await answered(exchange) == (200, piece * 8)
    await ask(wires, far, end=end)


# --- what does not come about


def nowhere() -> Upstream:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Upstream("nowhere", f"http://127.0.0.1:{probe.getsockname()[1]}/v1")


def port_of(upstream: Upstream) -> int:
    return int(upstream.base_url.removesuffix("/v1").rpartition(":")[2])


NOWHERE = {
    "nobody listens": nowhere(),
    "no name": Upstream("none", "http://" + "a" * 64 + ".test/v1"),
    "an empty label": Upstream("none", "http://a..test/v1"),
    "an address that is not ours": Upstream("other", "http://127.0.0.1:9/v1", source_address="192.0.2.1"),
    "an address of the other kind": Upstream("other", "http://127.0.0.1:9/v1", source_address="::1"),
}


@pytest.mark.parametrize("upstream", NOWHERE.values(), ids=NOWHERE.keys())
async def test_who_cannot_be_reached_was_not_sent_anything(wires: WirePool, upstream: Upstream) -> None:
    with pytest.raises(NotSent):
        await wires.towards(upstream)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses instead of waiting")
async def test_who_does_not_answer_in_time_was_not_sent_anything(wires: WirePool) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        upstream = Upstream("full", f"http://127.0.0.1:{full.getsockname()[1]}/v1", connect_seconds=0.05)
        with pytest.raises(NotSent) as caught:
            await wires.towards(upstream)
    assert isinstance(caught.value.__context__, TimeoutError)


# --- names


@dataclass(slots=True)
class Names:
    """A look-up by script: whatever is asked for, it leads to `addresses`. `asked` are the names that were."""

    addresses: list[tuple[str, int]]
    asked: list[str] = field(default_factory=list)

    async def resolve(self, host: str, port: int, family: socket.AddressFamily) -> Sequence[AddrInfoType]:
        self.asked.append(host)
        await asyncio.sleep(0)
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in self.addresses]


NAMED = Upstream("named", "http://api.test/v1")


async def test_of_a_name_s_addresses_one_that_answers_is_taken() -> None:
    async with listening() as far:
        names = Names([("127.0.0.1", port_of(nowhere())), ("127.0.0.1", far.port)])
        async with WirePool(Dialer(resolve=names.resolve)) as wires:
            exchange = await asked(wires, NAMED)
            end = await far.end()
            assert b"\r\nHost: api.test\r\n" in await end.heard()
            end.say(OK)
            assert await answered(exchange) == (200, b"ok")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue refuses instead of waiting")
async def test_an_address_that_does_not_answer_soon_holds_up_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.create_connection(full.getsockname()):
        async with listening() as far:
            names = Names([full.getsockname(), ("127.0.0.1", far.port)])
            async with WirePool(Dialer(resolve=names.resolve)) as wires, asyncio.timeout(5):
                assert (await wires.towards(NAMED)).is_open  # its connect_seconds are 10


async def test_a_name_is_looked_up_once_for_all_who_ask_at_once_and_for_a_while_after() -> None:
    async with listening() as far:
        names = Names([("127.0.0.1", far.port)])
        async with WirePool(Dialer(resolve=names.resolve)) as wires:
            await asyncio.gather(*(wires.towards(NAMED) for _ in range(5)))
            await wires.towards(NAMED)
        assert names.asked == ["api.test"]
        async with WirePool(Dialer(resolve=names.resolve, dns_seconds=0.0)) as wires:
            await wires.towards(NAMED)
            await wires.towards(NAMED)
    assert names.asked == ["api.test"] * 3


async def test_a_name_whose_addresses_fail_is_looked_up_anew() -> None:
    names = Names([("127.0.0.1", port_of(nowhere()))])
    async with listening() as far, WirePool(Dialer(resolve=names.resolve)) as wires:
        with pytest.raises(NotSent):
            await wires.towards(NAMED)
        names.addresses = [("127.0.0.1", far.port)]
        assert (await wires.towards(NAMED)).is_open
        names.addresses = []
    assert names.asked == ["api.test"] * 2


async def test_a_name_that_nobody_knows_was_not_sent_anything() -> None:
    async with WirePool(Dialer(resolve=Names([]).resolve)) as wires:
        with pytest.raises(NotSent) as caught:
            await wires.towards(NAMED)
    assert isinstance(caught.value.__cause__, socket.gaierror)


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with listening() as far, WirePool() as wires:
        await ask(wires, far)
