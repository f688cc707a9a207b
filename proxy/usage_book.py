"""
What callers use, as it happens: today's tokens of each, and what the ledger has not been told yet. Pure.

Rule 1: a day is one of `server.timezone`, by the wall clock; a clock that jumps over midnight and back forgets nothing.
Rule 2: `add` is synchronous; whoever saves takes `unsaved()`, writes it down, and then says `saved()` of the same rows, so
        that what could not be written is written the next time, once.
Rule 3: models are told apart where the configuration names them; all others are one, or callers could invent rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta, tzinfo
from datetime import time as time_of_day

from proxy.errand import Errand
from proxy.usage import Tokens, UsageWatch
from proxy.usage_ledger import Usage

OTHER = "other"
Label = tuple[str, str, str, str, str]  # day, caller, key, model, kind


class Days:
    def __init__(self, zone: tzinfo, wall_clock: Callable[[], float]) -> None:
        """`wall_clock` gives epoch seconds."""
        self._zone, self._wall_clock = zone, wall_clock
        self._at: tuple[int | None, str] = (None, "")  # a second, and its day

    def today(self) -> str:
        second = int(self._wall_clock())
        if second != self._at[0]:
            self._at = second, datetime.fromtimestamp(second, self._zone).date().isoformat()
        return self._at[1]

    def ago(self, days: int) -> str:
        """The day that many days before today."""
        return (date.fromisoformat(self.today()) - timedelta(days)).isoformat()

    def seconds_left(self) -> float:
        """Until the next day begins."""
        now = self._wall_clock()
        tomorrow = datetime.fromtimestamp(now, self._zone).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time_of_day(), self._zone).timestamp() - now


class UsageBook:
    def __init__(self, models: Collection[str], days: Days, *, on_change: Callable[[], None] = lambda: None) -> None:
        """`models` are the configured names; `on_change` is called after every `add`."""
        self.models = frozenset(models)
        self._days, self._on_change = days, on_change
        self._spent: dict[tuple[str, str], int] = {}
        self._today_by: dict[tuple[str, str, str], Counter[str]] = {}  # day, caller, key: requests and tokens
        self.totals: Counter[tuple[str, str, str, str]] = (
            Counter()
        )  # tokens by caller, key, model, kind since the start
        self._newest_days = ("", "")
        self._unsaved: dict[Label, list[int]] = {}  # requests; tokens of prompts, of completions, cached

    @contextmanager
    def watching(self, errand: Errand, sent: bytes) -> Iterator[UsageWatch]:
        """A watch for the errand's answer. What it saw is entered at the end, however that comes. `sent`: see UsageWatch."""
        watch = UsageWatch(errand.call, sent)
        try:
            yield watch
        finally:
            self.close(watch, errand)

    def close(self, watch: UsageWatch, errand: Errand) -> None:
        """Enter what it saw."""
        tokens = watch.tokens()
        if tokens is not None and errand.call.caller:  # whoever brings a key of its own is nobody's to count
            self.add(errand.call.caller, errand.attempts[-1].key, errand.call.model, tokens)

    def add(self, caller: str, key: str, model: str, tokens: Tokens) -> None:
        label = self._today(), caller, key, model if model in self.models else OTHER, str(tokens.kind)
        unsaved = self._unsaved.get(label)
        if unsaved is None:
            unsaved = self._unsaved[label] = [0, 0, 0, 0]
        unsaved[0] += 1
        unsaved[1] += tokens.prompt
        unsaved[2] += tokens.completion
        unsaved[3] += tokens.cached
        self.totals[label[1:]] += tokens.total
        self._spend(label, 1, tokens.total)
        self._on_change()

    def spent_today(self, caller: str) -> int:
        """Tokens of questions and answers, reported and estimated."""
        return self._spent.get((self._today(), caller), 0)

    def today_by_caller(self) -> Mapping[str, Counter[str]]:
        """Today's "requests" that used anything, and their "tokens", by the caller's name."""
        return self._today_sums(1)

    def today_by_key(self) -> Mapping[str, Counter[str]]:
        return self._today_sums(2)

    def _today_sums(self, part: int) -> Mapping[str, Counter[str]]:
        today, sums = self._today(), dict[str, Counter[str]]()
        for label, used in self._today_by.items():
            if label[0] == today:
                sums.setdefault(label[part], Counter()).update(used)
        return sums

    def restore(self, used: Sequence[Usage]) -> None:
        """Take up the sums that the ledger has of today."""
        self._today()
        for usage in used:
            self._spend(usage.label, usage.requests, usage.prompt_tokens + usage.completion_tokens)

    def unsaved(self) -> tuple[Usage, ...]:
        return tuple(Usage(*label, *sums) for label, sums in self._unsaved.items())

    def saved(self, rows: Sequence[Usage]) -> None:
        """These were written down. What came since stays."""
        for row in rows:
            sums = self._unsaved[row.label]
            written = (row.requests, row.prompt_tokens, row.completion_tokens, row.cached_tokens)
            sums[:] = [now - then for now, then in zip(sums, written, strict=True)]
            if not sums[0]:
                del self._unsaved[row.label]

    def _spend(self, label: Label, requests: int, tokens: int) -> None:
        mine = label[:2]
        self._spent[mine] = self._spent.get(mine, 0) + tokens
        by_key = self._today_by.get(label[:3])
        if by_key is None:
            by_key = self._today_by[label[:3]] = Counter()
        by_key["requests"] += requests
        by_key["tokens"] += tokens

    def _today(self) -> str:
        today = self._days.today()
        if today not in self._newest_days:  # two days are remembered: the clock may go back over midnight
            self._newest_days = (self._newest_days[1], today)
            self._spent = {label: spent for label, spent in self._spent.items() if label[0] in self._newest_days}
            self._today_by = {label: used for label, used in self._today_by.items() if label[0] in self._newest_days}
        return today
