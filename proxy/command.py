"""
What an errand is about, and what it tells whoever drives it to do next. Pure.
"""

from __future__ import annotations

from dataclasses import field
from typing import TypeAlias

from proxy.draft import Draft
from proxy.headers import Pairs
from proxy.lease import Lease
from proxy.refusal import Refusal
from proxy.target import Target
from proxy.value import value_type

ERROR_BYTES = 65_536  # of an error's body are read


@value_type
class Call:
    """
    What is asked, without its body. `headers` are already passable; `can_replay`: the whole body is at hand.

    `draft` has the body where that is ours to word: its present one is what is sent.
    """

    id: str
    method: str
    target: Target
    headers: Pairs = field(repr=False)
    model: str = ""
    use: str = "proxy"
    caller: str = ""
    can_replay: bool = True
    is_client_retry: bool = False
    is_upgrade: bool = False  # to a WebSocket
    queue_seconds: float = 0.0  # how long it may wait in line for a key
    only: str = ""  # as in `Want`
    preferred: str = ""
    draft: Draft | None = field(default=None, repr=False)


@value_type
class Wait:
    """No key is free, but one will be within the time the request has: stand in line, then `begin()` again, or `give_up()`.

    `seconds` is until the soonest key is back, None where that depends on other requests.
    """

    seconds: float | None


@value_type
class Send:
    """Send the request with this lease's key, after a pause; then tell `head()`, or `lost()`."""

    lease: Lease
    pause_seconds: float = 0.0


@value_type
class ReadError:
    """Read the answer's body, at most ERROR_BYTES, decoded if it came encoded; then tell `error_body()`."""


@value_type
class Hold:
    """Nothing goes out yet: tell `data()`, `end()`, `lost()`, or `hold_is_over()` at `until` (the pool's clock)."""

    until: float | None = None


@value_type
class Begin:
    """Answer the caller with this head and these first bytes; `is_whole`: that is all of it."""

    status: int
    headers: Pairs
    data: bytes = b""
    is_whole: bool = False


@value_type
class Forward:
    """The chunk that was told goes out as it is."""


@value_type
class End:
    """The answer is complete."""


@value_type
class Cut:
    """Write `data`, then close the connection without ending the body."""

    data: bytes = b""


# What a caller is told, bytes for every chunk.
Part: TypeAlias = Begin | bytes | End | Cut | Refusal
Command = Wait | Send | ReadError | Hold | Begin | Forward | End | Cut | Refusal
READ_ERROR, FORWARD, END = ReadError(), Forward(), End()
