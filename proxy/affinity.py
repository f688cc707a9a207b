"""
Which key and which caller an object belongs to, and so which key must serve a request that names it. Pure.

Rule 1: an object belongs to the key whose account has it, and to the caller for whom it was made. Nobody else's request
        reaches it: to other callers it does not exist, unless they may see all.
Rule 2: an id that nobody made here passes freely: it was made before, or elsewhere, or is no id at all but a word. Upstreams
        judge it; to refuse it would break everything that existed before this gateway did.
Rule 3: an id keeps its first owner, and an answer that repeats an id of its request makes nobody an owner.
Rule 4: the 100,000 ids used last are remembered. What is forgotten passes freely, as if made elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import field, replace

from proxy.affinity_ledger import OwnedObject, Unsaved
from proxy.headers import Fields, Pairs
from proxy.made import MadeWatch
from proxy.objects import is_listing, is_telling, names_in, plain_path
from proxy.peek import Peek
from proxy.refusal import listing_not_allowed, objects_of_two_keys, unknown_object
from proxy.target import Target
from proxy.value import value_type

MOST_IDS = 100_000  # about 50 MB; a response kept every minute fills it in two months
MOST_SAVED_AT_ONCE = 1_000  # so that the questions of subscribers, which share the database, need not wait long
USED_SECONDS = 86_400.0  # a use is written down once a day: what is read every second must not be written every second


@value_type
class Claim:
    """
    What a request may reach. `key` is the fingerprint of the one key that can serve it, "" where any can.

    `caller` will own what the answer makes; `named` are the words of the request that an answer may repeat.
    """

    key: str = ""
    caller: str = ""
    is_telling: bool = False
    named: frozenset[str] = field(default=frozenset(), repr=False)


class Affinity:
    def __init__(self, *, on_change: Callable[[], None] = lambda: None, most_ids: int = MOST_IDS) -> None:
        """`on_change` is called when there is something to save."""
        self._objects: OrderedDict[str, OwnedObject] = OrderedDict()  # longest unused first
        self._unsaved: dict[str, None] = {}
        self._on_change, self._most_ids = on_change, most_ids

    def claim(self, method: str, target: Target, seen: Peek, *, caller: str, sees_all: bool, now: float) -> Claim:
        """
        What `caller` may reach by this request. Raises a Refusal: 404 for what is another's, 403 for a list, 400 for two keys.

        `sees_all`: it may, or there is no other caller. `now`: epoch seconds.
        """
        path, in_path = plain_path(target.path), names_in(target.path, target.query)
        if is_listing(method, path) and not sees_all:
            raise listing_not_allowed()
        known_in_path = self._known(in_path)
        known = known_in_path + self._known(seen.names - in_path)
        key = ""
        if known:
            if not sees_all:
                self.must_own(in_path | seen.names, caller)
            if len({made.key for made in known}) > 1:
                raise objects_of_two_keys()
            self._use(known, now)
            key = known[0].key
        # What came of an object that was made elsewhere was made elsewhere.
        if not is_telling(method, path, seen.is_stored) or (method == "GET" and not known_in_path):
            return Claim(key)
        # What is made inside an object is its owner's, whoever asked for it.
        owner = known_in_path[0].caller if known_in_path else caller
        return Claim(key, owner, True, in_path | seen.names)

    def must_own(self, names: frozenset[str], caller: str) -> None:
        """Raises a Refusal where one of `names` is another caller's."""
        if any(made.caller != caller for made in self._known(names)):
            raise unknown_object()

    def watch(self, claim: Claim, key: str, status: int, headers: Pairs, *, now: float) -> MadeWatch | None:
        """What to feed the answer to, which the key of fingerprint `key` gave; None where it tells of nothing new."""
        if not claim.is_telling or not 200 <= status < 300:
            return None
        fields = Fields.of(headers)
        kind = fields.get("content-type").lower()
        is_stream = kind.startswith("text/event-stream")
        if fields.get("content-encoding", "identity").lower() != "identity" or not (is_stream or "json" in kind):
            return None

        def tell(made: str) -> None:
            if made not in claim.named:
                self._learn(OwnedObject(made, key, claim.caller, now))

        return MadeWatch(tell, is_stream=is_stream)

    # --- remembering over a restart

    def restore(self, objects: Iterable[OwnedObject]) -> None:
        """Take up what a ledger loaded: longest unused first."""
        for made in objects:
            self._objects[made.id] = made
        self._forget_the_oldest()

    def unsaved(self) -> Unsaved:
        """What to save next; once that is done, `saved()` wants to hear of it."""
        ids = [made for made, _ in zip(self._unsaved, range(MOST_SAVED_AT_ONCE), strict=False)]
        kept = tuple(self._objects[made] for made in ids if made in self._objects)
        return Unsaved(kept, tuple(made for made in ids if made not in self._objects))

    def saved(self, done: Unsaved) -> None:
        """`done` is on disk. What has changed since remains to be saved."""
        for made in done.kept:
            if self._objects.get(made.id) is made:
                self._unsaved.pop(made.id, None)
        for forgotten in done.forgotten:
            if forgotten not in self._objects:
                self._unsaved.pop(forgotten, None)
        if self._unsaved:
            self._on_change()

    # --- inside

    def _known(self, names: frozenset[str]) -> list[OwnedObject]:
        return [self._objects[name] for name in self._objects.keys() & names] if self._objects else []

    def _use(self, objects: list[OwnedObject], now: float) -> None:
        for made in objects:
            self._objects.move_to_end(made.id)
            if now - made.used_at >= USED_SECONDS:
                self._objects[made.id] = replace(made, used_at=now)
                self._changed(made.id)

    def _learn(self, made: OwnedObject) -> None:
        if made.id not in self._objects:
            self._objects[made.id] = made
            self._changed(made.id)
            self._forget_the_oldest()

    def _forget_the_oldest(self) -> None:
        while len(self._objects) > self._most_ids:
            forgotten, _ = self._objects.popitem(last=False)
            self._changed(forgotten)

    def _changed(self, made: str) -> None:
        self._unsaved[made] = None
        self._on_change()
