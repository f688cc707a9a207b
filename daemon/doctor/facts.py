"""
What the probes of `doctor` saw, as values. Pure.

Rule: a fact holds no secret and nobody's words but a host's name, a header's value cut short, and WeChat's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bot.wechat.api_errors import ApiError
from bot.wechat.view import Attempt
from daemon.verification import Misdirected
from proxy.verdict import Verdict as KeyVerdict


class Step(StrEnum):
    """How far one got on the way to an answer."""

    NAME = "name"
    CONNECT = "connect"
    TLS = "tls"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Failure:
    """`reason` is a few words of ours, and completes "…: no answer in 5 s"."""

    step: Step
    reason: str


class Role(StrEnum):
    UPSTREAM = "upstream"
    WECHAT = "wechat"  # where accounts' calls go
    SPARE = "spare"  # where they go when that one does not answer
    PUBLIC = "public"  # this daemon, as the world sees it


Spot = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere on the network. `base` is its URL, `source_address` the address to go out from, "" for any."""

    role: Role
    base: str
    scheme: str
    host: str
    port: int
    source_address: str = ""

    @property
    def spot(self) -> Spot:
        """What makes it another place than the next one."""
        return self.scheme, self.host, self.port, self.source_address


@dataclass(frozen=True, slots=True)
class Exit:
    """How an upstream behind Cloudflare sees us; each is "" where it does not say."""

    address: str = ""
    country: str = ""  # two letters
    site: str = ""  # the airport nearest to Cloudflare's machine that answered


@dataclass(frozen=True, slots=True)
class Life:
    """Of a certificate, epoch seconds."""

    begins_at: float
    ends_at: float


@dataclass(frozen=True, slots=True)
class Way:
    """The way to a place, as far as it went."""

    place: Place
    failure: Failure | None = None
    addresses: tuple[str, ...] = ()
    lookup_seconds: float = 0.0
    certificate: Life | None = None  # None without TLS
    ahead_seconds: float | None = None  # our clock before its clock; None where it did not tell the time
    within_seconds: float = 0.0  # how far off that may be
    exit: Exit = Exit()


@dataclass(frozen=True, slots=True)
class KeyFact:
    """`models` is None where the upstream gave no list. `bot_models` are patterns, none for a key that is not for the bot."""

    name: str
    last4: str
    upstream: str
    host: str
    is_azure: bool
    bot_models: tuple[str, ...]
    failure: Failure | None = None  # before it could be asked
    verdict: KeyVerdict | None = None
    models: frozenset[str] | None = None


class Echo(StrEnum):
    EXACT = "exact"
    WRAPPED = "wrapped"  # among other words
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Called:
    """What a signed verification of ours was answered. `server` and `location` are headers."""

    failure: Failure | None = None
    status: int = 0
    echo: Echo = Echo.NONE
    location: str = ""
    server: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Console:
    """What the running daemon remembers of WeChat's console and pushes, since its start."""

    attempts: tuple[Attempt, ...] = ()
    deliveries: int = 0


@dataclass(frozen=True, slots=True)
class AccountFact:
    """`public` and `local` are None where nothing could be called, `console` where the daemon was not asked or did not say."""

    id: str
    path: str
    has_api: bool
    api_failure: ApiError | Failure | None = None
    callback_addresses: int | None = None
    public: Called | None = None
    local: Called | None = None
    console: Console | None = None


class Door(StrEnum):
    """What answers `GET /healthz` at an address of this machine."""

    OURS = "ours"
    ANOTHER = "another"  # speaks HTTP, and says something else
    CLOSED = "closed"
    SILENT = "silent"  # takes the connection, and does not answer as HTTP does
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class DoorFact:
    """`is_configured`: it is one of `server.listen`; else the port where the world comes in. `server` is the header."""

    address: str
    is_configured: bool
    door: Door
    server: str = ""
    status: int = 0


@dataclass(frozen=True, slots=True)
class DatabaseFact:
    """`trouble` is a sentence, "" where there is none. `users` are the processes that have it open; None where unknown."""

    path: Path
    exists: bool
    is_whole: bool = False
    trouble: str = ""
    size_bytes: int = 0
    free_bytes: int | None = None  # None where its folder does not exist
    folder_is_writable: bool = True
    users: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class First:
    """The page's events: how it was answered, and after how many seconds the first came; None where none did in time."""

    failure: Failure | None = None
    status: int = 0
    is_stream: bool = False
    seconds: float | None = None


class Untried(StrEnum):
    NO_PASSWORD = "no_password"  # noqa: S105 (is none)
    OTHER_PASSWORD = "other_password"  # noqa: S105 (is none)
    NO_URL = "no_url"
    UNREACHED = "unreached"
    PLAIN = "plain"  # http to another machine, where anybody on the way could read the password


@dataclass(frozen=True, slots=True)
class StreamFact:
    """`public` is None where `untried` says why not."""

    untried: Untried | None = None
    public: First | None = None
    local: First | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that was looked at; what was not is empty or None. `misdirected` is the running daemon's record."""

    ways: Sequence[Way] = ()
    keys: Sequence[KeyFact] = ()
    sources: Mapping[str, str] = field(default_factory=dict)  # why a source address cannot be used, "" where it can
    accounts: Sequence[AccountFact] = ()
    misdirected: Sequence[Misdirected] = ()
    doors: Sequence[DoorFact] = ()
    database: DatabaseFact | None = None
    stream: StreamFact | None = None
    own_certificate: Life | None = None  # of server.tls_certificate
