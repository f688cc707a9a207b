"""How long doctor waits for what, in seconds. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """Nothing waits longer than ten; the longest row of them (a way to an upstream, then a key's answer) stays below thirty."""

    step: float = 5.0  # each of a name, a connection with TLS, and a greeting
    key: float = 10.0
    api: float = 10.0  # for a token, over all of WeChat's hosts
    addresses: float = 5.0
    knock: float = 3.0  # on this machine
    verification: float = 5.0  # as long as WeChat waits
    page: float = 5.0
    event: float = 6.0  # the first is sent at once
    database: float = 8.0


USUAL = Patience()
