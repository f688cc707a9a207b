"""
Who may see the operator's page: sealed sessions, form tokens, one-time tickets, and how often one may guess. Pure.

Rule 1: a session is its own proof (issued at, nonce, seal), so a restart signs nobody out; only those that were signed out are
        remembered, for as long as a copy of them would be good.
Rule 2: every seal names its purpose and is made with a key that the password is part of: a new password ends all sessions.
Rule 3: secrets are compared in constant time, and as digests, so that not even a length can be measured.
Rule 4: what a stranger can make us remember is bounded.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address

SESSION_SECONDS = 30 * 86_400
TICKET_SECONDS = 600
TICKETS_KEPT = 16
CLOCK_STEP = 60  # seconds; a clock set back by NTP must not sign the operator out
GUESSES = 5
GUESSES_OF_A_SITE = (
    20  # of an IPv6 /48, which is what a provider gives to whoever asks: it holds 65,536 networks of one home
)
GUESS_SECONDS = 60
ADDRESSES_KEPT = 4_096
SIGNED_OUT_KEPT = 1_000


class Seal:
    """Makes and checks everything the browser carries for us. `secret` is the daemon's own, random and lasting."""

    def __init__(self, secret: bytes, password: str) -> None:
        self._password = _digest(password)
        self._key = hmac.digest(secret, b"posthouse operator " + self._password, "sha256")

    def __repr__(self) -> str:
        return "<Seal>"

    def is_password(self, given: str) -> bool:
        return hmac.compare_digest(_digest(given), self._password)

    def session(self, nonce: str, now: float) -> str:
        """A cookie's value, good for SESSION_SECONDS. `nonce` is random and has no dot."""
        stem = f"{int(now)}.{nonce}"
        return f"{stem}.{self._mac('session', stem)}"

    def is_session(self, cookie: str, now: float) -> bool:
        stem, _, mac = cookie.rpartition(".")
        issued_at = stem.partition(".")[0]
        if not _is_same(mac, self._mac("session", stem)) or not issued_at.isdecimal():
            return False
        return int(issued_at) - CLOCK_STEP <= now < int(issued_at) + SESSION_SECONDS

    def form_token(self, cookie: str) -> str:
        """What a form must carry beside `cookie`: another site can send the cookie, but cannot read this."""
        return self._mac("form", cookie)

    def is_form_token(self, token: str, cookie: str) -> bool:
        return bool(cookie) and _is_same(token, self.form_token(cookie))

    def _mac(self, purpose: str, text: str) -> str:
        # A cookie that is no text must be a wrong one, and no error.
        return hmac.new(self._key, f"{purpose}\0{text}".encode("utf-8", "surrogatepass"), "sha256").hexdigest()


class SignedOut:
    """The sessions that ended before their time, the SIGNED_OUT_KEPT that ended last, by nonce."""

    def __init__(self) -> None:
        self._issued_at: dict[str, int] = {}

    def __contains__(self, session: str) -> bool:
        return _parts(session)[1] in self._issued_at

    def note(self, session: str, now: float) -> None:
        """`session` is known to be one of ours."""
        issued_at, nonce = _parts(session)
        known = {**self._issued_at, nonce: int(issued_at)}
        good = {nonce: at for nonce, at in known.items() if now < at + SESSION_SECONDS}
        self._issued_at = dict(list(good.items())[-SIGNED_OUT_KEPT:])

    def rows(self) -> Mapping[str, int]:
        """When each was issued, by its nonce: to be kept over a restart."""
        return self._issued_at

    def restore(self, rows: Mapping[str, int]) -> None:
        self._issued_at = {**rows, **self._issued_at}


class Guesses:
    """Wrong passwords by address: GUESSES in GUESS_SECONDS, then none until the first of them is that old."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> int:
        """0 where one more guess is free."""
        return max(self._wait(network, most, now) for network, most in _networks(address))

    def was_wrong(self, address: str, now: float) -> None:
        for network, _ in _networks(address):
            self._wrong[network] = [*self._recent(network, now), now]
            self._wrong.move_to_end(network)
        while len(self._wrong) > ADDRESSES_KEPT:
            self._wrong.popitem(last=False)

    def _wait(self, network: str, most: int, now: float) -> int:
        recent = self._recent(network, now)
        return max(1, round(recent[-most] + GUESS_SECONDS - now)) if len(recent) >= most else 0

    def _recent(self, network: str, now: float) -> list[float]:
        # abs(): after the clock was set back, guesses "from the future" must not lock anybody out for years.
        return [at for at in self._wrong.get(network, ()) if abs(now - at) < GUESS_SECONDS]


class Tickets:
    """Links that sign in once, without the password, for TICKET_SECONDS; the newest TICKETS_KEPT of them."""

    def __init__(self) -> None:
        self._issued: OrderedDict[bytes, float] = OrderedDict()

    def issue(self, ticket: str, now: float) -> None:
        self._issued[_digest(ticket)] = now
        while len(self._issued) > TICKETS_KEPT:
            self._issued.popitem(last=False)

    def redeem(self, ticket: str, now: float) -> bool:
        issued_at = self._issued.pop(_digest(ticket), None)
        return issued_at is not None and abs(now - issued_at) < TICKET_SECONDS


def _parts(session: str) -> tuple[str, str]:
    """Issued at, and the nonce."""
    issued_at, _, rest = session.partition(".")
    return issued_at, rest.partition(".")[0]


def _networks(address: str) -> Iterator[tuple[str, int]]:
    """What a guess of this address counts for, and how many guesses that has. An IPv6 guesser owns a /64 at least."""
    try:
        parsed = ip_address(address)
    except ValueError:
        parsed = None
    if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped:
        yield f"{int(parsed) >> 64:x}::/64", GUESSES
        yield f"{int(parsed) >> 80:x}::/48", GUESSES_OF_A_SITE
    else:
        yield address, GUESSES


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
