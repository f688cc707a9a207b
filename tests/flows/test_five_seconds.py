"""WeChat's five seconds, in real time: what subscribers see when the model takes 3, 8 or 20 seconds."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from daemon.demo.envelope import Account
from daemon.demo.scene import seconds_named
from daemon.demo.steps import Answer
from daemon.demo.subscriber import Outcome, What
from tests.flows.daemon_bench import SAFE, town

THINKING = Answer(think_seconds=lambda asked: seconds_named(asked.question) or 0.0)
STOOD_STILL = 0.25  # seconds: a delivery is given up by us at 4.5, by WeChat at 5.0
TRIES = 3


class Machine:
    """`with Machine() as machine:` `machine.longest` is how long it let nobody run, in seconds: a thread of its own looks."""

    def __enter__(self) -> Machine:
        self.longest = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="machine")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        pause = 0.02
        seen = time.monotonic()
        while not self._over.wait(pause):
            self.longest = max(self.longest, time.monotonic() - seen - pause)
            seen = time.monotonic()


async def test_three_eight_and_twenty_seconds_of_thinking_in_real_time(tmp_path: Path) -> None:
    """
    Real time needs a machine that runs: where it stood still for a while, WeChat and the daemon wake up at the same moment, and
    which of them gave up first says nothing. Then once more.
    """
    for number in range(TRIES):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Machine() as machine:
            try:
                await _the_scene(folder)
                break
            except AssertionError:
                if machine.longest < STOOD_STILL or number == TRIES - 1:
                    raise


async def _the_scene(tmp_path: Path) -> None:
    """Four accounts at once, so that none of them spends another's budget of unanswered deliveries."""
    quick, slow, crowded, patient = (replace(SAFE, id=f"gh_00000000000{number}") for number in range(1, 5))
    async with town(tmp_path, {"sk-1": [THINKING], "sk-2": [THINKING]}, [quick, slow, crowded, patient]) as place:

        async def ask(account: Account, number: int, seconds: int) -> Outcome:
            return await place.sides[account.id].say(f"o-{account.id}-{number}", f"问题{number}：请想 {seconds} 秒")

        quick_ones, slow_ones, crowd, (late,) = await asyncio.gather(
            asyncio.gather(*(ask(quick, number, 3) for number in range(30))),
            asyncio.gather(*(ask(slow, number, 8) for number in range(10))),
            asyncio.gather(*(ask(crowded, number, 8) for number in range(30))),
            asyncio.gather(ask(patient, 1, 20)),
        )
        every = [*quick_ones, *slow_ones, *crowd, late]
        assert [outcome.red_line for outcome in every if outcome.red_line] == []
        assert place.model_calls == 71, "one model call a question"

        # 30 with a 3 s model: answered on the first delivery, each with its own answer
        for number, outcome in enumerate(quick_ones):
            assert len(outcome.deliveries) == 1
            assert f"问题{number}：" in (outcome.words or "")
        # 10 with an 8 s model: on the second
        for number, outcome in enumerate(slow_ones):
            assert [delivery.what for delivery in outcome.deliveries] == [What.CLOSED, What.ANSWERED]
            assert f"问题{number}：" in (outcome.words or "")
        # 30 with an 8 s model: twenty are within the budget, the others get a tap at once
        seen = Counter(len(outcome.deliveries) for outcome in crowd)
        assert seen == {2: 20, 1: 10}
        taps = [outcome for outcome in crowd if len(outcome.deliveries) == 1]
        assert all(outcome.links and outcome.deliveries[0].seconds < 5 for outcome in taps)
        # 20 s: the third delivery says so, and the tap has it
        assert [delivery.what for delivery in late.deliveries] == [What.CLOSED, What.CLOSED, What.ANSWERED]
        assert "继续" in (late.words or "")

        tapping = [
            place.sides[crowded.id].tap(f"o-{crowded.id}-{number}", outcome.links[0])
            for number, outcome in enumerate(crowd)
            if outcome.links
        ]
        collected = await asyncio.gather(*tapping, place.sides[patient.id].say(f"o-{patient.id}-1", "继续"))
        assert all("你问的是" in (outcome.words or "") for outcome in collected)
        assert place.model_calls == 71
        async with asyncio.timeout(2):  # what is delivered is written down after the subscriber has it
            while await place.daemon.store.count_pending():
                await asyncio.sleep(0)
