"""
What is known of subscribers beside their questions, on disk.

Rule 1: what outlives a subscriber's leaving stands under `who`, an HMAC with this installation's secret: no openid can be
        read from it. Whoever has the whole file, the secret in it included, can still ask it about an openid that they know.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from bot.subscriber import Subscriber
from daemon.sqlite.database import Database
from daemon.sqlite.work import Rows, Statement

_SUBSCRIBER = """
    SELECT coalesce((SELECT persona FROM subscriber WHERE account = :account AND openid = :openid), '') AS persona,
           EXISTS (SELECT 1 FROM blocked WHERE who = :who) AS is_blocked,
           EXISTS (SELECT 1 FROM subscriber WHERE account = :account AND openid = :openid AND wants_notices) AS wants_notices,
           count(*) FILTER (WHERE asked_at >= :today AND counts) AS asked_today,
           count(*) FILTER (WHERE asked_at >= :today AND counts AND kind = 'drawing') AS drawn_today,
           count(*) FILTER (WHERE asked_at >= :lately) AS asked_lately
      FROM (
            SELECT asked_at,
                   kind,
                   state != 'failed' OR reason IN ('filtered', 'empty', 'timeout') AS counts
              FROM exchange INDEXED BY exchange_by_push
             WHERE account = :account AND openid = :openid AND asked_at >= min(:today, :lately)
            UNION ALL
            SELECT asked_at,
                   kind,
                   1
              FROM asked_before INDEXED BY asked_before_by_who
             WHERE who = :who AND asked_at >= min(:today, :lately)
           )
"""


def subscriber_of(rows: Rows) -> Subscriber:
    [[persona, is_blocked, wants_notices, *counts]] = rows
    return Subscriber(persona, bool(is_blocked), bool(wants_notices), *counts)


class SqliteSubscribers:
    def __init__(self, database: Database, secret: bytes) -> None:
        """`secret` is the installation's."""
        self._database = database
        # Copied for each: to set one up costs more than to use it.
        self._keyed = hmac.new(secret, digestmod=hashlib.sha256)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    async def subscriber(self, account: str, openid: str, *, today: float, lately: float) -> Subscriber:
        return subscriber_of(await self._database.read(*self._of_subscriber(account, openid, today, lately)))

    def _of_subscriber(self, account: str, openid: str, today: float, lately: float) -> Statement:
        """What `subscriber_of()` reads."""
        return _SUBSCRIBER, {**self._who(account, openid), "today": today, "lately": lately}

    async def choose_persona(self, account: str, openid: str, persona: str) -> None:
        note = """
            INSERT INTO subscriber (account, openid, persona)
            VALUES (:account, :openid, :persona)
            ON CONFLICT (account, openid) DO UPDATE
               SET persona = excluded.persona
        """
        await self._database.write((note, {"account": account, "openid": openid, "persona": persona}))

    async def block(self, account: str, openid: str, *, is_blocked: bool) -> None:
        note = "INSERT OR IGNORE INTO blocked (who) VALUES (:who)"
        strike = "DELETE FROM blocked WHERE who = :who"
        await self._database.write((note if is_blocked else strike, self._who(account, openid)))

    async def want_notices(self, account: str, openid: str, *, wants: bool) -> None:
        note = """
            INSERT INTO subscriber (account, openid, wants_notices)
            VALUES (:account, :openid, :wants)
            ON CONFLICT (account, openid) DO UPDATE
               SET wants_notices = excluded.wants_notices
        """
        await self._database.write((note, {"account": account, "openid": openid, "wants": wants}))

    async def notified(self) -> Sequence[tuple[str, str]]:
        select = """
            SELECT account,
                   openid
              FROM subscriber
             WHERE wants_notices
             ORDER BY account,
                      openid
        """
        return [(row["account"], row["openid"]) for row in await self._database.read(select)]

    def _who(self, account: str, openid: str) -> dict[str, str]:
        keyed = self._keyed.copy()
        keyed.update(f"subscriber:{account}:{openid}".encode())
        return {"account": account, "openid": openid, "who": keyed.hexdigest()}
