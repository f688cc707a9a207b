"""
Who may see the operator's page: sealed sessions, form tokens, one-time tickets, and how often one may guess. Pure.

Rule 1: a session is its own proof (issued at, nonce, seal); nothing is stored, so a restart signs nobody out.
Rule 2: every seal names its purpose and is made with a key that the password is part of: a new password ends all sessions.
Rule 3: secrets are compared in constant time, and as digests, so that not even a length can be measured.
Rule 4: what a stranger can make us remember is bounded.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

SESSION_SECONDS = 30 * 86_400
TICKET_SECONDS = 600
TICKETS_KEPT = 16
CLOCK_STEP = 60  # seconds; a clock set back by NTP must not sign the operator out
GUESSES = 5
GUESS_SECONDS = 60
ADDRESSES_KEPT = 4_096


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


class Guesses:
    """Wrong passwords by address: GUESSES in GUESS_SECONDS, then none until the first of them is that old."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def wait_seconds(self, address: str, now: float) -> int:
        """0 where one more guess is free."""
        recent = self._recent(address, now)
        return max(1, round(recent[0] + GUESS_SECONDS - now)) if len(recent) >= GUESSES else 0

    def was_wrong(self, address: str, now: float) -> None:
        self._wrong[_network(address)] = [*self._recent(address, now), now]
        self._wrong.move_to_end(_network(address))
        while len(self._wrong) > ADDRESSES_KEPT:
            self._wrong.popitem(last=False)

    def _recent(self, address: str, now: float) -> list[float]:
        # abs(): after the clock was set back, guesses "from the future" must not lock anybody out for years.
        return [at for at in self._wrong.get(_network(address), ()) if abs(now - at) < GUESS_SECONDS]


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


def _network(address: str) -> str:
    """An IPv6 guesser owns a /64 at least, so that counts as one address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(int(parsed) >> 64) if isinstance(parsed, IPv6Address) and not parsed.ipv4_mapped else address


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
