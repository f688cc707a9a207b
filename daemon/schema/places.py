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

from yarl import URL

from daemon.schema.kinds import Placed, Read, Unexpected
from daemon.schema.secrets import SecretKind
from daemon.secret import Secret, Sources

PORT = "a port from 0 to 65535"


def _listen(given: str) -> str:
    if given.startswith("unix:/") and "\0" not in given:
        return given
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|[A-Za-z0-9.-]+):([0-9]+)", given, re.ASCII)
    if match is None:
        raise ValueError("not an address")
    if int(match[2]) > 65535:
        raise Unexpected(PORT)
    if match[1]:
        ipaddress.IPv6Address(match[1])
    return given


def _network(given: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
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

    def require(self, given: object, sources: Sources) -> Secret:
        secret = super().require(given, sources)
        url = URL(secret.reveal(), encoded=True)  # raises for an unclosed bracket, a port that is none
        if not url.host or (url.scheme != "https" and not _is_loopback(url.host)):
            raise ValueError("no place that a secret may go to")
        return secret


def _source_address(given: str) -> str:
    if not given:
        return given
    address = ipaddress.ip_address(given)
    if address.is_unspecified or address.is_multicast or "%" in given:
        raise ValueError("not an address of one machine")
    return str(address)


Listen = Annotated[str, Read('"host:port", "[::]:80" or "unix:/path"', _listen)]
Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, Read('a network such as "10.0.0.0/8"', _network)]
PublicUrl = Annotated[str, Read('a URL such as "https://bot.example.org"', _url)]
SourceAddress = Annotated[str, Read('an IP address of this server, or ""', _source_address)]
BaseUrl = Annotated[str, Read("an https:// URL (http:// to this machine only), without a query", _base_url)]

Webhook = Annotated[
    Secret | None,
    WebhookKind("an https:// URL (http:// to this machine only)", r"https?://[!-~]+", is_optional=True),
]


# The machine.
def _zone(given: str) -> ZoneInfo:
    try:
        return ZoneInfo(given)
    except (OSError, KeyError) as error:  # KeyError: unknown; OSError: a folder, such as "Asia"
        raise ValueError(given) from error


def _database(given: str, sources: Sources) -> Path:
    if not re.fullmatch(r"sqlite:[^\0?#]+", given):
        raise ValueError("not sqlite")
    state = sources.environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd names several with colons
    return (Path(state) if state else sources.folder) / given.removeprefix("sqlite:")


def _file(given: str, sources: Sources) -> Path | None:
    if "\0" in given:
        raise ValueError("not a file name")
    return sources.folder / given if given else None


OptionalFile = Annotated[Path | None, Placed('the name of a file, or ""', _file)]
Zone = Annotated[ZoneInfo, Read('a time zone such as "Asia/Shanghai"', _zone)]
Database = Annotated[Path, Placed('"sqlite:" and a file name; no other database is available yet', _database)]


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
    Read(
        'a path such as "/wechat" that does not begin with one of ours: /' + ", /".join(sorted(RESERVED)),
        _own_path,
    ),
]
