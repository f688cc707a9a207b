"""
What an upstream's answer does to the key that met it, to its organization, and to its upstream. Pure.

Rule 1: a success sent before a refusal does not undo it; refusals of requests that were in flight together are one strike.
Rule 2: what a rule costs is `penalty`'s table; when the upstream is to blame instead of its keys is `guard`'s.
Rule 3: every change is returned, for the log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from proxy.cells import Cell, Cells
from proxy.guard import (
    BREAKER_BASE,
    BREAKER_MOST,
    FAILURES,
    INCIDENT_REASON,
    INCIDENT_REST,
    REJECTIONS,
    SILENT,
    UpstreamGuard,
)
from proxy.health import Event, State
from proxy.key import Key
from proxy.lease import EVENT_OF_STATE, Change, Lease
from proxy.penalty import Cooldown, Downfall, penalty
from proxy.slot import Slot
from proxy.verdict import BLAMELESS, Rule, Verdict

CHECK_AGAIN = 60.0  # seconds; where a free check told nothing
OVERLOAD_WINDOW = 10.0  # seconds in which two keys that meet an overload show that the model is overloaded
BREAKER, INCIDENT = "breaker", "incident"  # rules of cells that no single answer makes

Changes = tuple[Change, ...]


class Aftermath:
    """Works on the pool's own slots and cells; `slots` are by fingerprint."""

    def __init__(
        self,
        slots: Mapping[str, Slot],
        cells: Cells,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._slots, self._cells, self._clock, self._jitter = slots, cells, clock, jitter
        self._guards: dict[str, UpstreamGuard] = defaultdict(UpstreamGuard)  # by the upstream's name

    def answered(self, slot: Slot, lease: Lease, verdict: Verdict) -> Changes:
        """A request was answered, or its connection failed."""
        if verdict.rule is Rule.OK:
            self._guards[slot.key.upstream.name].succeeded(slot.key.fingerprint, lease.sent_at)
            return self._succeeded(slot, lease) + self._weighed(slot, lease, verdict)
        return self._refused(slot, lease, verdict) + self._weighed(slot, lease, verdict)

    def checked(self, slot: Slot, verdict: Verdict) -> Changes:
        """What a free check told of a key that was rejected; of any other, `looked_at` asks."""
        if slot.state not in (State.SUSPECT, State.DEAD):
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
        if event is Event.CHECK_PASSED:
            self._guards[slot.key.upstream.name].succeeded(slot.key.fingerprint, now)
        elif pardoned := self._pardoned(slot, verdict, now):
            return pardoned
        if slot.state is was:
            return ()
        return (Change(f"key.{EVENT_OF_STATE[slot.state]}", slot.key.name, verdict.rule, None, verdict.reason),)

    def looked_at(self, slot: Slot, verdict: Verdict) -> Changes:
        """What a free check told that the operator asked for, whatever the key's state. It costs the key no cooldown."""
        now, checked = self._clock(), Change("key.checked", slot.key.name, verdict.rule, None, verdict.reason)
        if slot.state in (State.SUSPECT, State.DEAD):
            return (checked, *self.checked(slot, verdict))
        if verdict.rule is Rule.OK and slot.state is State.BLOCKED_IP:
            slot.move(Event.OK, now, rule="", reason="", seconds=None)
            return (checked, Change("key.recovered", slot.key.name, slot.rule))
        fine = penalty(verdict, slot.key, model="", organization=slot.organization)
        return (checked, *self._fall(slot, verdict, fine, now)) if isinstance(fine, Downfall) else (checked,)

    def resting(self) -> dict[str, Key]:
        """A key of each upstream that rests because it failed, by the upstream's name."""
        now, found = self._clock(), dict[str, Key]()
        for slot in self._slots.values():
            cell = self._cells.get(("upstream", slot.key.upstream.name))
            if cell is not None and cell.rule == BREAKER and cell.until > now:
                found.setdefault(slot.key.upstream.name, slot.key)
        return found

    def looked_for(self, key: Key, verdict: Verdict, sent_at: float) -> bool:
        """
        What a look at a resting upstream told: after whatever is not a failure of its own, one request may try at once. Whether
        that is so.
        """
        cell = self._cells.get(("upstream", key.upstream.name))
        if verdict.rule in FAILURES or cell is None or cell.rule != BREAKER or sent_at <= cell.since:
            return False
        cell.until = min(cell.until, self._clock())
        return True

    def met(self, strangers: Iterable[Key]) -> None:
        """Keys that nobody has tried yet: an upstream that rests because it rejected all others may take them."""
        for name in {("upstream", key.upstream.name) for key in strangers}:
            if (cell := self._cells.get(name)) is not None and cell.rule == INCIDENT:
                self._cells.drop({name})

    def _succeeded(self, slot: Slot, lease: Lease) -> Changes:
        slot.has_answered(self._clock())
        changes = []
        for name in slot.cell_names(lease.model) if self._cells else ():
            cell = self._cells.end(name, sent_at=lease.sent_at)
            if cell is None:
                continue
            is_mine = cell.holder in ("", slot.key.fingerprint)
            if name[0].startswith("organization") and not is_mine and cell.until > lease.sent_at:
                # The limit is not shared (projects have their own): it holds for the key that met it alone.
                narrowed = (name[0].replace("organization", "key"), cell.holder, *name[2:])
                self._cells.hold(narrowed, replace(cell, probe=0))
                changes.append(self._narrowed(cell))
            else:
                changes.append(Change("key.recovered", slot.key.name, cell.rule))
        if slot.state is not State.READY and lease.sent_at > slot.since:
            changes.append(Change("key.recovered", slot.key.name, slot.rule))
            slot.move(Event.OK, self._clock(), rule="", reason="", seconds=None)
        return tuple(changes)

    def _narrowed(self, cell: Cell) -> Change:
        holder = self._slots.get(cell.holder)
        seconds = cell.until - self._clock()
        return Change("limit.narrowed", holder.key.name if holder else "", cell.rule, seconds, cell.reason)

    def _refused(self, slot: Slot, lease: Lease, verdict: Verdict) -> Changes:
        now = self._clock()
        if verdict.rule not in BLAMELESS:
            slot.has_failed(now)
        match penalty(verdict, slot.key, model=lease.model, organization=slot.organization):
            case Cooldown() as cooldown:
                return self._cool(slot, lease, verdict, cooldown, now)
            case Downfall() as downfall if lease.sent_at > slot.since:
                return self._fall(slot, verdict, downfall, now)
        return ()

    def _cool(self, slot: Slot, lease: Lease, verdict: Verdict, cooldown: Cooldown, now: float) -> Changes:
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

    def _fall(self, slot: Slot, verdict: Verdict, downfall: Downfall, now: float) -> Changes:
        together = [slot]
        if downfall.takes_organization and slot.organization:
            together = [s for s in self._slots.values() if s.organization == slot.organization]
        seconds = downfall.seconds_after(slot.strikes)
        return tuple(
            Change(f"key.{EVENT_OF_STATE[s.state]}", s.key.name, verdict.rule, seconds, verdict.reason)
            for s in together
            if s.move(downfall.event, now, rule=verdict.rule, reason=verdict.reason, seconds=seconds)
        )

    # --- when the upstream is to blame

    def _weighed(self, slot: Slot, lease: Lease, verdict: Verdict) -> Changes:
        now, guard = self._clock(), self._guards[slot.key.upstream.name]
        name = ("upstream", slot.key.upstream.name)
        known = self._cells.get(name)
        is_trial = known is not None and known.rule == BREAKER and lease.sent_at > known.since
        if is_trial and verdict.rule not in FAILURES | SILENT:
            self._cells.end(name, sent_at=lease.sent_at)
            return (Change("upstream.recovered", slot.key.name, BREAKER),)
        if guard.breaks(verdict.rule, now) or (is_trial and verdict.rule in FAILURES):
            strikes = known.strikes if known and is_trial else 0
            seconds = min(BREAKER_BASE * 2.0 ** min(strikes, 32), BREAKER_MOST)
            reason = f"it failed {verdict.rule} again and again"
            self._cells.hold(name, Cell(now + seconds, now, BREAKER, reason, slot.key.fingerprint, strikes + 1))
            return (Change("upstream.rested", slot.key.name, BREAKER, seconds, reason),)
        return self._pardoned(slot, verdict, now) if verdict.rule in REJECTIONS else ()

    def _pardoned(self, slot: Slot, verdict: Verdict, now: float) -> Changes:
        upstream = slot.key.upstream.name
        keys = sum(s.key.upstream.name == upstream and s.state is not State.DISABLED for s in self._slots.values())
        pardoned = self._guards[upstream].pardons(slot.key.fingerprint, now, keys=keys)
        if not pardoned:
            return ()
        self._suspect(pardoned, verdict, now)
        cell = Cell(now + INCIDENT_REST, now, INCIDENT, INCIDENT_REASON, slot.key.fingerprint)
        self._cells.hold(("upstream", upstream), cell)
        return (Change("upstream.rested", slot.key.name, INCIDENT, INCIDENT_REST, INCIDENT_REASON),)

    def _suspect(self, fingerprints: Collection[str], verdict: Verdict, now: float) -> None:
        for fingerprint in fingerprints:
            slot = self._slots.get(fingerprint)
            if slot and slot.move(Event.PARDON, now, rule=verdict.rule, reason=INCIDENT_REASON, seconds=None):
                slot.check_at = now + INCIDENT_REST
