"""
One request's life: events in, commands out. Pure; whoever drives it does the I/O and decides nothing.

Rule 1: before the first byte has gone to the caller a refusal may send the request again, by `MORE`; after it, never.
Rule 2: at most four attempts, two when the client says it is already retrying; never the same key twice, unless the request
        did not reach it (`connect`) or asks for nothing but reading (GET, HEAD).
Rule 3: a POST whose outcome is unknown is never sent twice.
Rule 4: the first event of a stream is held until it is whole, up to 64 KiB or 2 s after a first comment: an error there still
        rotates.
Rule 5: a stream that ends without its terminal is never ended as if it were whole; a body of another kind is cut off.
Rule 6: every lease is settled once and released once, whichever way the request ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from proxy.command import END, FORWARD, READ_ERROR, Begin, Call, Command, Cut, Hold, Send
from proxy.headers import Pairs, passable_down, redacted
from proxy.lease import Change, Keys, Lease, NoKeyAvailable, Want
from proxy.refusal import Refusal, no_key_available, rate_limited, upstream_outcome_unknown, upstream_unreachable
from proxy.sse import KIND_OF_PATH, Kind, StreamWatch, first_data, truncation
from proxy.verdict import Answer, Rule, Verdict, judge, judge_event

HELD_BYTES = 65_536
HELD_SECONDS = 2.0  # after a first comment line; vendors send ": keep-alive" for minutes
SOON = 1.0  # seconds; where the attempts are used up, but not the keys
MOST_ATTEMPTS = 4
MOST_ATTEMPTS_OF_RETRIES = 2

# How many more attempts a rule allows within one request.
MORE: Mapping[Rule, int] = {
    Rule.RATE: MOST_ATTEMPTS,
    Rule.QUOTA: MOST_ATTEMPTS,
    Rule.AUTH: MOST_ATTEMPTS,
    Rule.DEAD: MOST_ATTEMPTS,
    Rule.ADDRESS: MOST_ATTEMPTS,
    Rule.MODEL: 2,
    Rule.TOO_LARGE: 1,
    Rule.SLOW_DOWN: 1,
    Rule.OVERLOAD: 1,
    Rule.SERVER: 1,
    Rule.CONNECT: 1,
}
# What the caller hears of these is the pool's to say: the upstream's words are about one key.
ABOUT_A_KEY = frozenset({Rule.RATE, Rule.QUOTA, Rule.AUTH, Rule.DEAD, Rule.ADDRESS})
READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of the request's record: which key, what came of it."""

    key: str
    rule: Rule


