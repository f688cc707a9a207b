"""How much memory the process may use, and when it takes no more on."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.memory import Watermark, limit_bytes, used_bytes

MEMINFO = "MemTotal:        1024000 kB\nMemFree:          512 kB\n"
MACHINE_BYTES = 1_024_000 * 1024


def limit(folder: Path, setting: int = 0, **units: str) -> int | None:
    """`units` are limits by their file, "__" standing for a slash and "_" for a dot."""
    (folder / "meminfo").write_text(MEMINFO)
    (folder / "own").write_text("0::/system.slice/posthouse.service\n")
    for name, text in units.items():
        *folders, file = name.split("__")
        place = folder.joinpath("units", *(f"{part.replace('_', '.')}" for part in folders))
        place.mkdir(parents=True, exist_ok=True)
        (place / file.replace("_", ".")).write_text(text)
    return limit_bytes(setting, machine=folder / "meminfo", own_unit=folder / "own", units=folder / "units")


def test_a_limit_that_is_set_is_the_limit(tmp_path: Path) -> None:
    assert limit(tmp_path, 5_000) == 5_000


def test_without_one_it_is_four_fifths_of_the_machines(tmp_path: Path) -> None:
    assert limit(tmp_path) == int(MACHINE_BYTES * 0.8)


@pytest.mark.parametrize("file", ["memory_max", "memory_high"])
@pytest.mark.parametrize("unit", ["system_slice__posthouse_service__", "system_slice__", ""])
def test_a_units_limit_counts_wherever_it_stands(tmp_path: Path, file: str, unit: str) -> None:
    assert limit(tmp_path, **{unit + file: "300000000\n"}) == 240_000_000


def test_a_unit_without_a_limit_does_not_count(tmp_path: Path) -> None:
    assert limit(tmp_path, system_slice__memory_max="max\n") == int(MACHINE_BYTES * 0.8)


def test_where_the_system_tells_nothing_there_is_no_limit(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"

    assert limit_bytes(0, machine=nowhere, own_unit=nowhere, units=nowhere) is None
    assert used_bytes(nowhere) is None


def test_what_this_process_uses_is_known_here() -> None:
    used = used_bytes()

    assert used is not None
    assert 10_000_000 < used < 10_000_000_000


def test_it_is_over_above_the_limit_and_under_again_well_below_it() -> None:
    mark = Watermark(1_000 << 20)

    seen = []
    with capture_logs() as logs:
        for megabytes in (999, 1_000, 1_001, 990, 951, 949, 999):
            mark.look(megabytes << 20)
            seen.append(mark.is_over)

    assert seen == [False, False, True, True, True, False, False]
    assert [event["event"] for event in logs] == ["memory.exceeded", "memory.eased"]


async def test_without_a_limit_nothing_is_ever_over() -> None:
    mark = Watermark(None)
    mark.look(1 << 60)
    await mark.look_now()

    assert not mark.is_over
