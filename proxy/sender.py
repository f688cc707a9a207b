"""
Sends what the bot asks of a model, through the same pool as everybody else, and gives what comes back.

Rule 1: a parameter that the model refuses is renamed or left out, as for any draft.
Rule 2: whatever goes wrong before an answer leaves as a Refusal, the same value that a caller of /v1 would have got; of the
        upstream's own words nothing is told on but its code, beside ours, which it could be taken for.
Rule 3: an answer that is not whole, or cannot be read, is torn: nobody is given a part of it as if it were all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field

from proxy.command import Begin, Call, Cut, End, Part
from proxy.draft import Draft, Unsupported
from proxy.errand import Errand
from proxy.keypool import KeyPool
from proxy.refusal import Refusal
from proxy.ride import Ride
from proxy.road import Road
from proxy.tally import Tally
from proxy.target import Target
from proxy.usage_book import UsageBook
from proxy.verdict import Rule, code_of, judge_event

AGENT = "posthouse"  # who asks for subscribers; callers bring their own
ABOUT_THE_QUESTION = frozenset({Rule.CLIENT, Rule.MODEL, Rule.TOO_LARGE})


class TornAnswer(Exception):
    """The answer broke off before its end, or cannot be read."""


class EmptyAnswer(Exception):
    """The model ended without giving anything. `finish_reason` says why, for example "length"."""

    def __init__(self, finish_reason: str) -> None:
        super().__init__(finish_reason)
        self.finish_reason = finish_reason


@dataclass(slots=True)
class Sender:
    """One for all that the bot asks."""

    pool: KeyPool
    road: Road
    book: UsageBook
    tally: Tally
    unsupported: Unsupported
    clock: Callable[[], float]
    jitter: Callable[[], float]
    new_id: Callable[[], str]
    queue_seconds: float = 0.0
    secrets: Sequence[str] = field(default=(), repr=False)

    async def send(self, target: Target, draft: Draft, *, accept: str) -> AsyncGenerator[Begin | bytes]:
        """A success's head, then its bytes to the end. Raises Refusal, TornAnswer. Close it (`aclosing`) to leave early."""
        headers = [
            ("Content-Type", "application/json"),
            ("Accept", accept),
            ("Accept-Encoding", "identity"),
            ("User-Agent", AGENT),
        ]
        call = Call(
            id=self.new_id(),
            method="POST",
            target=target,
            headers=headers,
            model=draft.model,
            use="bot",
            caller="bot",
            queue_seconds=self.queue_seconds,
            draft=draft,
        )
        errand = Errand(call, self.pool, clock=self.clock, jitter=self.jitter, secrets=self.secrets)
        status = 499  # nobody waits for it any more; nginx's number for it
        parts = _Parts()
        ride = Ride(errand, self.road, b"", parts.put)
        try:
            with self.tally.watching(errand) as stopwatch, self.book.watching(errand, draft.body) as watch:
                try:
                    ride.begin()
                    is_over = False
                    while not is_over:
                        match part := await parts.next():
                            case Refusal(status):
                                raise part
                            case Begin(status, _, body) if status >= 400:
                                raise _refused(status, body)
                            case Begin(status):
                                watch.begin(part)
                                stopwatch.has_begun(part)
                                if header(part, "content-encoding") not in ("", "identity"):
                                    raise TornAnswer  # compressed, although it was asked for as it is
                                yield part
                                is_over = part.is_whole
                            case bytes():
                                watch.feed(part)
                                yield part
                            case End():
                                is_over = True
                            case Cut():
                                raise TornAnswer
                finally:
                    ride.leave()
        finally:
            self.tally.asked(call.caller, target.path, status)


class _Parts:
    """Those of an answer, as they come, for one who awaits them."""

    __slots__ = ("_come", "_waiter")

    def __init__(self) -> None:
        self._come: deque[Part] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, part: Part) -> None:
        if isinstance(part, bytes) and self._come and isinstance(last := self._come[-1], bytes):
            self._come[-1] = last + part  # bytes that nobody has waited for yet are one piece
        else:
            self._come.append(part)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> Part:
        if not self._come:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
            self._waiter = None
        return self._come.popleft()


def header(begin: Begin, name: str) -> str:
    """In lower case; "" where there is none."""
    return next((value.lower() for given, value in begin.headers if given.lower() == name), "")


def failure(data: bytes) -> Refusal | TornAnswer | None:
    """What an error means that comes within a success, as an event or in place of the answer; None where it is none."""
    verdict = judge_event(200, dict, data)
    if verdict is None:
        return None
    return _refused(400, data) if verdict.rule in ABOUT_THE_QUESTION else TornAnswer()


def _refused(status: int, body: bytes) -> Refusal:
    message = "The upstream refused the question."
    return Refusal(status, "upstream_refused", message, upstream_code=code_of(body))
