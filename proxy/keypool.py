"""
Which key may serve the next request, and what an upstream's answer does to a key. Pure.

Rule 1: a key's health changes only in `settle()` and `checked()`, by what `aftermath` makes of an answer, and by time.
Rule 2: no I/O, no awaiting, no logging here; clocks and jitter are handed in; what happened is returned as `Change`s.
Rule 3: choosing and reserving are one synchronous step: k requests at once on k idle keys use k different keys.
Rule 4: the choice is the key that alone has what is asked for; else the preferred one, if it is not much busier; else the first
        of `ranking`. After a failure of one upstream, the first of another's.
Rule 5: a success sent before a refusal does not wake the refused key; a client's mistake changes nothing, ever.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from proxy.aftermath import BREAKER, INCIDENT, Aftermath
from proxy.cells import Cell, Cells
from proxy.health import Event, KeyView, State
from proxy.key import Key
from proxy.lease import Change, Lease, NoKeyAvailable, Obstacle, Want
from proxy.ledger import Health
from proxy.ranking import Rankings, rank_of
from proxy.slot import Slot, cell_of, cell_record
from proxy.verdict import Rule, Verdict

UPSTREAM_RULES = frozenset({BREAKER, INCIDENT, str(Rule.REGION)})  # of cells that rest a whole upstream
NOBODY_WAKES = frozenset({Rule.RATE, Rule.QUOTA, Rule.SLOW_DOWN, Rule.OVERLOAD, Rule.MODEL, Rule.ADDRESS})
DONE = {Event.ENABLE: "key.enabled", Event.DISABLE: "key.disabled", Event.CLEAR: "key.cleared"}  # by the operator
MOST_BUSIER = 2  # requests; a prompt's memory is worth no longer a queue than that


class KeyPool:
    def __init__(
        self,
        keys: Sequence[Key],
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        on_change: Callable[[], None] = lambda: None,
        on_room: Callable[[], None] = lambda: None,
    ) -> None:
        """
        `clock` is monotonic, in seconds; `jitter` gives 0.0 … 1.0. `on_change` is called after every change of health,
        `on_room` whenever a request that found no key might find one now.
        """
        self._slots = {key.fingerprint: Slot(key) for key in keys}
        for place, slot in enumerate(self._slots.values()):
            slot.last_used = place - len(self._slots)  # those never used come first, in the order of the config
        self._retired: dict[str, Slot] = {}  # no longer configured, but requests are still on their way with them
        self._rankings = Rankings(self._slots.values())
        self._cells = Cells()
        self._clock, self._on_change, self._on_room = clock, on_change, on_room
        self._aftermath = Aftermath(self._slots, self._cells, clock=clock, jitter=jitter)
        self._leases = 0

    # --- choosing

    def lease(self, want: Want, *, avoiding: Collection[str] = ()) -> Lease:
        """Reserve the best key for `want`. Raises NoKeyAvailable. `avoiding`: names of keys this request has tried."""
        now = self._clock()
        if want.only and want.only not in self._slots:  # the key is gone from the config; another may share its account
            want = replace(want, only="")
        slot = self._best(want, avoiding, now)
        if slot is None:
            raise self._none_available(want, now)
        if want.preferred:
            slot = self._preferred(slot, want, avoiding, now)
        return self._reserve(slot, want.model, now)

    def _best(self, want: Want, avoiding: Collection[str], now: float) -> Slot | None:
        if want.only or want.needs_tokens or want.failing:  # rare, and not the key's fault: nobody is set aside for it
            able = (s for s in self._slots.values() if s.key.name not in avoiding and not self._obstacle(s, want, now))
            return min(able, key=lambda s: (s.key.upstream.name == want.failing, rank_of(s)), default=None)
        ranking = self._rankings.of(want.use, want.model)
        return ranking.first(now, lambda slot: self._obstacle(slot, want, now), avoiding)

    def _preferred(self, best: Slot, want: Want, avoiding: Collection[str], now: float) -> Slot:
        """The key that the request would rather have, unless it is much busier than the best."""
        slot = self._slots.get(want.preferred)
        if slot is None or slot.key.name in avoiding or slot.key.tier > best.key.tier:
            return best
        if slot.key.upstream.name == want.failing:
            return best
        if slot.in_flight > best.in_flight + MOST_BUSIER:
            return best
        return best if self._obstacle(slot, want, now) else slot

    def _reserve(self, slot: Slot, model: str, now: float) -> Lease:
        self._leases += 1
        lease = Lease(self._leases, slot.key, model, now)
        slot.in_flight += 1
        slot.last_used = lease.id
        self._rankings.changed(slot)
        if slot.state is not State.READY:
            slot.probe = lease.id
        if self._cells:
            lease.probed = self._cells.try_out(slot.cell_names(model), lease.id)
        return lease

    def lacking(self, want: Want) -> NoKeyAvailable | None:
        """Why no key can serve `want` now; None where one can."""
        now = self._clock()
        if any(self._obstacle(slot, want, now) is None for slot in self._slots.values()):
            return None
        return self._none_available(want, now)

    def _obstacle(self, slot: Slot, want: Want, now: float) -> Obstacle | None:
        """Why the key cannot serve now; None when it can."""
        key = slot.key
        if want.only and key.fingerprint != want.only:
            return Obstacle("exhausted")
        # What has no model but names an object is for the key that has the object, also where that is not the first upstream's.
        is_meant = want.use in key.uses if want.only and not want.model else key.serves(want.use, want.model)
        if not is_meant or (slot.tokens_limit or 0) < want.needs_tokens:
            return Obstacle("model" if want.model else "exhausted")
        held = self._cells.in_the_way(slot.cell_names(want.model), now) if self._cells else []
        if held and (cause := _cause(held)) == "upstream" and (seconds := _longest(held) - now) > 0:
            return Obstacle(cause, seconds)
        if not slot.is_open(now):
            again = None if slot.until is None else slot.until - now
            return Obstacle("busy") if slot.probe else Obstacle("exhausted", again)
        if held:
            seconds = _longest(held) - now
            return Obstacle(cause, seconds) if seconds > 0 else Obstacle("busy")  # a probe is in flight
        if key.max_concurrency and slot.in_flight >= key.max_concurrency:
            return Obstacle("busy")
        return None

    def _none_available(self, want: Want, now: float) -> NoKeyAvailable:
        usable = [s for s in self._slots.values() if want.use in s.key.uses]
        found = [o for s in usable if (o := self._obstacle(s, want, now))]
        waits = [(o.seconds, o.cause) for o in found if o.cause in ("cooling", "upstream") and o.seconds is not None]
        causes = {o.cause for o in found}
        if "busy" in causes or len(found) < len(usable):  # the keys it has tried are still well
            return NoKeyAvailable("busy", None)
        if waits:
            seconds, cause = min(waits)
            return NoKeyAvailable(cause, seconds)
        return NoKeyAvailable("model" if causes == {"model"} else "exhausted", None)

    # --- learning

    def settle(self, lease: Lease, verdict: Verdict, *, request_id: str = "") -> tuple[Change, ...]:
        """What the answer does to the key that gave it. Once per lease; a second verdict changes nothing."""
        slot = self._slots.get(lease.key.fingerprint)
        if lease.is_settled or slot is None:
            return ()
        lease.is_settled = True
        self._give_back(slot, lease)
        slot.last_request_id = request_id or slot.last_request_id
        organization = slot.key.organization or verdict.organization or slot.organization
        if organization != slot.organization:  # other cells stand in its way now
            slot.organization = organization
            self._rankings.changed(slot)
        slot.tokens_limit = verdict.tokens_limit or slot.tokens_limit
        changes = self._aftermath.answered(slot, lease, verdict)
        self._changed(changes, wakes=verdict.rule not in NOBODY_WAKES)
        return changes

    def release(self, lease: Lease) -> None:
        """The request is over, in whatever way: its place is free."""
        fingerprint = lease.key.fingerprint
        slot = self._slots.get(fingerprint) or self._retired.get(fingerprint)
        if slot is not None and not lease.is_released:
            lease.is_released = True
            slot.in_flight -= 1
            self._give_back(slot, lease)
            self._rankings.changed(slot)
            self._on_room()

    def _give_back(self, slot: Slot, lease: Lease) -> None:
        if lease.probed:
            self._cells.give_back(lease.probed, lease.id)
            self._rankings.wake()
        if slot.probe == lease.id:
            slot.probe = 0

    def _changed(self, changes: tuple[Change, ...], *, wakes: bool = True) -> None:
        now = self._clock() if changes else 0.0
        for change in changes:
            if slot := self._named(change.key):
                slot.history.note(now, change.event, change.rule, change.reason)
        if changes and wakes:
            self._rankings.wake()
        self._on_change()
        self._on_room()

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

    def key_named(self, name: str) -> Key | None:
        """For a free check that the operator asks for."""
        slot = self._named(name)
        return slot.key if slot else None

    def checked(self, key: Key, verdict: Verdict, *, is_asked_for: bool = False) -> tuple[Change, ...]:
        slot = self._slots.get(key.fingerprint)
        learn = self._aftermath.looked_at if is_asked_for else self._aftermath.checked
        changes = learn(slot, verdict) if slot else ()
        self._changed(changes)
        return changes

    def resting(self) -> tuple[tuple[Key, float], ...]:
        """A key of each upstream that rests because it failed, and the time now: `looked_for` wants both again."""
        now = self._clock()
        return tuple((key, now) for key in self._aftermath.resting().values())

    def looked_for(self, key: Key, verdict: Verdict, sent_at: float) -> None:
        if self._aftermath.looked_for(key, verdict, sent_at):
            self._rankings.wake()
            self._changed(())

    # --- from outside

    def snapshot(self) -> tuple[KeyView, ...]:
        """Every key as the operator sees it."""
        now = self._clock()
        return tuple(slot.view(self._cells, now) for slot in self._slots.values())

    def has_eligible(self) -> bool:
        """Whether any key could serve some request now."""
        now = self._clock()
        return any(s.is_open(now) and not self._cells.in_the_way(s.cell_names(""), now) for s in self._slots.values())

    def operate(self, name: str, event: Event) -> bool:
        """
        Enable or disable the key of this name, or clear it: whatever stands in its way is forgotten. False where there is no
        such key. Requests on their way end as they began.
        """
        slot = self._named(name)
        if slot is None:
            return False
        was_moved = slot.move(event, self._clock(), rule="", reason="", seconds=None)
        was_freed = event is Event.CLEAR and self._cells.drop(slot.cell_stems())
        if was_moved or was_freed:
            self._rankings.changed(slot)
            self._changed((Change(DONE[event], name, ""),))
        return True

    def _named(self, name: str) -> Slot | None:
        return next((slot for slot in self._slots.values() if slot.key.name == name), None)

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
        for record in health.keys:
            if slot := self._slots.get(record.fingerprint):
                slot.restore(record, now, wall)
        for cell in health.cells:
            if not cell.cell[0].startswith("key") or cell.cell[1] in self._slots:
                self._cells.hold(cell.cell, cell_of(cell, now, wall))
        self._rankings.wake()

    def reconfigure(self, keys: Sequence[Key]) -> None:
        """Other keys from now on; one whose secret is known keeps its health, whatever it is called now."""
        known = self._retired | self._slots
        self._aftermath.met(key for key in keys if key.fingerprint not in known)
        self._slots.clear()
        for place, key in enumerate(keys):
            slot = known.pop(key.fingerprint) if key.fingerprint in known else Slot(key)
            self._slots[key.fingerprint] = slot
            slot.last_used = slot.last_used or place - len(keys)
            slot.organization = key.organization or slot.organization
            slot.key = key
        self._retired = {fingerprint: slot for fingerprint, slot in known.items() if slot.in_flight}
        self._rankings = Rankings(self._slots.values())
        self._on_change()
        self._on_room()


def _cause(held: Collection[Cell]) -> str:
    rules = {cell.rule for cell in held}
    if rules & UPSTREAM_RULES:
        return "upstream"
    return "model" if rules == {Rule.MODEL} else "cooling"


def _longest(held: Collection[Cell]) -> float:
    return max(cell.until for cell in held)
