"""
Which key may serve the next request, and what an upstream's answer does to a key. Pure.

Rule 1: a key's health changes only in `settle()` and `checked()`, by `health.TRANSITIONS` and `penalty`, and by time.
Rule 2: no I/O, no awaiting, no logging here; clocks and jitter are handed in; what happened is returned as `Change`s.
Rule 3: choosing and reserving are one synchronous step: k requests at once on k idle keys use k different keys.
Rule 4: the choice is the lowest tier, then the least (in flight + 1) / weight, then the least recently used.
Rule 5: a success sent before a refusal does not wake the refused key; a client's mistake changes nothing, ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from proxy.cells import Cell, Cells
from proxy.health import Event, KeyView, State
from proxy.key import Key
from proxy.lease import EVENT_OF_STATE, Change, Lease, NoKeyAvailable, Obstacle, Want
from proxy.ledger import Health
from proxy.penalty import Cooldown, Downfall, penalty
from proxy.slot import Slot, cell_of, cell_record
from proxy.verdict import Rule, Verdict

CHECK_AGAIN = 60.0  # seconds; where a free check told nothing
OVERLOAD_WINDOW = 10.0  # seconds in which two keys that meet an overload show that the model is overloaded


class KeyPool:
    def __init__(
        self,
        keys: Sequence[Key],
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`clock` is monotonic, in seconds; `jitter` gives 0.0 … 1.0; `on_change` is called after every change of health."""
        self._slots = {key.name: Slot(key) for key in keys}
        self._cells = Cells()
        self._clock, self._jitter, self._on_change = clock, jitter, on_change
        self._leases = 0

    # --- choosing

    def lease(self, want: Want, *, avoiding: Collection[str] = ()) -> Lease:
        """Reserve the best key for `want`. Raises NoKeyAvailable. `avoiding`: names of keys this request has tried."""
        now = self._clock()
        open_slots = [
            s for s in self._slots.values() if s.key.name not in avoiding and not self._obstacle(s, want, now)
        ]
        if not open_slots:
            raise self._none_available(want, now, avoiding)
        slot = min(open_slots, key=lambda s: (s.key.tier, (s.in_flight + 1) / s.key.weight, s.last_used))
        self._leases += 1
        lease = Lease(self._leases, slot.key, want.model, now)
        slot.in_flight += 1
        slot.last_used = lease.id
        if slot.state is not State.READY:
            slot.probe = lease.id
        if self._cells:
            lease.probed = self._cells.try_out(slot.cell_names(want.model), lease.id)
        return lease

    def _obstacle(self, slot: Slot, want: Want, now: float) -> Obstacle | None:
        """Why the key cannot serve now; None when it can."""
        key = slot.key
        if not key.serves(want.use, want.model) or (slot.tokens_limit or 0) < want.needs_tokens:
            return Obstacle("model")
        if not slot.is_open(now):
            return Obstacle("exhausted")
        if self._cells and (held := self._cells.in_the_way(slot.cell_names(want.model), now)):
            cause = "model" if all(cell.rule == Rule.MODEL for cell in held) else "cooling"
            return Obstacle(cause, max(max(cell.until - now, 0.0) for cell in held))
        if key.max_concurrency and slot.in_flight >= key.max_concurrency:
            return Obstacle("busy")
        return None

    def _none_available(self, want: Want, now: float, avoiding: Collection[str]) -> NoKeyAvailable:
        found = [o for s in self._slots.values() if (o := self._obstacle(s, want, now))]
        waits = [o.seconds for o in found if o.cause == "cooling" and o.seconds is not None]
        causes = {o.cause for o in found}
        if waits:
            return NoKeyAvailable("cooling", min(waits))
        if "busy" in causes or len(found) < len(self._slots):  # the keys it has tried are still well
            return NoKeyAvailable("busy", None)
        return NoKeyAvailable("model" if causes == {"model"} else "exhausted", None)

    # --- learning

    def settle(self, lease: Lease, verdict: Verdict, *, request_id: str = "") -> tuple[Change, ...]:
        """What the answer does to the key that gave it. Once per lease; a second verdict changes nothing."""
        slot = self._slots.get(lease.key.name)
        if lease.is_settled or slot is None:
            return ()
        lease.is_settled = True
        self._give_back(slot, lease)
        slot.last_request_id = request_id or slot.last_request_id
        slot.organization = slot.key.organization or verdict.organization or slot.organization
        slot.tokens_limit = verdict.tokens_limit or slot.tokens_limit
        changes = self._succeeded(slot, lease) if verdict.rule is Rule.OK else self._refused(slot, lease, verdict)
        self._on_change()
        return changes

    def release(self, lease: Lease) -> None:
        """The request is over, in whatever way: its place is free."""
        slot = self._slots.get(lease.key.name)
        if slot is not None and not lease.is_released:
            lease.is_released = True
            slot.in_flight -= 1
            self._give_back(slot, lease)

    def _give_back(self, slot: Slot, lease: Lease) -> None:
        self._cells.give_back(lease.probed, lease.id)
        if slot.probe == lease.id:
            slot.probe = 0

    def _succeeded(self, slot: Slot, lease: Lease) -> tuple[Change, ...]:
        slot.answered += 1
        changes = []
        for name in slot.cell_names(lease.model) if self._cells else ():
            cell = self._cells.end(name, sent_at=lease.sent_at)
            if cell is None:
                continue
            if (
                name[0] == "organization-model"
                and cell.holder not in ("", slot.key.fingerprint)
                and cell.until > lease.sent_at
            ):
                # The limit is not shared (projects have their own): it holds for the key that met it alone.
                self._cells.hold(("key-model", cell.holder, lease.model), cell)
            else:
                changes.append(Change("key.recovered", slot.key.name, cell.rule))
        if slot.state is not State.READY and lease.sent_at > slot.since:
            changes.append(Change("key.recovered", slot.key.name, slot.rule))
            slot.move(Event.OK, self._clock(), rule="", reason="", seconds=None)
        return tuple(changes)

    def _refused(self, slot: Slot, lease: Lease, verdict: Verdict) -> tuple[Change, ...]:
        if verdict.rule not in (Rule.CLIENT, Rule.GONE, Rule.TOO_LARGE):
            slot.failed += 1
        now = self._clock()
        match penalty(verdict, slot.key, model=lease.model, organization=slot.organization):
            case Cooldown() as cooldown:
                return self._cool(slot, lease, verdict, cooldown, now)
            case Downfall() as downfall if lease.sent_at > slot.since:
                return self._fall(slot, verdict, downfall, now)
        return ()

    def _cool(self, slot: Slot, lease: Lease, verdict: Verdict, cooldown: Cooldown, now: float) -> tuple[Change, ...]:
        known = self._cells.get(cooldown.cell)
        # Requests that were in flight together and refused together are one strike.
        strikes = known.strikes - (lease.sent_at <= known.since) if known else 0
        seconds = cooldown.seconds_after(strikes, self._jitter())
        cell = Cell(now + seconds, now, verdict.rule, verdict.reason, slot.key.fingerprint, strikes + 1)
        self._cells.hold(cooldown.cell, cell)
        if verdict.rule is Rule.OVERLOAD and lease.model and self._another_is_overloaded(slot, lease.model, now):
            name = ("upstream-model", slot.key.upstream.name, lease.model)
            self._cells.hold(name, Cell(cell.until, now, cell.rule, cell.reason, cell.holder))
        return (Change("key.cooled", slot.key.name, verdict.rule, seconds, verdict.reason),)

    def _another_is_overloaded(self, slot: Slot, model: str, now: float) -> bool:
        return any(
            (cell := self._cells.get(("key-model", other.key.fingerprint, model)))
            and cell.rule == Rule.OVERLOAD
            and now - cell.since <= OVERLOAD_WINDOW
            for other in self._slots.values()
            if other is not slot and other.key.upstream == slot.key.upstream
        )

    def _fall(self, slot: Slot, verdict: Verdict, downfall: Downfall, now: float) -> tuple[Change, ...]:
        together = [slot]
        if downfall.takes_organization and slot.organization:
            together = [s for s in self._slots.values() if s.organization == slot.organization]
        seconds = downfall.seconds_after(slot.strikes)
        return tuple(
            Change(f"key.{EVENT_OF_STATE[s.state]}", s.key.name, verdict.rule, seconds, verdict.reason)
            for s in together
            if s.move(downfall.event, now, rule=verdict.rule, reason=verdict.reason, seconds=seconds)
        )

    # --- free checks of keys that were rejected

    def next_check_at(self) -> float | None:
        """When the next free check is due, on the pool's clock."""
        return min((s.check_at for s in self._slots.values() if s.check_at is not None), default=None)

    def checks_due(self) -> tuple[Key, ...]:
        """The keys to look at now, each handed out once: `checked()` must be called for it, whatever came of it."""
        now = self._clock()
        due = [s for s in self._slots.values() if s.check_at is not None and s.check_at <= now]
        for slot in due:
            slot.check_at = None
        return tuple(slot.key for slot in due)

    def checked(self, key: Key, verdict: Verdict) -> tuple[Change, ...]:
        slot = self._slots.get(key.name)
        if slot is None or slot.state not in (State.SUSPECT, State.DEAD):
            return ()
        now, was = self._clock(), slot.state
        event = {
            Rule.OK: Event.CHECK_PASSED,
            Rule.AUTH: Event.CHECK_REJECTED,
            Rule.DEAD: Event.CHECK_REJECTED,
        }.get(verdict.rule)
        if event is None:
            slot.check_at = now + CHECK_AGAIN
            return ()
        rule, reason = (slot.rule, verdict.reason) if event is Event.CHECK_REJECTED else ("", "")
        slot.move(event, now, rule=rule, reason=reason, seconds=None)
        self._on_change()
        if slot.state is was:
            return ()
        return (Change(f"key.{EVENT_OF_STATE[slot.state]}", slot.key.name, verdict.rule, None, verdict.reason),)

    # --- from outside

    def snapshot(self) -> tuple[KeyView, ...]:
        """Every key as the operator sees it."""
        now = self._clock()
        return tuple(slot.view(self._cells, now) for slot in self._slots.values())

    def has_eligible(self) -> bool:
        """Whether any key could serve some request now."""
        now = self._clock()
        return any(
            s.is_open(now) and not self._cells.in_the_way((("key", s.key.fingerprint), *s.cell_names("")), now)
            for s in self._slots.values()
        )

    def health(self, *, wall: float) -> Health:
        """Everything to be remembered over a restart; `wall` is the time now, epoch seconds."""
        now = self._clock()
        return Health(
            tuple(slot.record(now, wall) for slot in self._slots.values()),
            tuple(cell_record(name, cell, now, wall) for name, cell in self._cells),
        )

    def restore(self, health: Health, *, wall: float) -> None:
        """Take up what `health()` gave before; records of keys that are no longer configured are left out."""
        now = self._clock()
        slots = {slot.key.fingerprint: slot for slot in self._slots.values()}
        for record in health.keys:
            if slot := slots.get(record.fingerprint):
                slot.restore(record, now, wall)
        for cell in health.cells:
            if not cell.cell[0].startswith("key") or cell.cell[1] in slots:
                self._cells.hold(cell.cell, cell_of(cell, now, wall))
