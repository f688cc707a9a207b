"""
The daemon, with one thing added: `python -m bench.faults.watched serve …` counts its tasks when it is sent SIGUSR1.

Rule: the count goes to the file that FAULTS_COUNT names; nothing else of the daemon is different.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from pathlib import Path
from types import FrameType


def _count(number: int, frame: FrameType | None) -> None:
    gc.collect()
    every = gc.get_objects()
    tasks = sum(isinstance(each, asyncio.Task) and not each.done() for each in every)
    Path(os.environ["FAULTS_COUNT"]).write_text(f"{tasks} {len(every)}")


if __name__ == "__main__":
    from daemon.__main__ import main

    signal.signal(signal.SIGUSR1, _count)
    main()
