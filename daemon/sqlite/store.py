"""
The store of exchanges on disk.

Rule 1: a column of `exchange` has the name of the field of Exchange it holds; a row is read in the order of the fields.
Rule 2: one method is one transaction, or one read; `begin()` looks a second time where it finds that it has nothing to begin.
Rule 3: INDEXED BY stands where SQLite would rather read everybody's rows in one state than one subscriber's, or scan. It also
        makes a query fail, not crawl, when its condition and the index drift apart.
"""

# ruff: noqa: S608 - what is put into a statement here are names of columns; values are parameters

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import fields
from math import inf
from operator import attrgetter
from typing import Any

from bot.exchange import ASKED, Exchange, Kind, Reason, State
from bot.store import Conversation, Glance
from daemon.sqlite.subscribers import SqliteSubscribers, subscriber_of

_FIELDS = tuple(field.name for field in fields(Exchange))
COLUMNS = ", ".join(_FIELDS)
_STATE, _REASON, _KIND, _PARTS = map(_FIELDS.index, ("state", "reason", "kind", "parts"))
# Where a column of an index is named, SQLite makes its entry anew, though the value be the same.
_CHANGING = tuple(name for name in _FIELDS if name not in ASKED)
_STATES, _REASONS, _KINDS = ({each.value: each for each in names} for names in (State, Reason, Kind))

# As the indexes exchange_uncollected and exchange_mailbox have it.
_UNCOLLECTED = "(state IN ('queued', 'thinking', 'answered') OR (state = 'failed' AND collected_by = ''))"
PENDING = f"""
    SELECT {COLUMNS}
      FROM exchange INDEXED BY exchange_uncollected
     WHERE {_UNCOLLECTED}
     ORDER BY asked_at,
              arrival
     LIMIT :limit
    OFFSET :offset
"""


def exchange_of(row: sqlite3.Row) -> Exchange:
    """`row` has COLUMNS."""
    values = list(row)
    values[_STATE] = _STATES[values[_STATE]]
    values[_REASON] = values[_REASON] and _REASONS[values[_REASON]]
    values[_KIND] = _KINDS[values[_KIND]]
    values[_PARTS] = tuple(json.loads(values[_PARTS])) if values[_PARTS] != "[]" else ()
    return Exchange(*values)


def _packed(names: Sequence[str]) -> Callable[[Exchange], list[Any]]:
    """The values of these columns, in their order."""
    values, parts = attrgetter(*names), names.index("parts")

    def packed(exchange: Exchange) -> list[Any]:
        row = list(values(exchange))
        row[parts] = json.dumps(exchange.parts) if exchange.parts else "[]"
        return row

    return packed


_row = _packed(_FIELDS)
_changes = _packed((*_CHANGING, "id"))
_BEGIN = f"""
    INSERT INTO exchange ({COLUMNS})
    VALUES ({", ".join("?" for _ in _FIELDS)})
    ON CONFLICT (account, openid, push_id) DO NOTHING
    RETURNING id
"""
_KNOWN = f"SELECT {COLUMNS} FROM exchange WHERE account = :account AND openid = :openid AND push_id = :push_id"
_SAVE = f"""
    UPDATE exchange
       SET {", ".join(f"{name} = ?" for name in _CHANGING)}
     WHERE id = ?
    RETURNING id
"""
# As nobody can have changed it and left these as they were.
_UNCHANGED = (
    "state",
    "started_at",
    "answered_at",
    "collected_at",
    "not_before",
    "next_page",
    "collected_by",
    "sent_pages",
)
_version = attrgetter(*_UNCHANGED)
_REPLACE = _SAVE.replace("RETURNING", "".join(f"AND {name} = ?\n       " for name in _UNCHANGED) + "RETURNING")


_GLANCE = f"""
    SELECT {COLUMNS}
      FROM exchange INDEXED BY exchange_by_push
     WHERE account = :account AND openid = :openid
       AND ({_UNCOLLECTED} OR :push_id IN (push_id, collected_by))
     ORDER BY asked_at,
              arrival
"""
# Which they are is found out first: else the long texts of all that the subscriber ever asked are sorted along.
_RECENT = f"""
    SELECT {COLUMNS}
      FROM exchange
     WHERE arrival IN (
            SELECT arrival
              FROM exchange INDEXED BY exchange_by_push
              LEFT JOIN clearing USING (account, openid)
             WHERE account = :account AND openid = :openid
               AND state IN ('answered', 'collected')
               AND answered_at >= :since
               AND (cleared_at IS NULL OR asked_at > cleared_at)
             ORDER BY answered_at DESC,
                      arrival DESC
             LIMIT :limit
           )
     ORDER BY answered_at DESC,
              arrival DESC
"""
_PERSONA = "SELECT persona FROM subscriber WHERE account = ? AND openid = ?"


