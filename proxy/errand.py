"""
One request's life: events in, commands out. Pure; whoever drives it does the I/O and decides nothing.

Rule 1: before the first byte has gone to the caller a refusal may send the request again, by `attempts`; after it, never.
Rule 2: where no key is free but one soon is, the request waits in line; once it has been sent, it waits no more.
Rule 3: the first event of a stream is held until it is whole, up to 64 KiB or 2 s after a first comment: an error there still
        rotates.
Rule 4: a stream that ends without its terminal is never ended as if it were whole; a body of another kind is cut off.
Rule 5: every lease is settled once and released once, whichever way the request ends.
Rule 6: where only a parameter of a draft was refused, the same key is asked again without it; that is no attempt that counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from proxy.attempts import Attempt, Attempts
from proxy.command import END, FORWARD, READ_ERROR, Begin, Call, Command, Cut, Hold, Send, Wait
from proxy.guard import FAILURES
from proxy.headers import Fields, Pairs, passable_down, redacted
from proxy.key import Key
from proxy.lease import Change, Keys, Lease, NoKeyAvailable, Want
from proxy.refusal import Refusal, moved, no_key_available, rate_limited, upstream_outcome_unknown, upstream_unreachable
from proxy.sse import KIND_OF_PATH, Kind, StreamWatch, first_data, truncation
from proxy.verdict import NOT_DONE, Answer, Rule, Verdict, judge, judge_event, success

HELD_BYTES = 65_536
HELD_SECONDS = 2.0  # after a first comment line; vendors send ": keep-alive" for minutes
SOON = 1.0  # seconds; where the attempts are used up, but not the keys
_COMMENT = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|[\r\n]):")
# What the caller hears of these is the pool's to say: the upstream's words are about one key.
ABOUT_A_KEY = frozenset({Rule.RATE, Rule.QUOTA, Rule.AUTH, Rule.DEAD, Rule.ADDRESS})


class Errand:
    __slots__ = (
        *("_changes", "_clock", "_failing", "_has_begun", "_headers", "_held", "_hold_until", "_is_own_key", "_jitter"),
        *("_keys", "_lease", "_needs_tokens", "_secrets", "_status", "_tries", "_watch"),
        *("attempts", "call", "served_by", "wait_until", "was_cut"),
    )

    def __init__(
        self,
        call: Call,
        keys: Keys,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        secrets: Sequence[str] = (),
        is_own_key: bool = False,
    ) -> None:
        """`secrets` are blacked out of error bodies. `is_own_key`: the key is the caller's, every answer is passed on."""
        self.call = call
        self._keys, self._clock, self._jitter = keys, clock, jitter
        self._secrets, self._is_own_key = secrets, is_own_key
        self._lease: Lease | None = None
        self.wait_until: float | None = None  # set once it has met no free key
        self._tries = Attempts(call.method, is_client_retry=call.is_client_retry)
        self._needs_tokens = 0
        self._failing = ""  # the upstream whose fault the last attempt's end was
        self._status, self._headers = 0, Fields(())
        self._held: bytearray | None = None
        self._hold_until: float | None = None
        self._watch: StreamWatch | None = None
        self._has_begun = False
        self.attempts: list[Attempt] = []
        self.served_by: Key | None = None  # whose success the caller gets
        self.was_cut = False  # the answer broke off after it had begun
        self._changes: tuple[Change, ...] = ()

    @property
    def kind(self) -> Kind:
        return KIND_OF_PATH.get(self.call.target.path.rstrip("/"), Kind.OPEN)

    @property
    def want(self) -> Want:
        call = self.call
        return Want(call.use, call.model, self._needs_tokens, call.only, call.preferred, self._failing)

    @property
    def now(self) -> float:
        """The clock that `Hold.until` is on."""
        return self._clock()

    def take_changes(self) -> Sequence[Change]:
        """What happened to keys since this was asked last, for the log."""
        changes, self._changes = self._changes, ()
        return changes

    # --- events

    def begin(self) -> Command:
        """The first attempt, now or, told again, after a wait."""
        try:
            return self._next()
        except NoKeyAvailable as none:
            return Wait(none.retry_after_seconds) if self._may_wait(none) else no_key_available(none)

    def give_up(self) -> Command:
        """It has waited for as long as it may, or the line has no place: whatever there is now."""
        self.wait_until = self._clock()
        return self.begin()

    def head(self, status: int, headers: Pairs) -> Command:
        """The head of the answer is here."""
        self._status, self._headers = status, Fields.of(headers)
        if not (200 <= status < 300 or status == (101 if self.call.is_upgrade else 304)):
            return READ_ERROR
        if self._headers.is_event_stream():
            self._watch = StreamWatch(self.kind)
            if self.call.can_replay and not self._is_own_key:
                self._held = bytearray()
                return Hold()
        return self._deliver()

    def error_body(self, body: bytes, *, is_whole: bool = True) -> Command:
        """The body of an answer that is no success. `is_whole`: there was no more of it than this."""
        verdict = judge(Answer(self._status, self._headers.by_name(), body))
        draft = self.call.draft
        if draft and self._lease and verdict.rule is Rule.CLIENT and draft.revise(self._status, body):
            self._note(self._lease, verdict.rule)
            return Send(self._lease)
        passed_on = self._pass_on(verdict, body if is_whole else None)
        return self._refused(verdict, passed_on)

    def data(self, chunk: bytes) -> Command:
        """The next bytes of a success."""
        if self._held is None:
            if self._watch is not None:
                self._watch.feed(chunk)
            return FORWARD
        self._held += chunk
        held = bytes(self._held)
        if (event := first_data(held)) is not None:
            verdict = judge_event(self._status, self._headers.by_name, event)
            if verdict is None:
                return self._deliver(held)
            hidden = redacted(held, self._secrets)
            return self._refused(verdict, Begin(self._status, self._down(), hidden), is_stream=True)
        if len(held) > HELD_BYTES:
            return self._deliver(held)
        if self._hold_until is None and _COMMENT.search(held):
            self._hold_until = self._clock() + HELD_SECONDS
        return Hold(self._hold_until)

    def hold_is_over(self) -> Command:
        return self._deliver(bytes(self._held or b""))

    def end(self) -> Command:
        """The body ended as its framing promised."""
        if self._held is not None:
            return self._end_held(bytes(self._held))
        self._let_go()
        return END if self._watch is None or self._watch.is_complete_at_end() else self._cut()

    def lost(self, *, was_sent: bool = True) -> Command:
        """The connection failed or fell silent. `was_sent`: some byte of the request may have reached the upstream."""
        if self._has_begun:
            self._let_go()
            is_whole = self._watch is not None and self.kind is not Kind.OPEN and self._watch.is_complete
            return END if is_whole else self._cut()
        if not was_sent:
            return self._refused(Verdict(Rule.CONNECT, "connection failed"), upstream_unreachable())
        return self._refused(Verdict(Rule.UNKNOWN, "connection lost"), self._unknown())

    def gone(self) -> None:
        """The caller left, or the request is over: nothing stays reserved."""
        if self._lease is not None:
            self._settle(Verdict(Rule.GONE))
            self._let_go()

    # --- decisions

    def _next(self, pause_seconds: float = 0.0) -> Send:
        self._lease = self._keys.lease(self.want, avoiding=self._tries.tried)
        self._tries.begun()
        return Send(self._lease, pause_seconds)

    def _may_wait(self, none: NoKeyAvailable) -> bool:
        now = self._clock()
        if self.wait_until is None:
            self.wait_until = now + self.call.queue_seconds
        match none.cause:
            case "busy":
                return now < self.wait_until
            case "cooling" | "upstream":
                return none.retry_after_seconds is not None and now + none.retry_after_seconds < self.wait_until
        return False

    def _deliver(self, held: bytes = b"") -> Command:
        self._held = None
        self._settle(success(self._headers))
        self._has_begun = True
        if self._watch is not None and held:
            self._watch.feed(held)
        begin = Begin(self._status, self._down(), held)
        self._headers = Fields(())  # a stream may be open for long, and nobody asks for them any more
        return begin

    def _end_held(self, held: bytes) -> Command:
        """The body ended before its first event did: that event may lack nothing but its blank line."""
        event = first_data(held + b"\n\n")
        verdict = judge_event(self._status, self._headers.by_name, event) if event is not None else None
        if verdict is not None:
            hidden = redacted(held, self._secrets)
            return self._refused(verdict, Begin(self._status, self._down(), hidden, is_whole=True))
        watch = StreamWatch(self.kind)
        watch.feed(held)
        if not watch.is_complete_at_end():
            return self._refused(Verdict(Rule.UNKNOWN, "a stream without an event"), self._unknown())
        begin = Begin(self._status, self._down(), held, is_whole=True)
        self._settle(success(self._headers))
        self._let_go()
        return begin

    def _refused(self, verdict: Verdict, last_word: Command, *, is_stream: bool = False) -> Command:
        """Another attempt if the rule, the count and the pool allow one; else `last_word`."""
        self._settle(verdict)
        if self._lease is not None:
            self._tries.failed(self._lease.key.name, verdict.rule)
            self._failing = self._lease.key.upstream.name if verdict.rule in FAILURES else ""
        none: NoKeyAvailable | None = None
        if self._may_try_again(verdict):
            self._let_go()
            try:
                send = self._next(0.2 + 0.4 * self._jitter() if verdict.rule is Rule.OVERLOAD else 0.0)
            except NoKeyAvailable as nothing:
                none = nothing
            else:
                self._held, self._hold_until, self._watch = None, None, None
                return send
        if is_stream and isinstance(last_word, Begin) and verdict.rule not in ABOUT_A_KEY:
            return self._pass_stream(last_word)
        self._let_go()
        if verdict.rule in ABOUT_A_KEY and not self._is_own_key:
            none = none or self._keys.lacking(self.want)
            return rate_limited(SOON) if none is None else no_key_available(none)
        return last_word

    def _pass_stream(self, begin: Begin) -> Command:
        self._held, self._has_begun = None, True
        if self._watch is not None:
            self._watch.feed(begin.data)
        return begin

    def _may_try_again(self, verdict: Verdict) -> bool:
        if self._is_own_key or not self.call.can_replay:
            return False
        if verdict.rule is Rule.TOO_LARGE:  # only a key whose limit is known to be larger is worth a try
            self._needs_tokens = verdict.tokens_requested or 0
            if not self._needs_tokens:
                return False
        return self._tries.takes_another(verdict.rule)

    def _unknown(self) -> Refusal:
        if self._tries.is_reading:
            return upstream_unreachable("The upstream did not answer. Please try again.")
        return upstream_outcome_unknown()

    def _pass_on(self, verdict: Verdict, body: bytes | None) -> Command:
        """The upstream's error as the caller may see it."""
        if self._status < 400:
            return moved(self._status)
        if verdict.rule is Rule.UNKNOWN and not self._is_own_key:
            return self._unknown()
        if body is None:
            message = f"The upstream answered {self._status}; its body was too large or broken, and is not passed on."
            return Refusal(self._status, "upstream_error", message, "server_error")
        headers = self._down().without("content-length", "content-encoding")
        if verdict.rule is Rule.TOO_LARGE or self._status in NOT_DONE:
            headers = Fields([*headers.without("x-should-retry").lines, b"x-should-retry: false"])
        # To whoever brought the key, the upstream's words are about nobody else.
        return Begin(self._status, headers, body if self._is_own_key else redacted(body, self._secrets), is_whole=True)

    def _cut(self) -> Cut:
        self.was_cut = True
        is_at_boundary = self._watch is not None and self._watch.at_boundary
        return Cut(truncation(self.kind)) if is_at_boundary else Cut()

    def _down(self) -> Fields:
        return passable_down(self._headers, is_stream=self._watch is not None)

    def _note(self, lease: Lease, rule: Rule) -> None:
        seconds = self._clock() - lease.sent_at
        self.attempts.append(Attempt(lease.key.name, rule, seconds, lease.key.upstream.name))

    def _settle(self, verdict: Verdict) -> None:
        lease = self._lease
        if lease is not None and not lease.is_settled:
            self._note(lease, verdict.rule)
            self.served_by = lease.key if verdict.rule is Rule.OK else None
            self._changes += self._keys.settle(lease, verdict, request_id=self.call.id)

    def _let_go(self) -> None:
        if self._lease is not None:
            self._keys.release(self._lease)
            self._lease = None
