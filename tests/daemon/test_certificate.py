"""The two files of TLS: what is wrong with them is said, a change is taken up, and a bad one changes nothing."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat
from structlog.testing import capture_logs

from daemon import config
from daemon.certificate import Certificate, kept_fresh, open_certificate, read_pair
from daemon.secret import Sources
from daemon.wrong_config import WrongConfig
from tests.pem import Authority, new_key, pem_of, replace

DAY = 86_400.0
CHAIN, KEY = "server.tls_certificate", "server.tls_key"
AUTHORITY = Authority()
OWN_KEY = new_key()
NO_CHAIN = f"{CHAIN}: expected PEM with a certificate and its chain, CHAIN is something else"
NO_KEY = f"{KEY}: expected PEM with the certificate's private key, KEY is something else"
ENCRYPTED = f"{KEY}: expected a key without a passphrase, KEY has one; openssl pkey -in OLD -out NEW takes it off"
GONE = "no such file or directory; is the name right? A relative one begins at the config's folder"

ROOT = Path(__file__).parents[2]
AS_NOBODY = """
import os, sys
from pathlib import Path
from daemon.certificate import WrongConfig, read_pair
os.setuid(65534)
try:
    read_pair(Path(sys.argv[1]), Path(sys.argv[2]), 0)
except WrongConfig as wrong:
    print(wrong)