class Errand:
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
        self._tried: set[str] = set()
        self._more = MOST_ATTEMPTS_OF_RETRIES if call.is_client_retry else MOST_ATTEMPTS
        self._rule_left: dict[Rule, int] = dict(MORE)
        self._needs_tokens = 0
        self._status, self._headers = 0, {}  # type: int, dict[str, str]
        self._raw_headers: Pairs = []
        self._held: bytearray | None = None
        self._hold_until: float | None = None
        self._watch: StreamWatch | None = None
        self._has_begun = False
        self.attempts: list[Attempt] = []
        self._changes: list[Change] = []

    @property
    def kind(self) -> Kind:
        return KIND_OF_PATH.get(self.call.target.path.rstrip("/"), Kind.OPEN)

    @property
    def now(self) -> float:
        """The clock that `Hold.until` is on."""
        return self._clock()

    def take_changes(self) -> list[Change]:
        """What happened to keys since this was asked last, for the log."""
        changes, self._changes = self._changes, []
        return changes

    # --- events

    def begin(self) -> Command:
        try:
            return self._next()
        except NoKeyAvailable as none:
            return no_key_available(none)

    def head(self, status: int, headers: Sequence[tuple[str, str]]) -> Command:
        """The head of the answer is here."""
        self._status, self._raw_headers = status, list(headers)
        self._headers = {name.lower(): value for name, value in reversed(self._raw_headers)}
        if not (200 <= status < 300 or status == 304):
            return READ_ERROR
        is_plain = self._headers.get("content-encoding", "identity").lower() == "identity"
        if self._headers.get("content-type", "").lower().startswith("text/event-stream") and is_plain:
            self._watch = StreamWatch(self.kind)
            if self.call.can_replay and not self._is_own_key:
                self._held = bytearray()
                return Hold()
        return self._deliver()

    def error_body(self, body: bytes, *, is_whole: bool = True) -> Command:
        """The body of an answer that is no success. `is_whole`: there was no more of it than this."""
        verdict = judge(Answer(self._status, self._headers, body))
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
            verdict = judge_event(self._status, self._headers, event)
            if verdict is None:
                return self._deliver(held)
            return self._refused(verdict, Begin(self._status, self._down(), held), is_stream=True)
        if len(held) > HELD_BYTES:
            return self._deliver(held)
        if self._hold_until is None and held.lstrip(b"\r\n\xef\xbb\xbf").startswith(b":"):
            self._hold_until = self._clock() + HELD_SECONDS
        return Hold(self._hold_until)

    def hold_is_over(self) -> Command:
        return self._deliver(bytes(self._held or b""))

    def end(self) -> Command:
        """The body ended as its framing promised."""
        if self._held is not None and self.kind is not Kind.OPEN:
            return self._refused(Verdict(Rule.UNKNOWN, "a stream without an event"), self._unknown())
        if self._held is not None:
            begin = Begin(self._status, self._down(), bytes(self._held), is_whole=True)
            self._settle(judge(Answer(self._status, self._headers)))
            self._let_go()
            return begin
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
        want = Want(self.call.use, self.call.model, self._needs_tokens)
        self._lease = self._keys.lease(want, avoiding=self._tried)
        self._more -= 1
        return Send(self._lease, pause_seconds)

    def _deliver(self, held: bytes = b"") -> Command:
        self._held = None
        self._settle(judge(Answer(self._status, self._headers)))
        self._has_begun = True
        if self._watch is not None and held:
            self._watch.feed(held)
        return Begin(self._status, self._down(), held)

    def _refused(self, verdict: Verdict, last_word: Command, *, is_stream: bool = False) -> Command:
        """Another attempt if the rule, the count and the pool allow one; else `last_word`."""
        self._settle(verdict)
        if self._lease is not None and verdict.rule is not Rule.CONNECT and not self._may_repeat(verdict.rule):
            self._tried.add(self._lease.key.name)
        none: NoKeyAvailable | None = None
        if self._may_try_again(verdict):
            self._let_go()
            self._held, self._hold_until, self._watch = None, None, None
            try:
                return self._next(0.2 + 0.4 * self._jitter() if verdict.rule is Rule.OVERLOAD else 0.0)
            except NoKeyAvailable as nothing:
                none = nothing
        if is_stream and isinstance(last_word, Begin) and verdict.rule not in ABOUT_A_KEY:
            return self._pass_stream(last_word)
        self._let_go()
        if verdict.rule in ABOUT_A_KEY and not self._is_own_key:
            return rate_limited(SOON) if none is None else no_key_available(none)
        return last_word

    def _pass_stream(self, begin: Begin) -> Command:
        self._held, self._has_begun = None, True
        if self._watch is not None:
            self._watch.feed(begin.data)
        return begin

    def _may_repeat(self, rule: Rule) -> bool:
        return rule is Rule.UNKNOWN and self.call.method in READING

    def _may_try_again(self, verdict: Verdict) -> bool:
        rule = verdict.rule
        if self._is_own_key or not self.call.can_replay or self._more <= 0:
            return False
        if rule is Rule.TOO_LARGE:
            self._needs_tokens = verdict.tokens_requested or 0
            if not self._needs_tokens:
                return False
        left = 1 if self._may_repeat(rule) else 0
        left = self._rule_left.setdefault(rule, left)
        self._rule_left[rule] = left - 1
        return left > 0

    def _unknown(self) -> Refusal:
        if self.call.method in READING:
            return upstream_unreachable("The upstream did not answer. Please try again.")
        return upstream_outcome_unknown()

    def _pass_on(self, verdict: Verdict, body: bytes | None) -> Command:
        """The upstream's error as the caller may see it."""
        if 300 <= self._status < 400:
            message = (
                f"The upstream answered with a redirect ({self._status}), which is not followed. Check its base_url."
            )
            return upstream_unreachable(message)
        if verdict.rule is Rule.UNKNOWN and not self._is_own_key:
            return self._unknown()
        if body is None:
            message = f"The upstream answered {self._status}; its body was too large or broken, and is not passed on."
            return Refusal(self._status, "upstream_error", message, "server_error")
        hidden = () if self._is_own_key else self._secrets
        dropped = ("content-length", "content-encoding")
        headers = [(name, value) for name, value in self._down() if name.lower() not in dropped]
        if verdict.rule is Rule.TOO_LARGE:
            headers = [*(pair for pair in headers if pair[0].lower() != "x-should-retry"), ("x-should-retry", "false")]
        return Begin(self._status, headers, redacted(body, hidden), is_whole=True)

    def _cut(self) -> Cut:
        if self._watch is None or not self._watch.at_boundary:
            return Cut()
        return Cut(truncation(self.kind))

    def _down(self) -> Pairs:
        return passable_down(self._raw_headers, is_stream=self._watch is not None)

    def _settle(self, verdict: Verdict) -> None:
        lease = self._lease
        if lease is not None and not lease.is_settled:
            self.attempts.append(Attempt(lease.key.name, verdict.rule))
            self._changes += self._keys.settle(lease, verdict, request_id=self.call.id)

    def _let_go(self) -> None:
        if self._lease is not None:
            self._keys.release(self._lease)
            self._lease = None
