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
from datetime import datetime, timedelta, tzinfo
from datetime import time as time_of_day

from proxy.errand import Errand
from proxy.usage import Tokens, UsageWatch
from proxy.usage_ledger import Usage

OTHER = "other"


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
        self._unsaved: dict[tuple[str, ...], Usage] = {}

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
        self._enter(
            Usage(
                self._today(),
                caller,
                key,
                model if model in self.models else OTHER,
                tokens.kind,
                requests=1,
                prompt_tokens=tokens.prompt,
                completion_tokens=tokens.completion,
                cached_tokens=tokens.cached,
            )
        )
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
            self._spend(usage)

    def unsaved(self) -> tuple[Usage, ...]:
        return tuple(self._unsaved.values())

    def saved(self, rows: Sequence[Usage]) -> None:
        """These were written down. What came since stays."""
        for row in rows:
            left = _sum(self._unsaved.pop(row.label), row, -1)
            if left.requests:
                self._unsaved[row.label] = left

    def _enter(self, usage: Usage) -> None:
        known = self._unsaved.get(usage.label)
        self._unsaved[usage.label] = _sum(known, usage, 1) if known else usage
        self.totals[usage.label[1:]] += usage.prompt_tokens + usage.completion_tokens
        self._spend(usage)

    def _spend(self, usage: Usage) -> None:
        mine, tokens = (usage.day, usage.caller), usage.prompt_tokens + usage.completion_tokens
        self._spent[mine] = self._spent.get(mine, 0) + tokens
        by_key = self._today_by.setdefault((*mine, usage.key), Counter())
        by_key["requests"] += usage.requests
        by_key["tokens"] += tokens

    def _today(self) -> str:
        today = self._days.today()
        if today not in self._newest_days:  # two days are remembered: the clock may go back over midnight
            self._newest_days = (self._newest_days[1], today)
            self._spent = {label: spent for label, spent in self._spent.items() if label[0] in self._newest_days}
            self._today_by = {label: used for label, used in self._today_by.items() if label[0] in self._newest_days}
        return today


def _sum(usage: Usage, other: Usage, sign: int) -> Usage:
    return Usage(
        *usage.label,
        requests=usage.requests + sign * other.requests,
        prompt_tokens=usage.prompt_tokens + sign * other.prompt_tokens,
        completion_tokens=usage.completion_tokens + sign * other.completion_tokens,
        cached_tokens=usage.cached_tokens + sign * other.cached_tokens,
    )
