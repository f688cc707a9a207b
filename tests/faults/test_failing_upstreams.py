"""An upstream that breaks its answers in the middle of real callers, as `make faults` has it, for a moment each."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from bench.faults import neighbours, spoil
from bench.faults.plan import Plan
from bench.faults.relay import Fault
from bench.faults.upstreams import BROKEN, REFUSED, relayed

pytestmark = pytest.mark.tools  # as the others with a daemon of their own


@pytest.mark.parametrize(
    ("fault", "allowed"),
    [
        (spoil.reset_before, REFUSED),
        (spoil.reset_within, BROKEN),
        (spoil.reset_after, ("whole",)),
        (spoil.half_open, BROKEN),
        (spoil.drip, ("whole",)),
        (spoil.break_chunks, (*REFUSED, *BROKEN)),
        (spoil.lie_about_length, ("whole", *BROKEN)),  # whole, where [DONE] came
        (spoil.fill_head, REFUSED),
    ],
)
async def test_no_broken_answer_is_falsely_whole_or_asked_for_twice(
    tmp_path: Path, fault: Fault, allowed: Collection[str]
) -> None:
    async with relayed(tmp_path / "house", Plan(tmp_path, seed=1)) as (stand, relay):
        [caller] = stand.callers(1)
        assert [await caller.ask("oc0#0", streams=False), await caller.ask("oc0#1", streams=True)] == ["whole"] * 2
        relay.fault = fault
        outcomes = {await caller.ask("oc0#2", streams=False), await caller.ask("oc0#3", streams=True)}
        assert outcomes <= set(allowed)
        assert set(relay.asked.values()) == {1}
        assert stand.house.troubles() == {}


async def test_callers_who_leave_the_line_are_let_go_and_cost_nothing(tmp_path: Path) -> None:
    [leaving] = [trouble for trouble in neighbours.TROUBLES if trouble.what == "20 callers leave the line"]
    finding = await leaving.play(tmp_path / "house", Plan(tmp_path, seed=1))
    assert finding.is_well, finding.happened
