"""What other users of the machine see of a running daemon, and what is left where it crashed: none of its secrets."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from bench.faults.house import SECRETS, House, inside
from tests import canaries

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at a process as Linux shows it")

# Whoever starts us may want cores.
WITH_CORES = ("sh", "-c", 'ulimit -S -c hard; exec "$@"', "sh")


async def test_a_daemon_shows_no_secret_in_its_arguments_and_leaves_no_core(tmp_path: Path) -> None:
    async with inside(House(tmp_path, "http://127.0.0.1:9/v1", before=WITH_CORES)) as house:
        await house.start()
        seen = Path(f"/proc/{house.pid}")
        for part in ("cmdline", "comm", "environ"):  # the last only to whoever may become its user
            assert list(canaries.found((seen / part).read_bytes(), SECRETS)) == [], part
        (core,) = [line for line in (seen / "limits").read_text().splitlines() if line.startswith("Max core file size")]
        assert core.split()[4:6] == ["0", "0"]
        house.signal(signal.SIGABRT)
        assert await house.gone() == -signal.SIGABRT
    assert [path.name for path in tmp_path.iterdir() if "core" in path.name] == []
