"""An errand on the road: an upstream that does as it is told, the real pool, and a count of what every lease went through."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from proxy.command import Call, Command, ReadError, Send
from proxy.errand import Errand
from proxy.keypool import KeyPool
from proxy.lease import Change, Lease, Want
from proxy.refusal import Refusal
from proxy.target import Target
from proxy.verdict import Verdict
from tests.proxy.conftest import Clock, a_key, an_error, in_flight

SSE = [("Content-Type", "text/event-stream")]
Event = Callable[[Errand], Command]


class Counted:
    """The pool, and how often each lease was told what."""

    def __init__(self, keys: int, clock: Clock) -> None:
        self._pool = KeyPool([a_key(f"k{number}") for number in range(keys)], clock=clock, jitter=lambda: 0.0)
        self.leased: list[int] = []
        self.settled: list[int] = []
        self.released: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def lease(self, want: Want, *, avoiding: Collection[str] = ()) -> Lease:
        lease = self._pool.lease(want, avoiding=avoiding)
        self.leased.append(lease.id)
        return lease

    def settle(self, lease: Lease, verdict: Verdict, *, request_id: str = "") -> tuple[Change, ...]:
        self.settled.append(lease.id)
        return self._pool.settle(lease, verdict, request_id=request_id)

    def release(self, lease: Lease) -> None:
        self.released.append(lease.id)
        self._pool.release(lease)


class Journey:
    """Runs an errand through `events`, one after another; a Send takes the next of `answers`."""

    def __init__(self, *, keys: int = 12, path: str = "/v1/chat/completions", jitter: float = 0.0, **call: Any) -> None:
        self.clock = Clock()
        self.pool = Counted(keys, self.clock)
        facts: dict[str, Any] = {"method": "POST", "model": "gpt-5", **call}
        self.errand = Errand(
            Call("r1", target=Target(path), headers=[], **facts),
            self.pool,
            clock=self.clock,
            jitter=lambda: jitter,
            secrets=["sk-secret-k0"],
        )
        self.sent: list[Send] = []

    def __enter__(self) -> Journey:
        return self

    def __exit__(self, *failure: object) -> None:
        self.errand.gone()
        if failure[0] is None:
            assert in_flight(self.pool) == [0] * len(in_flight(self.pool))
            assert self.pool.leased == self.pool.settled == self.pool.released
            assert len(self.errand.attempts) == len(self.sent)

    @property
    def asked(self) -> list[str]:
        return [send.lease.key.name for send in self.sent]

    def run(self, *answers: Event) -> Command:
        """What comes in the end; the last of `answers` is given again and again."""
        command = self.errand.begin()
        while isinstance(command, Send):
            self.sent.append(command)
            self.clock.let_pass(0.01 + command.pause_seconds)
            command = answers[min(len(self.sent), len(answers)) - 1](self.errand)
        return command


def refused(status: int, error: Any = None, **headers: str) -> Event:
    answer = an_error(status, error, **headers)

    def event(errand: Errand) -> Command:
        assert isinstance(errand.head(status, list(answer.headers.items())), ReadError)
        return errand.error_body(answer.body)

    return event


def well(errand: Errand) -> Command:
    return errand.head(200, [("Content-Type", "application/json"), ("OpenAI-Organization", "org-x")])


def streamed(*chunks: bytes, then: Event | None = None) -> Event:
    def event(errand: Errand) -> Command:
        command = errand.head(200, SSE)
        for chunk in chunks:
            if isinstance(command, Send | Refusal):
                return command  # this stream is not listened to any more
            command = errand.data(chunk)
        return then(errand) if then else command

    return event


def ended(errand: Errand) -> Command:
    return errand.end()


def lost(errand: Errand) -> Command:
    return errand.lost()


def not_sent(errand: Errand) -> Command:
    return errand.lost(was_sent=False)
