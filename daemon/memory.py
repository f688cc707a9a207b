"""
Memory: how much the process may use and uses, and whether new requests are turned away for it.

Rule 1: what was begun is carried on; only new requests to the gateway are refused, until EASED of the limit is reached again.
Rule 2: WeChat's pushes and the operator's page are always served: they are small, and needed most then.
Rule 3: where the system tells nothing (Windows, macOS), there is no limit.

Source: docs.kernel.org/admin-guide/cgroup-v2.html (memory.max, memory.high), proc(5) on /proc/self/statm.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger()

SHARE = 0.8  # of the machine's or the unit's memory, where the setting is 0
EASED = 0.95  # of the limit; between the two nothing changes, so that it does not flutter
LOOK_SECONDS = 0.5
MACHINE = Path("/proc/meminfo")
OWN_PAGES = Path("/proc/self/statm")
OWN_UNIT = Path("/proc/self/cgroup")
UNITS = Path("/sys/fs/cgroup")
UNIT_LIMITS = ("memory.max", "memory.high")


class Watermark:
    """`limit_bytes` None is no limit."""

    def __init__(self, limit_bytes: int | None) -> None:
        self._limit_bytes = limit_bytes
        self.is_over = False

    def look(self, used_bytes: int) -> None:
        if self._limit_bytes is None:
            return
        was_over = self.is_over
        self.is_over = used_bytes > self._limit_bytes * (EASED if was_over else 1.0)
        if self.is_over != was_over:
            event = "memory.exceeded" if self.is_over else "memory.eased"
            log.warning(event, used_mb=used_bytes >> 20, limit_mb=self._limit_bytes >> 20)

    async def look_now(self) -> None:
        """For a job."""
        if self._limit_bytes is not None and (used := used_bytes()) is not None:
            self.look(used)


def limit_bytes(setting: int, *, machine: Path = MACHINE, own_unit: Path = OWN_UNIT, units: Path = UNITS) -> int | None:
    """What `server.limits.memory_bytes` comes to here."""
    if setting:
        return setting
    known = [*_of_machine(machine), *_of_units(own_unit, units)]
    return int(min(known) * SHARE) if known else None


def used_bytes(own_pages: Path = OWN_PAGES) -> int | None:
    """What is resident of this process; None where the system does not tell."""
    try:
        return int(own_pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, AttributeError):
        return None


def _of_machine(machine: Path) -> Iterator[int]:
    for line in _lines(machine):
        if line.startswith("MemTotal:"):
            yield int(line.split()[1]) * 1024


def _of_units(own_unit: Path, units: Path) -> Iterator[int]:
    """The limits of the unit we run in, and of those that it stands in."""
    inside = next((line[3:] for line in _lines(own_unit) if line.startswith("0::")), None)
    if inside is None:
        return
    place = units / inside.lstrip("/")
    for folder in (place, *place.parents):
        for name in UNIT_LIMITS:
            yield from (int(line) for line in _lines(folder / name) if line.isdecimal())
        if folder == units:
            return


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