"""
OWN = AUTHORITY.certificate(OWN_KEY)


def wrong(certificate: Path, key: Path) -> list[str]:
    with pytest.raises(WrongConfig) as caught:
        read_pair(certificate, key, time.time())
    return str(caught.value).splitlines()


def written(folder: Path, certificate: bytes = OWN, key: bytes = pem_of(OWN_KEY)) -> tuple[Path, Path]:
    paths = folder / "fullchain.pem", folder / "privkey.pem"
    for path, content in zip(paths, (certificate, key), strict=True):
        replace(path, content)
    return paths


@pytest.mark.parametrize(
    ("certificate", "key", "sentence"),
    [
        (b"", pem_of(OWN_KEY), NO_CHAIN),
        (b"\x30\x82", pem_of(OWN_KEY), NO_CHAIN),
        (pem_of(OWN_KEY), pem_of(OWN_KEY), NO_CHAIN),
        (OWN[:-60], pem_of(OWN_KEY), NO_CHAIN),
        (b"x" * (1 << 20) + b"x", pem_of(OWN_KEY), f"{CHAIN}: expected a PEM file, CHAIN has more than 1 MiB"),
        (OWN, b"", NO_KEY),
        (OWN, OWN, NO_KEY),
        (OWN, pem_of(OWN_KEY)[:-60], NO_KEY),
        (OWN, pem_of(OWN_KEY, passphrase=b"secret"), ENCRYPTED),
        (OWN, pem_of(OWN_KEY, PrivateFormat.TraditionalOpenSSL, passphrase=b"secret"), ENCRYPTED),
        (OWN, pem_of(new_key()), f"{KEY}: expected the key that belongs to CHAIN, KEY has another one"),
    ],
    ids=[
        *("empty", "DER", "a key for a certificate", "half a certificate", "too large"),
        *("no key", "a certificate for a key", "half a key", "encrypted", "encrypted in the old way", "another's key"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence_that_says_what_to_do(
    tmp_path: Path, certificate: bytes, key: bytes, sentence: str
) -> None:
    paths = written(tmp_path, certificate, key)
    assert wrong(*paths) == [sentence.replace("CHAIN", str(paths[0])).replace("KEY", str(paths[1]))]


def test_both_files_are_looked_through_before_anything_is_said(tmp_path: Path) -> None:
    assert wrong(tmp_path / "gone.pem", tmp_path) == [
        f"{CHAIN}: expected a readable file, {tmp_path}/gone.pem: {GONE}",
        f"{KEY}: expected a file, {tmp_path} is none",
    ]


@pytest.mark.parametrize(
    ("days", "sentence"),
    [
        ((-91.0, -1.0), "expected one that is valid, CHAIN expired at 20"),
        ((1.0, 91.0), "expected one that is valid, CHAIN begins at 20"),
    ],
)
def test_a_certificate_out_of_its_time_is_refused(tmp_path: Path, days: tuple[float, float], sentence: str) -> None:
    certificate, key = AUTHORITY.write(tmp_path, days=days)
    [line] = wrong(certificate, key)
    assert line.startswith(f"{CHAIN}: {sentence.replace('CHAIN', str(certificate))}")


def test_what_only_openssl_refuses_is_told_by_its_reason(tmp_path: Path) -> None:
    short = rsa.generate_private_key(65537, 1024)
    [line] = wrong(*written(tmp_path, AUTHORITY.certificate(short), pem_of(short)))
    assert line.startswith(f"{CHAIN}: expected a pair that OpenSSL takes, ")
    assert line.endswith(": EE_KEY_TOO_SMALL")


def test_nothing_out_of_a_keys_file_is_ever_said(tmp_path: Path) -> None:
    broken = pem_of(OWN_KEY).replace(b"-----END", b"-----BREAK")
    lines = " ".join(
        wrong(*written(tmp_path, OWN, broken)) + wrong(*written(tmp_path, pem_of(OWN_KEY), pem_of(new_key())))
    )
    assert not any(piece in lines for piece in pem_of(OWN_KEY).decode().split())


@pytest.mark.parametrize(
    ("certificate", "key"),
    [
        (OWN, pem_of(OWN_KEY, PrivateFormat.TraditionalOpenSSL)),
        (b"Subject: CN = server.test\n" + OWN + AUTHORITY.certificate(new_key()), pem_of(OWN_KEY)),
        (OWN, b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + pem_of(OWN_KEY)),
        (pem_of(OWN_KEY) + OWN, OWN + pem_of(OWN_KEY)),
    ],
    ids=["traditional", "chain and words", "parameters", "one file for both"],
)
def test_every_usual_shape_of_the_two_is_taken(tmp_path: Path, certificate: bytes, key: bytes) -> None:
    assert isinstance(read_pair(*written(tmp_path, certificate, key), time.time()).context, ssl.SSLContext)


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ('tls_certificate = "a.pem"', [f"{KEY}: expected a value beside tls_certificate, got none"]),
        ('tls_key = "a.pem"', [f"{CHAIN}: expected a value beside tls_key, got none"]),
        ('tls_key = 3\ntls_certificate = "a.pem"', [f'{KEY}: expected the name of a file, or "", got 3']),
    ],
)
def test_one_file_needs_the_other(given: str, lines: list[str]) -> None:
    with pytest.raises(WrongConfig) as caught:
        config.parse_text(f"[server]\n{given}", Sources())
    assert str(caught.value).splitlines() == lines


def test_a_name_begins_at_the_configs_folder(tmp_path: Path) -> None:
    given = '[server]\ntls_certificate = "a.pem"\ntls_key = "/etc/b.pem"'
    server = config.parse_text(given, Sources(folder=tmp_path)).server
    assert (server.tls_certificate, server.tls_key) == (tmp_path / "a.pem", Path("/etc/b.pem"))


def test_without_files_there_is_no_tls() -> None:
    assert open_certificate(None, None) is None


async def refreshed(certificate: Certificate, times: int = 1) -> list[str]:
    """What the log says of so many looks."""
    with capture_logs() as logs:
        for _ in range(times):
            await certificate.refresh()
    return [log["event"] for log in logs]


async def test_a_new_pair_is_taken_up_and_the_same_is_not_read_again(tmp_path: Path) -> None:
    certificate = Certificate(*AUTHORITY.write(tmp_path))
    first = certificate.context()
    assert await refreshed(certificate) == []
    assert certificate.context() is first

    AUTHORITY.write(tmp_path)
    assert await refreshed(certificate, times=2) == ["certificate.loaded"]
    assert certificate.context() is not first


async def test_files_that_are_replaced_one_after_the_other_are_no_news_until_both_are_there(tmp_path: Path) -> None:
    paths = AUTHORITY.write(tmp_path)
    certificate, key = Certificate(*paths), new_key()
    first = certificate.context()

    replace(paths[0], AUTHORITY.certificate(key))
    assert await refreshed(certificate) == []
    assert certificate.context() is first

    replace(paths[1], pem_of(key))
    assert await refreshed(certificate) == ["certificate.loaded"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: replace(path, b""),
        lambda path: replace(path, pem_of(new_key())),
        lambda path: replace(path, pem_of(OWN_KEY, passphrase=b"secret")),
    ],
    ids=["gone", "empty", "another", "encrypted"],
)
async def test_a_bad_change_is_told_at_the_second_look_and_once(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    certificate = Certificate(*AUTHORITY.write(tmp_path))
    first = certificate.context()
    spoil(tmp_path / "privkey.pem")

    assert await refreshed(certificate) == []
    with capture_logs() as logs:
        await certificate.refresh()
    assert [(log["event"], log["log_level"]) for log in logs] == [("certificate.refused", "error")]
    assert logs[0]["why"].startswith(f"{KEY}: expected ")
    assert await refreshed(certificate, times=3) == []
    assert certificate.context() is first

    AUTHORITY.write(tmp_path)
    assert await refreshed(certificate) == ["certificate.loaded"]


async def test_what_was_bad_for_a_moment_twice_is_not_told(tmp_path: Path) -> None:
    """The folder is away, so that the files are the same as before when it is back."""
    folder = tmp_path / "live"
    folder.mkdir()
    certificate = Certificate(*AUTHORITY.write(folder))
    for _ in range(2):
        folder.rename(tmp_path / "aside")
        assert await refreshed(certificate) == []
        (tmp_path / "aside").rename(folder)
        assert await refreshed(certificate) == []


async def test_an_expired_certificate_does_not_take_the_place_of_one_that_serves(tmp_path: Path) -> None:
    certificate = Certificate(*AUTHORITY.write(tmp_path))
    first = certificate.context()
    AUTHORITY.write(tmp_path, days=(-91.0, -1.0))
    assert await refreshed(certificate, times=2) == ["certificate.refused"]
    assert certificate.context() is first


async def test_an_expired_certificate_does_not_keep_the_daemon_from_starting_and_is_told(tmp_path: Path) -> None:
    certificate = Certificate(*AUTHORITY.write(tmp_path, days=(-91.0, -1.0)))
    assert await refreshed(certificate) == ["certificate.expired"]


@pytest.mark.parametrize(
    ("life", "left", "event"),
    [
        (90.0, 15.5, None),
        (90.0, 13.5, ("certificate.expiring", "warning", 13)),
        (90.0, 0.5, ("certificate.expiring", "warning", 0)),
        (90.0, -2.5, ("certificate.expired", "error", 2)),
        (6.0, 3.5, None),
        (6.0, 1.5, ("certificate.expiring", "warning", 1)),
    ],
)
async def test_an_end_that_is_near_is_told_once_a_day(
    tmp_path: Path, life: float, left: float, event: tuple[str, str, int] | None
) -> None:
    now = time.time()
    certificate = Certificate(*AUTHORITY.write(tmp_path, days=(-0.1, life - 0.1)), clock=lambda: now)
    now += (life - 0.1 - left) * DAY
    with capture_logs() as logs:
        for hours in (0, 23, 1.5):
            now += hours * 3600
            await certificate.refresh()
    told = [(log["event"], log["log_level"], log["days"]) for log in logs]
    assert told[:1] == ([event] if event else [])
    assert len(told) == (2 if event else 0)


async def test_a_new_certificate_that_is_near_its_end_is_told_at_once(tmp_path: Path) -> None:
    certificate = Certificate(*AUTHORITY.write(tmp_path, days=(-80.0, 10.0)))
    assert await refreshed(certificate) == ["certificate.expiring"]
    AUTHORITY.write(tmp_path, days=(-80.0, 10.0))
    assert await refreshed(certificate) == ["certificate.loaded", "certificate.expiring"]


async def test_the_files_are_looked_at_when_told_to(tmp_path: Path) -> None:
    certificate = Certificate(*AUTHORITY.write(tmp_path))
    first = certificate.context()
    async with kept_fresh(certificate) as look, asyncio.timeout(10):
        AUTHORITY.write(tmp_path)
        look()
        while certificate.context() is first:
            await asyncio.sleep(0.005)


async def test_without_a_certificate_there_is_nothing_to_look_at() -> None:
    async with kept_fresh(None) as look:
        look()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become nobody")
def test_a_file_that_the_daemons_user_may_not_read_says_so(tmp_path: Path) -> None:
    certificate, key = AUTHORITY.write(tmp_path)
    tmp_path.chmod(0o755)
    key.chmod(0)
    command = (sys.executable, "-c", AS_NOBODY, str(certificate), str(key))
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{CHAIN}: ")  # pytest's own folders are closed to others
    assert f"{KEY}: expected a readable file, {key}: permission denied; let the daemon's user read it, and" in said
