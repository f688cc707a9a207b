"""What the process that serves does not hold, and what its collector leaves alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVED = """
import gc, json, sys
from daemon import footprint
footprint.import_structlog()
footprint.import_aiohttp()
from daemon import log, process
footprint.rush()
footprint.settle()
held = sorted({name.partition(".")[0] for name in sys.modules} | {n for n in sys.modules if n[:4] in ("bot.", "daem")})
import rich
print(json.dumps([held, gc.get_freeze_count(), gc.isenabled()]))
"""
TRUSTED = """
import json, ssl
from daemon import footprint
footprint.import_aiohttp()
from aiohttp import connector
own = [value for value in vars(connector).values() if isinstance(value, ssl.SSLContext)]
assert own
trusted = [authority for context in own for authority in context.get_ca_certs()]
print(json.dumps([trusted, "set_default_verify_paths" not in vars(ssl.SSLContext)]))
"""
# Each is megabytes, and comes with what needs it: a certificate, an account in safe mode, a page, a scrape, a table on a
# terminal. What comes later is long in its patterns, and comes with the first answer and with a file of words.
ELSEWHERE = {"cryptography", "jinja2", "prometheus_client", "rich"}
LATER = {"bot.wechat.markdown", "bot.words"}


def test_who_serves_imports_nothing_that_only_others_need() -> None:
    said = subprocess.run([sys.executable, "-c", SERVED], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    held, frozen, collects = json.loads(said)

    assert "daemon.app" in held
    assert (ELSEWHERE | LATER).isdisjoint(held)
    assert frozen > 10_000
    assert collects


def test_the_libraries_own_contexts_for_tls_trust_nobody_and_those_of_others_what_they_should() -> None:
    """Reading all authorities twice was 50 ms of every start, for two contexts that nothing of ours uses."""
    said = subprocess.run([sys.executable, "-c", TRUSTED], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert json.loads(said) == [[], True]
