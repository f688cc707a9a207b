"""What the process that serves does not hold, and what its collector leaves alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.test_reload import served

ROOT = Path(__file__).parents[2]
SERVED = """
import gc, json, sys
from daemon import footprint
footprint.import_structlog()
from daemon import log, process
footprint.settle()
held = sorted({name.partition(".")[0] for name in sys.modules} | {n for n in sys.modules if n.startswith("daemon.")})
import rich
print(json.dumps([held, gc.get_freeze_count(), gc.isenabled()]))
"""
# Each is megabytes. A config's reader is another process; the others come with what needs them: a certificate, an account
# in safe mode, a page, a scrape, a table on a terminal.
ELSEWHERE = {
    *("pydantic", "pydantic_core", "tomli", "daemon.config", "daemon.schema"),
    *("cryptography", "jinja2", "prometheus_client", "rich"),
}


def test_who_serves_imports_nothing_that_only_others_need() -> None:
    """The config's schema alone was a fifth of the memory: one import, of a class that only an annotation named."""
    said = subprocess.run([sys.executable, "-c", SERVED], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    held, frozen, collects = json.loads(said)

    assert "daemon.app" in held
    assert ELSEWHERE.isdisjoint(held)
    assert frozen > 10_000
    assert collects


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_daemon_that_has_read_its_config_twice_holds_no_reader_of_it(tmp_path: Path) -> None:
    file = tmp_path / "posthouse.toml"
    file.write_text('server.listen = ["127.0.0.1:0"]')
    async with served(file) as daemon:
        await daemon.reload('server.listen = ["127.0.0.1:0"]\nproxy.queue_seconds = 1', "config.reloaded")
        files = Path(f"/proc/{daemon.process.pid}/maps").read_text()

    assert "sqlite" in files
    assert "pydantic" not in files
