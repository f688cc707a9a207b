"""
The daemon as a process: its event loop, its signals, and what the supervisor hears of it.

Rule 1: the first SIGTERM or SIGINT lets everything end in order; the second ends the process at once.
Rule 2: `READY=1` is said when the listeners are open and not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from typing import Any

import structlog

from daemon.app import running
from daemon.jobs import Job
from daemon.jobs import running as jobs_running
from daemon.schema import Settings
from daemon.sdnotify import Supervisor

log = structlog.get_logger()


def serve(settings: Settings) -> int:
    """Run the daemon until it is told to stop: the exit code. Raises CannotListen and DatabaseRefused."""
    run(_serve(settings))
    return 0


def run(main: Coroutine[Any, Any, None]) -> None:
    """On uvloop where there is one; Windows has its own loop."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told(number: int) -> None:
        stop.set()
        _forget(loop, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":
            signal.signal(number, lambda received, _: loop.call_soon_threadsafe(told, received))
        else:
            loop.add_signal_handler(number, told, number)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            _forget(loop, number)


@contextlib.contextmanager
def _hangup_survived() -> Iterator[None]:
    """SIGHUP's default would end the process, and operators send it to have the config read again."""
    if sys.platform == "win32":
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, _say_restart)
    try:
        yield
    finally:
        _forget(loop, signal.SIGHUP)


def _say_restart() -> None:
    log.warning("reload.refused", advice="a changed config is read at the next start, for now")


def _forget(loop: asyncio.AbstractEventLoop, number: int) -> None:
    if sys.platform != "win32":
        loop.remove_signal_handler(number)
    signal.signal(number, signal.SIG_DFL)


async def _serve(settings: Settings) -> None:
    supervisor = Supervisor.from_environment(os.environ)
    watchdog = []
    if supervisor.watchdog_seconds:
        watchdog.append(Job("watchdog", supervisor.beat, supervisor.watchdog_seconds / 2))
    with stop_signals() as stop, _hangup_survived():
        async with running(settings) as daemon, jobs_running(*watchdog):
            _say_what_is_missing(settings)
            log.info("daemon.started", url=daemon.url, keys=len(settings.keys), accounts=len(settings.bot.accounts))
            supervisor.ready()
            await stop.wait()
            supervisor.stopping()
    log.info("daemon.stopped")


def _say_what_is_missing(settings: Settings) -> None:
    if not settings.keys:
        log.warning("pool.found_empty", advice="add a key: [[keys]] in the config, or OPENAI_API_KEY")
    if not settings.proxy.callers and not settings.proxy.passthrough:
        log.warning("callers.found_empty", advice="/v1 answers 401 until `posthouse token NAME` has made a token")
    if settings.operator.password is None:
        log.warning("status_page.found_closed", advice="set operator.password; without it the page answers 404")
