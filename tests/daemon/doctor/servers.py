"""What doctor's probes meet in these tests: servers on loopback with and without TLS, and proxies that spoil things."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import ClientSession, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from daemon.doctor.facts import Place, Role
from tests.pem import new_key, pem_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def ok(request: web.Request) -> web.Response:
    return web.Response(text="fine")


@contextlib.asynccontextmanager
async def serving(handler: Handler = ok, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port at which `handler` answers every request."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def saying(data: bytes) -> AsyncIterator[int]:
    """The port of something that takes a connection, says `data`, and then nothing for as long as it lives."""

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        open_.append(writer)

    open_: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in open_:
            writer.transport.abort()
        await server.wait_closed()


def tls_of(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


def alone(folder: Path, name: str = "localhost", issuer: str = "") -> tuple[Path, Path]:
    """Signed by itself, or by an `issuer` of whom nobody has a certificate."""
    key, now = new_key(), datetime.now(UTC)
    subject, by = (x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, each)]) for each in (name, issuer or name))
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=9))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(builder.sign(new_key() if issuer else key, hashes.SHA256()).public_bytes(Encoding.PEM))
    paths[1].write_bytes(pem_of(key))
    return paths


def place(scheme: str, port: int, *, host: str = "127.0.0.1", role: Role = Role.UPSTREAM) -> Place:
    return Place(role, f"{scheme}://{host}:{port}/v1", scheme, host, port)


@dataclass
class Front:
    """
    A reverse proxy before `upstream`. `buffers` waits for the end of an answer, as nginx does; `drops_query`, `adds` and
    `prefix` are three ways to spoil what passes; `answer` answers instead.
    """

    upstream: str = ""
    buffers: bool = False
    drops_query: bool = False
    adds: bytes = b""
    prefix: str = ""
    answer: Callable[[], web.Response] | None = None
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.answer is not None:
            return self.answer()
        path = self.prefix + (request.path if self.drops_query else str(request.rel_url))
        async with (
            ClientSession() as session,
            session.request(
                request.method, self.upstream + path, headers=_passed(request), allow_redirects=False
            ) as reply,
        ):
            if self.buffers:
                return web.Response(status=reply.status, body=await reply.read(), content_type=reply.content_type)
            response = web.StreamResponse(status=reply.status)
            response.content_type = reply.content_type
            if location := reply.headers.get("Location"):
                response.headers["Location"] = location
            await response.prepare(request)
            async for piece in reply.content.iter_any():
                await response.write(piece)
            if self.adds:
                await response.write(self.adds)
            await response.write_eof()
            return response


def _passed(request: web.Request) -> dict[str, str]:
    return {name: request.headers[name] for name in ("Authorization", "Accept") if name in request.headers}


@contextlib.asynccontextmanager
async def fronting(front: Front) -> AsyncIterator[Front]:
    async with serving(front.handle) as port:
        front.url = f"http://127.0.0.1:{port}"
        yield front
