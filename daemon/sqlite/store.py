"""
The store of exchanges on disk.

Rule 1: a column of `exchange` has the name of the field of Exchange it holds; a row is read by these names, in any order.
Rule 2: one method is one transaction, or one read.
Rule 3: INDEXED BY stands where SQLite would rather read everybody's rows in one state than one subscriber's, or scan. It also
        makes a query fail, not crawl, when its condition and the index drift apart.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

from bot.exchange import Exchange, Kind, Reason, State
from daemon.sqlite.subscribers import SqliteSubscribers

_FIELDS = tuple(field.name for field in fields(Exchange))

PENDING = """
    SELECT *
      FROM exchange INDEXED BY exchange_uncollected
     WHERE state IN ('queued', 'thinking', 'answered') OR (state = 'failed' AND collected_by = '')
     ORDER BY asked_at,
              arrival
     LIMIT :limit
    OFFSET :offset
"""


def exchange_of(row: sqlite3.Row) -> Exchange:
    facts = {name: row[name] for name in _FIELDS}
    facts["state"] = State(row["state"])
    facts["reason"] = row["reason"] and Reason(row["reason"])
    facts["kind"] = Kind(row["kind"])
    facts["parts"] = tuple(json.loads(row["parts"]))
    return Exchange(**facts)


def row_of(exchange: Exchange) -> dict[str, Any]:
    return asdict(exchange) | {"parts": json.dumps(exchange.parts)}


class SqliteStore(SqliteSubscribers):
    """`bot.store.ExchangeStore` over an open database."""

    async def begin(self, exchange: Exchange) -> Exchange:
        insert = """
            INSERT INTO exchange (
                id,
                account,
                openid,
                push_id,
                state,
                reason,
                asked_at,
                started_at,
                answered_at,
                collected_at,
                not_before,
                next_page,
                collected_by,
                deaths,
                question,
                answer,
                kind,
                photo,
                picture,
                media_id,
                parts,
                sent_pages
            )
            VALUES (
                :id,
                :account,
                :openid,
                :push_id,
                :state,
                :reason,
                :asked_at,
                :started_at,
                :answered_at,
                :collected_at,
                :not_before,
                :next_page,
                :collected_by,
                :deaths,
                :question,
                :answer,
                :kind,
                :photo,
                :picture,
                :media_id,
                :parts,
                :sent_pages
            )
            ON CONFLICT (account, openid, push_id) DO UPDATE
               SET push_id = excluded.push_id  -- changes nothing, and makes RETURNING name the row that was there
            RETURNING *
        """
        [[row]] = await self._database.write((insert, row_of(exchange)))
        return exchange_of(row)

    async def save(self, exchange: Exchange) -> bool:
        update = """
            UPDATE exchange
               SET account = :account,
                   openid = :openid,
                   push_id = :push_id,
                   state = :state,
                   reason = :reason,
                   asked_at = :asked_at,
                   started_at = :started_at,
                   answered_at = :answered_at,
                   collected_at = :collected_at,
                   not_before = :not_before,
                   next_page = :next_page,
                   collected_by = :collected_by,
                   deaths = :deaths,
                   question = :question,
                   answer = :answer,
                   kind = :kind,
                   photo = :photo,
                   picture = :picture,
                   media_id = :media_id,
                   parts = :parts,
                   sent_pages = :sent_pages
             WHERE id = :id
            RETURNING id
        """
        [saved] = await self._database.write((update, row_of(exchange)))
        return bool(saved)

    async def get(self, exchange_id: str) -> Exchange | None:
        found = await self._select("SELECT * FROM exchange WHERE id = :id", id=exchange_id)
        return found[0] if found else None

    async def find(self, account: str, openid: str, push_id: str) -> Exchange | None:
        select = """
            SELECT *
              FROM exchange INDEXED BY exchange_by_push
             WHERE account = :account AND openid = :openid AND (push_id = :push_id OR collected_by = :push_id)
             ORDER BY push_id = :push_id DESC,
                      collected_at DESC,
                      arrival
             LIMIT 1
        """
        found = await self._select(select, account=account, openid=openid, push_id=push_id)
        return found[0] if found else None

    async def mailbox(self, account: str, openid: str) -> Sequence[Exchange]:
        select = """
            SELECT *
              FROM exchange INDEXED BY exchange_by_push
             WHERE account = :account AND openid = :openid
               AND (state IN ('queued', 'thinking', 'answered') OR (state = 'failed' AND collected_by = ''))
             ORDER BY asked_at,
                      arrival
        """
        return await self._select(select, account=account, openid=openid)

    async def recent(self, account: str, openid: str, *, since: float, limit: int) -> Sequence[Exchange]:
        select = """
            SELECT exchange.*
              FROM exchange INDEXED BY exchange_by_push
              LEFT JOIN clearing USING (account, openid)
             WHERE account = :account AND openid = :openid
               AND state IN ('answered', 'collected')
               AND answered_at >= :since
               AND (cleared_at IS NULL OR asked_at > cleared_at)
             ORDER BY answered_at DESC,
                      arrival DESC
             LIMIT :limit
        """
        newest_first = await self._select(select, account=account, openid=openid, since=since, limit=limit)
        return newest_first[::-1]

    async def last_collected(self, account: str, openid: str, *, since: float) -> Exchange | None:
        select = """
            SELECT *
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
        select = """
            SELECT count(*)
              FROM exchange INDEXED BY exchange_uncollected
             WHERE state IN ('queued', 'thinking', 'answered') OR (state = 'failed' AND collected_by = '')
        """
        [[count]] = await self._database.read(select)
        return int(count)

    async def counts(self) -> dict[str, int]:
        rows = await self._database.read("SELECT state, count(*) AS questions FROM exchange GROUP BY state")
        return {state.value: 0 for state in State} | {row["state"]: row["questions"] for row in rows}

    async def unfinished(self) -> Sequence[Exchange]:
        select = """
            SELECT *
              FROM exchange
             WHERE state IN ('queued', 'thinking')
             ORDER BY asked_at,
                      arrival
        """
        return await self._select(select)

    async def of(self, account: str, openid: str) -> Sequence[Exchange]:
        select = """
            SELECT *
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
