"""
Plain requests as fast as the other side answers them: from wrk where it is installed, else from our own caller.

Rule 1: the load must not be what is measured. So it says how much CPU time it took itself, beside how many were answered.
Rule 2: wrk sends what our own caller sends: its script is written from `wire`.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import time
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path

from bench import wire
from bench.caller import ask_without_pause

CONNECTIONS = 64

_SCRIPT = """
wrk.method = "POST"
wrk.body = [==[{body}]==]
wrk.headers["Connection"] = "keep-alive"
{fields}
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local form = '\\n{{"answered": %d, "seconds": %f, "failed": %d}}\\n'
  io.write(string.format(form, summary.requests, summary.duration / 1e6, failed))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    answered: int
    seconds: float
    cpu_seconds: float  # the load's own


def program() -> str | None:
    return shutil.which("wrk")


async def plain(port: int, *, seconds: float, folder: Path, connections: int = CONNECTIONS) -> Load:
    """Raises ValueError where anything but a 200 came back."""
    if wrk := program():
        return await _from_wrk(wrk, port, seconds, folder, connections)
    cpu, began = time.process_time(), time.monotonic()
    answered = await ask_without_pause(port, connections=connections, seconds=seconds)
    return Load(answered, time.monotonic() - began, time.process_time() - cpu)


def script() -> str:
    fields = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in wire.REQUEST_FIELDS)
    return _SCRIPT.format(body=wire.question(stream=False).decode(), fields=fields)


async def _from_wrk(wrk: str, port: int, seconds: float, folder: Path, connections: int) -> Load:
    path = folder / "plain.lua"
    path.write_text(script())
    arguments = ["--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(seconds))}s"]
    arguments += ["--timeout", "10s", "--script", str(path), f"http://127.0.0.1:{port}{wire.PATH}"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = await asyncio.create_subprocess_exec(wrk, *arguments, stdout=PIPE)
    said, _ = await process.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = json.loads(said.splitlines()[-1])
    if told["failed"] or not told["answered"]:
        raise ValueError(f"expected 200s from port {port}, got {told}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Load(told["answered"], told["seconds"], cpu)
