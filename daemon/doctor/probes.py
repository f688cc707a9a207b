"""
Probes as tasks that are counted while they run, and the sessions they share.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import ClientSession

from daemon.session import open_session, open_unix_session

Result = TypeVar("Result")
Tell = Callable[[str, int, int], None]  # what is waited for, how many probes are done, how many there are


class Probes:
    """They run inside `group`; the sessions are closed with `stack`, which has to outlast it."""

    def __init__(self, group: asyncio.TaskGroup, stack: contextlib.AsyncExitStack, tell: Tell) -> None:
        self._group, self._stack, self._tell = group, stack, tell
        self._planned = 0
        self._running: list[str] = []
        self._sessions: dict[str, ClientSession] = {}

    def start(self, label: str, probe: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        self._planned += 1
        self._running.append(label)
        return self._group.create_task(self._counted(label, probe))

    def session_from(self, source_address: str = "") -> ClientSession:
        """Whose connections go out from that address; "" is the system's choice."""
        return self._kept(source_address, lambda: open_session(source_address))

    def session_to(self, listener: str) -> ClientSession:
        """For a listener of this machine, as in `server.listen`."""
        if listener.startswith("unix:"):
            return self._kept(listener, lambda: open_unix_session(listener.removeprefix("unix:")))
        return self.session_from()

    def _kept(self, name: str, make: Callable[[], ClientSession]) -> ClientSession:
        if name not in self._sessions:
            self._sessions[name] = make()
            self._stack.push_async_callback(self._sessions[name].close)
        return self._sessions[name]

    async def _counted(self, label: str, probe: Coroutine[Any, Any, Result]) -> Result:
        result = await probe
        self._running.remove(label)
        self._tell(next(iter(self._running), ""), self._planned - len(self._running), self._planned)
        return result
