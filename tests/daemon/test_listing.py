"""What a command reads off the database is what the page shows of the same pool."""

from __future__ import annotations

import pytest

from daemon.listing import key_rows
from proxy.key import Key, Upstream
from proxy.keypool import KeyPool
from proxy.ledger import CellRecord, Health, KeyRecord

NOW, WALL = 1_000.0, 2_000_000.0
UPSTREAM = Upstream("azure", "https://azure.test/v1")
OWN = [
    ("key", "f1"),
    ("key-model", "f1", "m"),
    ("organization", "org-1"),
    ("organization-model", "org-1", "m"),
    ("upstream", "azure"),
    ("upstream-model", "azure", "m"),
]
OTHERS = [("key-model", "f2", "m"), ("organization", "org-2"), ("upstream", "openai"), ("upstream", "f1")]


def cell(name: tuple[str, ...], *, rule: str = "rate", seconds: float = 30.0) -> CellRecord:
    return CellRecord(name, until=WALL + seconds, since=WALL - 1, rule=rule, reason=f"for {seconds} s")


@pytest.mark.parametrize("state", ["ready", "dead"])
@pytest.mark.parametrize(
    "cells",
    [
        [],
        *([cell(name)] for name in (*OWN, *OTHERS)),
        *([cell(name, rule="model")] for name in OWN),
        [cell(OWN[0]), cell(OWN[2], seconds=90.0), cell(OWN[1], rule="model", seconds=300.0)],
    ],
    ids=str,
)
def test_a_key_looks_the_same_in_the_terminal_and_on_the_page(state: str, cells: list[CellRecord]) -> None:
    key = Key("main", "x", fingerprint="f1", upstream=UPSTREAM, organization="org-1")
    pool = KeyPool([key], clock=lambda: NOW, jitter=lambda: 0.0)
    pool.restore(Health((KeyRecord("f1", state, organization="org-1"),), tuple(cells)), wall=WALL)

    [view], [row] = pool.snapshot(), key_rows(pool.health(wall=WALL), WALL, lambda _: "azure")

    assert (row["state"], row["rule"], row["reason"]) == (view.state, view.rule, view.reason)
    assert [(each["scope"], each["model"] or "") for each in row["cooldowns"]] == [
        (each.scope, each.model) for each in view.cells
    ]
    if state == "ready":  # of a dead key the terminal says when it is looked at again
        assert row["seconds_left"] == view.seconds_left
