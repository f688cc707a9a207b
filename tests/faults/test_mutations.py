"""What the fuzzed inputs are: if they were all alike, or all refused at the first byte, they would find nothing."""

from __future__ import annotations

import json
import random

from bench.faults.doors import BODIES, HEADS
from bench.faults.mutations import mutated, reshaped, revalued

GOOD = json.loads(BODIES[-1])


def test_the_same_seed_gives_the_same_inputs_again() -> None:
    once, again = random.Random(7), random.Random(7)
    assert [mutated(HEADS[1], once) for _ in range(50)] == [mutated(HEADS[1], again) for _ in range(50)]
    assert [reshaped(GOOD, once) for _ in range(50)] == [reshaped(GOOD, again) for _ in range(50)]


def test_a_reshaped_document_is_well_formed_and_seldom_the_good_one() -> None:
    """Of bodies that were changed byte by byte, nineteen in twenty were no JSON, and went no further."""
    chance, before = random.Random(1), json.dumps(GOOD)
    documents = [json.loads(json.dumps(reshaped(GOOD, chance))) for _ in range(300)]
    assert sum(document != GOOD for document in documents) > 280
    assert json.dumps(GOOD) == before


def test_revalued_fields_keep_their_names() -> None:
    fields: dict[str, str | int] = {"MsgType": "text", "Content": "继续", "MsgId": 5}
    changed = revalued(fields, random.Random(3))
    assert changed.keys() == fields.keys()
    assert changed != fields
