"""
The programs that are measured, each started on its own core and ended by its own process id.

Rule: a program runs inside its block: it serves when the block begins and has ended when the block is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 180.0  # LiteLLM takes ten of an idle core, and a minute of a busy one
STOP_SECONDS = 5.0
LOOK_SECONDS = 0.002  # between two looks whether a program listens
LOG_CHARACTERS = 2_000
ROOT = Path(__file__).parent.parent


class DidNotStart(Exception):
    def __init__(self, name: str, log: str) -> None:
        super().__init__(name, log)
        self.name, self.log = name, log

    def __str__(self) -> str:
        return f"{self.name} did not start; the end of its log:\n{self.log}"


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    port: int
    pid: int
    certificate: Path | None = None  # what it serves TLS with; None: plain


@contextlib.asynccontextmanager
async def running(
    name: str,
    arguments: Sequence[str],
    *,
    port: int,
    core: int | None,
    folder: Path,
    environ: Mapping[str, str] = os.environ,
    certificate: Path | None = None,
    home: Path | None = None,
) -> AsyncIterator[Program]:
    """`arguments` make it listen on `port`, started in `home` (None: ROOT); its log goes to a file in `folder`."""
    pinned = arguments if core is None else ["taskset", "--cpu-list", str(core), *arguments]
    log = folder / f"{name}.log"
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            *pinned, stdout=file, stderr=file, cwd=home or ROOT, env=dict(environ)
        )
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await _listens(port):
                    if process.returncode is not None:
                        raise TimeoutError
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise DidNotStart(name, log.read_text()[-LOG_CHARACTERS:]) from None
        yield Program(name, port, process.pid, certificate)
    finally:
        await _end(process)


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
