"""
The server's certificate and its key: two PEM files that are read at the start, and again when they have changed.

Rule 1: what is wrong is said with the setting's name and what to do, and never with anything out of the key's file.
Rule 2: a pair is taken whole, as a new context in the place of the old one; what was begun with the old one goes on.
Rule 3: a change that is bad changes nothing. It is told once, and only when the next look finds the same: two files are never
        replaced at one moment.
Rule 4: the files are looked at and read in a thread.
Rule 5: what reads certificates is imported by who has one: it is 8 MB.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
import stat
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from daemon.jobs import Flush, Job
from daemon.jobs import running as jobs_running
from daemon.wrong_config import Problem, WrongConfig
from proxy.value import value_type

if TYPE_CHECKING:
    from cryptography import x509

log = structlog.get_logger()

LOOK_SECONDS = 60.0  # between two looks at the files
DAY = 86_400.0
WARNED_BEFORE = 14 * DAY  # or a third of the certificate's life, where that is less: some live for six days
MOST_BYTES = 1024 * 1024
CERTIFICATE, KEY = "server.tls_certificate", "server.tls_key"

ADVICE = {
    errno.ENOENT: "is the name right? A relative one begins at the config's folder",
    errno.EACCES: "let the daemon's user read it, and its folders",
}

# What tells one content of a file from the next: inode, size, and the nanoseconds of both changes. None: there is no file.
Stamp = tuple[int, int, int, int] | None


@value_type
class Pair:
    context: ssl.SSLContext = field(repr=False)
    begins_at: float
    ends_at: float


def read_pair(certificate: Path, key: Path, now: float | None) -> Pair:
    """Raises WrongConfig with everything that is wrong with the two files; with `now`, epoch seconds, also a lapse of time."""
    problems: list[Problem] = []
    leaf = public = None
    try:
        leaf, of_certificate = _leaf(_content(CERTIFICATE, certificate), certificate, now)
    except WrongConfig as wrong:
        problems += wrong.problems
    try:
        public = _public(_content(KEY, key), key)
    except WrongConfig as wrong:
        problems += wrong.problems
    if leaf is None or public is None:
        raise WrongConfig(problems)
    if of_certificate != public:
        raise _wrong(KEY, f"expected the key that belongs to {certificate}, {key} has another one")
    return Pair(_context(certificate, key), *_life(leaf))


class Certificate:
    """`clock` gives epoch seconds."""

    def __init__(self, certificate: Path, key: Path, clock: Callable[[], float] = time.time) -> None:
        """Raises WrongConfig."""
        self._files = certificate, key
        self._clock = clock
        self._seen = self._stamps()  # older than what is read, so a change in between is seen the next time
        self._pair = read_pair(certificate, key, None)  # a lapsed one keeps neither port 80 nor the bot from starting
        self._doubted = ""  # what the last look found wrong
        self._told = ""
        self._quiet_until = 0.0

    def context(self) -> ssl.SSLContext:
        """For a handshake that begins now."""
        return self._pair.context

    def days_left(self) -> int:
        """Whole ones; below zero after the end."""
        return int((self._pair.ends_at - self._clock()) / DAY)

    async def refresh(self) -> None:
        """To be run every now and then."""
        stamps = await asyncio.to_thread(self._stamps)
        if stamps == self._seen:
            self._doubted = ""
        else:
            await self._reread(stamps)
        self._warn()

    async def _reread(self, stamps: tuple[Stamp, ...]) -> None:
        try:
            pair = await asyncio.to_thread(read_pair, *self._files, self._clock())
        except WrongConfig as wrong:
            why = "; ".join(map(str, wrong.problems))
            if why == self._doubted and why != self._told:
                self._told = why
                log.error("certificate.refused", why=why, advice="the one from before is still served")
            self._doubted = why
            return
        self._pair, self._seen, self._doubted, self._told, self._quiet_until = pair, stamps, "", "", 0.0
        log.info("certificate.loaded", days=self.days_left())

    def _warn(self) -> None:
        now, pair = self._clock(), self._pair
        if pair.ends_at - now >= min(WARNED_BEFORE, (pair.ends_at - pair.begins_at) / 3) or now < self._quiet_until:
            return
        self._quiet_until = now + DAY
        days = self.days_left()
        if now < pair.ends_at:
            log.warning("certificate.expiring", days=days, advice="renew it; a new one is taken up by itself")
        else:
            log.error("certificate.expired", days=-days, advice="renew it; callers and WeChat refuse it")

    def _stamps(self) -> tuple[Stamp, ...]:
        return tuple(map(_stamp, self._files))


def open_certificate(certificate: Path | None, key: Path | None) -> Certificate | None:
    """None where there is to be no TLS. Raises WrongConfig."""
    return Certificate(certificate, key) if certificate and key else None


@contextlib.asynccontextmanager
async def kept_fresh(certificate: Certificate | None) -> AsyncIterator[Callable[[], None]]:
    """Has the files looked at inside the block; to call the value has them looked at now."""
    if certificate is None:
        yield lambda: None
        return
    log.info("certificate.loaded", days=certificate.days_left())
    look = Flush("certificate", certificate.refresh)

    async def wake() -> None:
        look.wake()

    async with jobs_running(look, Job("certificate", wake, LOOK_SECONDS)):
        yield look.wake


def _wrong(setting: str, sentence: str) -> WrongConfig:
    return WrongConfig([Problem(setting, sentence)])


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _content(setting: str, path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for whoever writes into it
            raise _wrong(setting, f"expected a file, {path} is none")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        advice = ADVICE.get(error.errno or 0)
        raise _wrong(setting, f"expected a readable file, {path}: {reason}{f'; {advice}' if advice else ''}") from None
    if len(data) > MOST_BYTES:
        raise _wrong(setting, f"expected a PEM file, {path} has more than {MOST_BYTES >> 20} MiB")
    return data


def _leaf(data: bytes, path: Path, now: float | None) -> tuple[x509.Certificate, bytes]:
    """The server's own certificate, which comes first in its chain, and the public key in it."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        leaf = x509.load_pem_x509_certificates(data)[0]
        public = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong(CERTIFICATE, f"expected PEM with a certificate and its chain, {path} is something else") from None
    begins_at, ends_at = _life(leaf)
    if now is not None and now >= ends_at:
        raise _wrong(CERTIFICATE, f"expected one that is valid, {path} expired at {_moment(ends_at)}; renew it")
    if now is not None and now < begins_at:
        raise _wrong(
            CERTIFICATE,
            f"expected one that is valid, {path} begins at {_moment(begins_at)}; is the clock of this machine right?",
        )
    return leaf, public


def _public(data: bytes, path: Path) -> bytes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    try:
        public = load_pem_private_key(data, None).public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except TypeError:  # cryptography's word for a passphrase that is missing
        advice = "openssl pkey -in OLD -out NEW takes it off"
        raise _wrong(KEY, f"expected a key without a passphrase, {path} has one; {advice}") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _wrong(KEY, f"expected PEM with the certificate's private key, {path} is something else") from None


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # which costs the caller little and us much
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password="")  # without one OpenSSL would ask the terminal
    except OSError as error:  # the files may have changed since they were looked through
        reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise _wrong(CERTIFICATE, f"expected a pair that OpenSSL takes, {certificate} and {key}: {reason}") from None
    return context


def _life(leaf: x509.Certificate) -> tuple[float, float]:
    return leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp()


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
