"""
One request below /v1, from its head to its line in the log: what both lanes do for it, whatever carries its bytes.

Rule 1: who calls, and whether it may ask now, is settled before a byte of the body is read.
Rule 2: every request leaves one line in the log, and is counted once, however it ends; what it held is given back then.
Rule 3: nothing here waits: neither for the database nor for anybody.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from proxy.allowance import Allowances
from proxy.asking import METHODS, Asking
from proxy.callers import Caller
from proxy.command import Begin, Part
from proxy.errand import Errand
from proxy.reception import Asked, Reception
from proxy.record import Finished, Record, by_structlog
from proxy.refusal import short_of_memory
from proxy.retelling import Retelling
from proxy.road import Road
from proxy.tally import Stopwatch, Tally, route_of
from proxy.value import value_type
from proxy.witness import Witness, Witnesses

CALLER_LEFT = 499  # nginx's number for it


@value_type
class House:
    """What every request meets, on whichever lane it comes."""

    reception: Reception
    road: Road
    allowances: Allowances
    witnesses: Witnesses
    tally: Tally
    new_id: Callable[[], str]
    is_short_of_memory: Callable[[], bool]
    record: Record = by_structlog

    def keeps(self, body_bytes: int) -> bool:
        """Whether a body of this length is taken, and kept until it has been answered."""
        settings = self.reception.settings
        return body_bytes <= min(settings.replay_bytes, settings.max_body_bytes)

    def caller_of(self, asking: Asking) -> Caller | None:
        """Who calls, None where it brings a key of its own. Raises a Refusal."""
        caller = self.reception.caller_of(asking)
        if self.is_short_of_memory():
            raise short_of_memory()
        return caller

    def must_welcome(self, asking: Asking) -> None:
        """Raises a Refusal where the request would be turned away whatever its body says; uses nothing up."""
        caller = self.caller_of(asking)
        self.reception.target_of(asking)
        if caller is not None:
            self.allowances.must_admit(caller)


class Visit:
    """`admit`, then `begin`, then `see` every part of the answer; `close` in any case. `status` is what the caller got."""

    __slots__ = (
        *("_house", "_is_in", "_method", "_path", "_retelling", "_started", "_stopwatch", "_witness"),
        *("caller", "errand", "id", "status"),
    )

    def __init__(self, house: House, method: str, path: str) -> None:
        self._house, self._method, self._path = house, method, path
        self.id, self._started = house.new_id(), time.monotonic()
        self.caller: Caller | None = None
        self.errand: Errand | None = None
        self.status = CALLER_LEFT
        self._is_in = False
        self._stopwatch: Stopwatch | None = None
        self._witness: Witness | None = None
        self._retelling: Retelling | None = None

    def admit(self, asking: Asking) -> None:
        """Raises a Refusal."""
        self.caller = self._house.caller_of(asking)
        self._house.allowances.enter(self.caller)
        self._is_in = True

    def begin(self, asked: Asked) -> None:
        """It is carried out from here on."""
        house, self.errand, self._retelling = self._house, asked.errand, asked.retelling
        self._stopwatch = house.tally.stopwatch(asked.errand)
        if not asked.errand.call.is_upgrade:  # messages have witnesses of their own
            sent = asked.body if isinstance(asked.body, bytes) else b""
            self._witness = house.witnesses.of(asked.errand, sent, asked.bond)

    def see(self, part: Part) -> tuple[Part, ...]:
        """What the caller is told for it."""
        if self._witness is not None:
            self._witness.see(part)
        return (part,) if self._retelling is None else self._retelling.tell(part)

    def has_begun(self, begin: Begin) -> None:
        """Its head and first bytes have gone out to the caller."""
        if self._stopwatch is not None:
            self._stopwatch.has_begun(begin)

    def close(self, **facts: int) -> None:
        """It is over; once. `facts` are for the log."""
        if self._witness is not None:
            self._witness.close()
        if self._stopwatch is not None:
            self._stopwatch.stop()
        if self._is_in:
            self._house.allowances.leave(self.caller)
        errand, name = self.errand, self.caller.name if self.caller else ""
        self._house.tally.asked(name, self._path, self.status)
        self._house.record(
            Finished(
                request=self.id,
                caller=name,
                method=self._method if self._method in METHODS else "other",
                route=route_of(self._path),
                status=self.status,
                attempts=errand.attempts if errand else (),
                was_cut=errand is not None and errand.was_cut,
                seconds=time.monotonic() - self._started,
                more=facts,
            )
        )
