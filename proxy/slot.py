"""
A key's place in the pool: its health, how it looks from outside, and how it is remembered. Pure.

Rule 1: a slot is the only home of its key's health; a `KeyView` and a `KeyRecord` are copies.
Rule 2: times here are on the pool's monotonic clock; a record's are wall-clock, so that a jumping clock moves no deadline.
"""

from __future__ import annotations

from proxy.cells import Cell, Cells, Name
from proxy.health import TRANSITIONS, CellView, Event, KeyView, State
from proxy.history import History
from proxy.key import Key
from proxy.ledger import CellRecord, KeyRecord
from proxy.verdict import Rule

CHECK_AFTER = 5.0  # seconds; a 401 is looked at again by a free request before the key counts as dead
MOST_NAMES = 32  # models whose cells a slot knows by heart
LOOK_AGAIN = 86_400.0  # seconds; a dead key may be revived by its owner


class Slot:
    __slots__ = (
        "_names",
        "answered",
        "check_at",
        "failed",
        "history",
        "in_flight",
        "key",
        "last_request_id",
        "last_used",
        "organization",
        "probe",
        "reason",
        "rule",
        "since",
        "state",
        "strikes",
        "tokens_limit",
        "until",
    )

    def __init__(self, key: Key) -> None:
        self.key = key
        self.state, self.rule, self.reason = State.READY, "", ""
        self.since = float("-inf")  # when the state was entered
        self.until: float | None = None  # when a state that ends by itself may be tried again
        self.check_at: float | None = None  # when a free check is due
        self.strikes = 0  # how often in a row the state was entered without a success in between
        self.probe = 0  # the lease that tries whether the state is over
        self.in_flight = self.last_used = self.answered = self.failed = 0
        self.history = History()
        self.organization = key.organization
        self.last_request_id = ""
        self.tokens_limit: int | None = None
        self._names: dict[tuple[str, str], tuple[Name, ...]] = {}

    def __repr__(self) -> str:
        return f"<Slot {self.key.name} {self.state}>"

    def move(self, event: Event, now: float, *, rule: str, reason: str, seconds: float | None) -> bool:
        """Follow the table. Whether the state's row knows the event."""
        state = TRANSITIONS[self.state].get(event)
        if state is None:
            return False
        self.state, self.rule, self.reason, self.since = state, rule, reason, now
        # A deadline only moves later, also where another key's refusal takes this one along.
        self.until = None if seconds is None else max(now + seconds, now if self.until is None else self.until)
        self.strikes = 0 if state is State.READY else self.strikes + 1
        self.check_at = {State.SUSPECT: now + CHECK_AFTER, State.DEAD: now + LOOK_AGAIN}.get(state)
        return True

    def has_answered(self, now: float) -> None:
        self.answered += 1
        self.history.answered(now)

    def has_failed(self, now: float) -> None:
        self.failed += 1
        self.history.failed(now)

    def is_open(self, now: float) -> bool:
        """Whether its state lets it serve: it is ready, or its time is up and nobody is trying it yet."""
        if self.state in (State.EXHAUSTED, State.BLOCKED_IP):
            return not self.probe and self.until is not None and self.until <= now
        return self.state is State.READY

    def cell_names(self, model: str) -> tuple[Name, ...]:
        """The cells that stand in this key's way for `model` when they hold."""
        known = self._names.get((model, self.organization))
        if known is None:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            known = self._names[model, self.organization] = self._cell_names(model)
        return known

    def _cell_names(self, model: str) -> tuple[Name, ...]:
        key, upstream, organization = self.key.fingerprint, self.key.upstream.name, self.organization
        names: list[Name] = [("key", key), ("upstream", upstream)]
        if organization:
            names.append(("organization", organization))
        if model:
            names += [("key-model", key, model), ("upstream-model", upstream, model)]
            if organization:
                names.append(("organization-model", organization, model))
        return tuple(names)

    def cell_stems(self) -> frozenset[Name]:
        """Kind and owner of every cell that can stand in this key's way, whatever the model."""
        return frozenset(name[:2] for name in self.cell_names("any"))

    def record(self, now: float, wall: float) -> KeyRecord:
        ends = self.until if self.until is not None else self.check_at
        return KeyRecord(
            fingerprint=self.key.fingerprint,
            state=self.state,
            rule=self.rule,
            reason=self.reason,
            until=None if ends is None else wall + ends - now,
            since=wall + self.since - now if self.since > float("-inf") else 0.0,
            strikes=self.strikes,
            organization=self.organization,
            answered=self.answered,
            failed=self.failed,
            name=self.key.name,
            history=self.history.text(now, wall),
        )

    def restore(self, record: KeyRecord, now: float, wall: float) -> None:
        if record.state not in list(State):
            return
        self.state, self.rule, self.reason = State(record.state), record.rule, record.reason
        self.strikes, self.answered, self.failed = record.strikes, record.answered, record.failed
        self.organization = self.key.organization or record.organization
        self.history.restore(record.history, now, wall)
        self.since = now + min(0.0, record.since - wall) if record.since else float("-inf")
        # No deadline is longer than a day: one that seems so was written while the wall clock was wrong.
        ends = None if record.until is None else now + min(max(0.0, record.until - wall), LOOK_AGAIN)
        self.check_at, self.until = None, ends
        if self.state in (State.SUSPECT, State.DEAD):  # without a time, a check was under way when the process ended
            self.check_at, self.until = now + CHECK_AFTER if ends is None else ends, None

    def view(self, cells: Cells, now: float) -> KeyView:
        mine = self.cell_stems()
        held = [(name, cell) for name, cell in cells if name[:2] in mine and cell.until > now]
        state, rule, reason, since = str(self.state), self.rule, self.reason, self.since
        left = None if self.until is None else max(0.0, self.until - now)
        resting = [cell for _, cell in held if cell.rule != Rule.MODEL]
        if self.state is State.READY and resting:
            longest = max(resting, key=lambda cell: cell.until)
            state, rule, reason = "cooling", longest.rule, longest.reason
            since, left = longest.since, longest.until - now
        return KeyView(
            name=self.key.name,
            last4=self.key.last4,
            upstream=self.key.upstream.name,
            organization=self.organization,
            state=state,
            rule=rule,
            reason=reason,
            since_seconds=None if since == float("-inf") else now - since,
            seconds_left=left,
            in_flight=self.in_flight,
            answered=self.answered,
            failed=self.failed,
            last_request_id=self.last_request_id,
            cells=tuple(
                CellView(name[0], name[2] if len(name) > 2 else "", cell.until - now, cell.rule, cell.reason)
                for name, cell in held
            ),
            history=self.history.view(now),
        )


def cell_record(name: Name, cell: Cell, now: float, wall: float) -> CellRecord:
    return CellRecord(name, wall + cell.until - now, wall + cell.since - now, cell.strikes, cell.rule, cell.reason)


def cell_of(record: CellRecord, now: float, wall: float) -> Cell:
    """The cell on the monotonic clock. Who met it is forgotten, so it cannot be narrowed to one key any more."""
    since = now + min(0.0, record.since - wall)
    until = max(since, now + min(record.until - wall, 86_400.0))
    return Cell(until, since, record.rule, record.reason, holder="", strikes=record.strikes)
