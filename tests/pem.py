"""Certificates and keys as PEM files, signed by an authority that only one test knows."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAYS = (-1.0, 60.0)  # of a certificate's life, from now


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: Key, form: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes = b"") -> bytes:
    return key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(passphrase) if passphrase else NoEncryption())


class Authority:
    def __init__(self) -> None:
        self._key = new_key()
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority of a test")])
        self._own = self._signed(self._name, self._key, DAYS, x509.BasicConstraints(ca=True, path_length=0))

    @property
    def pem(self) -> bytes:
        return self._own.public_bytes(Encoding.PEM)

    def certificate(self, key: Key, *, name: str = "server.test", days: tuple[float, float] = DAYS) -> bytes:
        """For `name`, localhost and 127.0.0.1."""
        names = [x509.DNSName(name), x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        return self._signed(subject, key, days, x509.SubjectAlternativeName(names)).public_bytes(Encoding.PEM)

    def write(self, folder: Path, **of_certificate: object) -> tuple[Path, Path]:
        """Certificate and key, in files of always the same two names."""
        key = new_key()
        paths = folder / "fullchain.pem", folder / "privkey.pem"
        contents = self.certificate(key, **of_certificate), pem_of(key)  # type: ignore[arg-type]
        for path, content in zip(paths, contents, strict=True):
            replace(path, content)
        return paths

    def trust(self) -> ssl.SSLContext:
        """For callers who trust this authority alone."""
        context = ssl.create_default_context(cadata=self.pem.decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    def _signed(
        self, subject: x509.Name, key: Key, days: Iterable[float], extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        begin, end = (now + timedelta(days=day) for day in days)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(extension, critical=subject == self._name)
        )
        return builder.sign(self._key, hashes.SHA256())


def replace(path: Path, content: bytes) -> None:
    """As certbot does."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)
