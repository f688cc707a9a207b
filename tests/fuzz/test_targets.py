"""Input that is almost good, at every reader of strangers' bytes: the same few thousand each time, and a few that are new."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.faults.mutations import mutated
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

MUTATIONS = 400


@pytest.mark.parametrize("name", TARGETS)
def test_good_input_is_taken(name: str) -> None:
    """What is refused at once leads no further."""
    assert [seed for seed in SEEDS[name] if not TARGETS[name](seed)] == []


@pytest.mark.parametrize("name", TARGETS)
def test_almost_good_input_is_taken_or_refused_and_nothing_else(name: str) -> None:
    chance = random.Random(name)
    for _ in range(MUTATIONS):
        TARGETS[name](mutated(chance.choice(SEEDS[name]), chance))


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
@settings(max_examples=150)
def test_any_input_is_taken_or_refused_and_nothing_else(name: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(SEEDS[name]))
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(seed))] * 2)))
    TARGETS[name](seed[:start] + data.draw(st.binary(max_size=30)) + seed[end:])