class SqliteStore(SqliteSubscribers):
    """`bot.store.ExchangeStore` over an open database."""

    async def begin(self, exchange: Exchange) -> Exchange:
        whose = {name: getattr(exchange, name) for name in ("account", "openid", "push_id")}
        while True:
            [begun] = await self._database.write((_BEGIN, _row(exchange)))
            if begun:
                return exchange
            if known := await self._select(_KNOWN, **whose):  # else it was forgotten in between
                return known[0]

    async def save(self, exchange: Exchange, *, instead_of: Exchange | None = None) -> bool:
        changes = _changes(exchange)
        if instead_of is None:
            [saved] = await self._database.write((_SAVE, changes))
        else:
            [saved] = await self._database.write((_REPLACE, [*changes, *_version(instead_of)]))
        return bool(saved)

    async def get(self, exchange_id: str) -> Exchange | None:
        found = await self._select(f"SELECT {COLUMNS} FROM exchange WHERE id = :id", id=exchange_id)
        return found[0] if found else None

    async def glance(self, account: str, openid: str, push_id: str, *, today: float, lately: float) -> Glance:
        whose = {"account": account, "openid": openid, "push_id": push_id}
        rows, subscriber = await self._database.read_all(
            (_GLANCE, whose), self._of_subscriber(account, openid, today, lately)
        )
        exchanges = [exchange_of(row) for row in rows]
        asked = [exchange for exchange in exchanges if exchange.push_id == push_id]
        collected = [exchange for exchange in exchanges if exchange.collected_by == push_id]
        known = asked[0] if asked else max(collected, key=lambda exchange: exchange.collected_at, default=None)
        waiting = [exchange for exchange in exchanges if exchange.is_uncollected]
        return Glance(known, waiting, subscriber_of(subscriber))

    async def conversation(self, account: str, openid: str, *, limit: int) -> Conversation:
        newest_first, personas = await self._database.read_all(
            (_RECENT, {"account": account, "openid": openid, "since": -inf, "limit": limit}),
            (_PERSONA, (account, openid)),
        )
        return Conversation([exchange_of(row) for row in newest_first][::-1], personas[0][0] if personas else "")

    async def mailbox(self, account: str, openid: str) -> Sequence[Exchange]:
        select = f"""
            SELECT {COLUMNS}
              FROM exchange INDEXED BY exchange_mailbox
             WHERE account = :account AND openid = :openid
               AND {_UNCOLLECTED}
             ORDER BY asked_at,
                      arrival
        """
        return await self._select(select, account=account, openid=openid)

    async def recent(self, account: str, openid: str, *, since: float, limit: int) -> Sequence[Exchange]:
        newest_first = await self._select(_RECENT, account=account, openid=openid, since=since, limit=limit)
        return newest_first[::-1]

    async def last_collected(self, account: str, openid: str, *, since: float) -> Exchange | None:
        select = f"""
            SELECT {COLUMNS}
              FROM exchange INDEXED BY exchange_by_push
             WHERE account = :account AND openid = :openid AND collected_by != '' AND collected_at >= :since
             ORDER BY collected_at DESC,
                      arrival
             LIMIT 1
        """
        found = await self._select(select, account=account, openid=openid, since=since)
        return found[0] if found else None

    async def clear_memory(self, account: str, openid: str, *, now: float) -> None:
        mark = """
            INSERT INTO clearing (account, openid, cleared_at)
            VALUES (:account, :openid, :now)
            ON CONFLICT (account, openid) DO UPDATE
               SET cleared_at = max(cleared_at, excluded.cleared_at)
        """
        await self._database.write((mark, {"account": account, "openid": openid, "now": now}))

    async def pending(self, limit: int, offset: int = 0) -> Sequence[Exchange]:
        return await self._select(PENDING, limit=limit, offset=offset)

    async def count_pending(self) -> int:
        select = f"SELECT count(*) FROM exchange INDEXED BY exchange_uncollected WHERE {_UNCOLLECTED}"
        [[count]] = await self._database.read(select)
        return int(count)

    async def counts(self) -> dict[str, int]:
        rows = await self._database.read("SELECT state, count(*) AS questions FROM exchange GROUP BY state")
        return {state.value: 0 for state in State} | {row["state"]: row["questions"] for row in rows}

    async def unfinished(self) -> Sequence[Exchange]:
        select = f"""
            SELECT {COLUMNS}
              FROM exchange
             WHERE state IN ('queued', 'thinking')
             ORDER BY asked_at,
                      arrival
        """
        return await self._select(select)

    async def of(self, account: str, openid: str) -> Sequence[Exchange]:
        select = f"""
            SELECT {COLUMNS}
              FROM exchange INDEXED BY exchange_by_push
             WHERE account = :account AND openid = :openid
             ORDER BY asked_at,
                      arrival
        """
        return await self._select(select, account=account, openid=openid)

    async def forget(self, account: str, openid: str) -> int:
        note = """
            INSERT INTO asked_before (who, asked_at, kind)
            SELECT :who,
                   asked_at,
                   kind
              FROM exchange INDEXED BY exchange_by_push
             WHERE account = :account AND openid = :openid
               AND (state != 'failed' OR reason IN ('filtered', 'empty', 'timeout'))
        """
        who = self._who(account, openid)
        _, exchanges, *_ = await self._database.write(
            (note, who),
            ("DELETE FROM exchange WHERE account = :account AND openid = :openid RETURNING id", who),
            ("DELETE FROM clearing WHERE account = :account AND openid = :openid RETURNING openid", who),
            ("DELETE FROM subscriber WHERE account = :account AND openid = :openid RETURNING openid", who),
            erase=True,
        )
        return len(exchanges)

    async def expire(self, *, before: float) -> int:
        exchanges = """
            DELETE FROM exchange
             WHERE state IN ('answered', 'collected', 'failed') AND asked_at < :before
            RETURNING id
        """
        clearings = "DELETE FROM clearing WHERE cleared_at < :before RETURNING openid"
        counts = "DELETE FROM asked_before WHERE asked_at < :before"
        moment = {"before": before}
        expired, *_ = await self._database.write((exchanges, moment), (clearings, moment), (counts, moment), erase=True)
        return len(expired)

    async def _select(self, sql: str, **parameters: str | float) -> list[Exchange]:
        return [exchange_of(row) for row in await self._database.read(sql, parameters)]
