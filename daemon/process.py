"""
The daemon as a process: its event loop, its signals, and what the supervisor hears of it.

Rule 1: the first SIGTERM or SIGINT lets everything end in order; the second ends the process at once.
Rule 2: SIGHUP has the config read again while requests go on; a bad one changes nothing and is said.
Rule 3: `READY=1` is said when the listeners are open and not before.
Rule 4: requests are read by the parser that everything here was tested with, or the process does not start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import structlog
from aiohttp import http_parser

from daemon import footprint
from daemon.app import Running, running
from daemon.jobs import Job
from daemon.jobs import running as jobs_running
from daemon.reload import needs_restart
from daemon.sdnotify import Supervisor
from daemon.wrong_config import WrongConfig

if TYPE_CHECKING:
    from daemon.schema import Settings

log = structlog.get_logger()


class OtherParser(Exception):
    """aiohttp has another one, in Python, for where its own was not built: it has had holes that the other had not."""

    def __str__(self) -> str:
        return "aiohttp is installed without its compiled parser; install it anew, and without AIOHTTP_NO_EXTENSIONS"


def serve(settings: Settings, reread: Callable[[], Awaitable[Settings]]) -> int:
    """
    Run the daemon until it is told to stop: the exit code. Raises OtherParser, CannotListen and DatabaseRefused.

    `reread` gives the settings anew at a SIGHUP; it may raise WrongConfig or OSError, and then nothing changes.
    """
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise OtherParser
    run(_serve(settings, reread))
    return 0


def leave(code: int) -> NoReturn:
    """
    End the process here, once everything is closed.

    Python's own tidying takes some tenths of a second, and waits for a name that is still being looked up: time in which the
    next process does not serve.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


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
def _on_hangup(react: Callable[[], None]) -> Iterator[None]:
    """SIGHUP's default would end the process; Windows has none."""
    if sys.platform == "win32":
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, react)
    try:
        yield
    finally:
        _forget(loop, signal.SIGHUP)


def _forget(loop: asyncio.AbstractEventLoop, number: int) -> None:
    if sys.platform != "win32":
        loop.remove_signal_handler(number)
    signal.signal(number, signal.SIG_DFL)


async def _reload(daemon: Running, started: Settings, reread: Callable[[], Awaitable[Settings]]) -> None:
    try:
        changed = await reread()
    except WrongConfig as wrong:
        log.error("config.refused", why="; ".join(map(str, wrong.problems)))
        return
    except OSError as error:
        log.error("config.refused", why=f"the file cannot be read: {error.strerror}")
        return
    daemon.reload(changed)
    log.info("config.reloaded", keys=len(changed.keys), callers=len(changed.proxy.callers))
    if waiting := needs_restart(started, changed):
        log.warning("config.postponed", tables=waiting, advice="these changes hold from the next start on")


async def _serve(settings: Settings, reread: Callable[[], Awaitable[Settings]]) -> None:
    supervisor = Supervisor.from_environment(os.environ)
    watchdog = []
    if supervisor.watchdog_seconds:
        watchdog.append(Job("watchdog", supervisor.beat, supervisor.watchdog_seconds / 2))
    hung_up = asyncio.Event()
    with stop_signals() as stop, _on_hangup(hung_up.set):  # one that comes during the start is taken up after it
        async with running(settings) as daemon:

            async def reload() -> None:
                await hung_up.wait()
                hung_up.clear()
                await _reload(daemon, settings, reread)

            async with jobs_running(*watchdog, Job("reload", reload, every_seconds=0)):
                log.info("daemon.started", url=daemon.url, keys=len(settings.keys), accounts=len(settings.bot.accounts))
                footprint.settle()
                supervisor.ready()
                await stop.wait()
                supervisor.stopping()
    log.info("daemon.stopped")
