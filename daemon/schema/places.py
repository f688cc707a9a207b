"""
The kinds of value that name a place: on the network, in a URL, on the machine.

Rule 1: what is parsed here is handed on parsed (`IPv4Network`, `ZoneInfo`, `Path`), so that nobody parses it twice.
Rule 2: no secret crosses the network in the clear: a base URL and the webhook are https, or plain http to this machine.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, PlainValidator, ValidationInfo
from yarl import URL

from daemon.schema.secrets import SecretKind, sources_of, wrong
from daemon.schema.values import Expected, expected
from daemon.secret import Secret

PORT = "a port from 0 to 65535"


def _listen(given: str) -> str:
    if given.startswith("unix:/"):
        return given
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|[A-Za-z0-9.-]+):([0-9]+)", given, re.ASCII)
    if match is None:
        raise ValueError("not an address")
    if int(match[2]) > 65535:
        raise expected(PORT)
    if match[1]:
        ipaddress.IPv6Address(match[1])
    return given


def _network(given: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if not isinstance(given, str):
        raise ValueError("not a string")  # ip_network(1) would be 0.0.0.1
    return ipaddress.ip_network(given, strict=False)


def _url(given: str) -> str:
    if not given:
        return given
    parts = urlsplit(given)
    _ = parts.port  # raises where it is not a number
    if parts.scheme not in ("http", "https") or not parts.hostname or not re.fullmatch(r"[!-~]+", given):
        raise ValueError("not a URL")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("more than a base")
    return given.rstrip("/")


def _base_url(given: str) -> str:
    url = _url(given)
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise ValueError("the key would cross the network in the clear")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class WebhookKind(SecretKind):
    """A URL that is a secret as a whole: whoever knows it can post to it."""

    def require(self, given: object, info: ValidationInfo) -> Secret:
        secret = super().require(given, info)
        try:
            url = URL(secret.reveal(), encoded=True)
            host = url.host
        except ValueError:  # an unclosed bracket, a port that is none
            raise wrong(self.words) from None
        if not host or (url.scheme != "https" and not _is_loopback(host)):
            raise wrong(self.words)
        return secret


def _source_address(given: str) -> str:
    if not given:
        return given
    address = ipaddress.ip_address(given)
    if address.is_unspecified or address.is_multicast or "%" in given:
        raise ValueError("not an address of one machine")
    return str(address)


Listen = Annotated[str, AfterValidator(_listen), Expected('"host:port", "[::]:80" or "unix:/path"')]
Network = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    PlainValidator(_network),
    Expected('a network such as "10.0.0.0/8"'),
]
PublicUrl = Annotated[str, AfterValidator(_url), Expected('a URL such as "https://bot.example.org"')]
SourceAddress = Annotated[str, AfterValidator(_source_address), Expected('an IP address of this server, or ""')]
BaseUrl = Annotated[
    str, AfterValidator(_base_url), Expected("an https:// URL (http:// to this machine only), without a query")
]

Webhook = Annotated[
    Secret | None,
    WebhookKind("an https:// URL (http:// to this machine only)", r"https?://[!-~]+", is_optional=True),
]


# The machine.
def _zone(given: object) -> ZoneInfo:
    if not isinstance(given, str):
        raise ValueError("not a string")
    try:
        return ZoneInfo(given)
    except (OSError, KeyError) as error:  # KeyError: unknown; OSError: a folder, such as "Asia"
        raise ValueError(given) from error


def _database(given: object, info: ValidationInfo) -> Path:
    if not isinstance(given, str) or not re.fullmatch(r"sqlite:[^\0?#]+", given):
        raise ValueError("not sqlite")
    sources = sources_of(info)
    state = sources.environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd names several with colons
    return (Path(state) if state else sources.folder) / given.removeprefix("sqlite:")


def _file(given: object, info: ValidationInfo) -> Path | None:
    if not isinstance(given, str) or "\0" in given:
        raise ValueError("not a file name")
    return sources_of(info).folder / given if given else None


OptionalFile = Annotated[Path | None, PlainValidator(_file), Expected('the name of a file, or ""')]
Zone = Annotated[ZoneInfo, PlainValidator(_zone), Expected('a time zone such as "Asia/Shanghai"')]
Database = Annotated[
    Path, PlainValidator(_database), Expected('"sqlite:" and a file name; no other database is available yet')
]


# Paths of our own URLs.
def _own_path(path: str) -> str:
    segments = path.removeprefix("/").split("/")
    well_formed = path.startswith("/") and all(re.fullmatch(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*", s) for s in segments)
    if not well_formed or segments[0] in RESERVED:
        raise ValueError(path)
    return path


RESERVED = frozenset(
    {"v1", "message", "status", "status.json", "healthz", "readyz", "metrics", "media", "demo", "static"}
)
AccountPath = Annotated[
    str,
    AfterValidator(_own_path),
    Expected('a path such as "/wechat" that does not begin with one of ours: /' + ", /".join(sorted(RESERVED))),
]
