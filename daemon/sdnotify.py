"""
What systemd is told about us: ready, stopping, alive. Outside systemd every call does nothing.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping

from proxy.value import value_type

SEND_SECONDS = 1.0  # a supervisor that does not read must not stop the daemon


@value_type
class Supervisor:
    """`watchdog_seconds` is after how long a silence systemd kills us, None when never: call `beat` twice as often."""

    address: str = ""
    watchdog_seconds: float | None = None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Supervisor:
        """Takes its variables out of `environ`, so that a child process does not speak for us."""
        names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
        address, microseconds, pid = (environ.pop(name, "") for name in names)
        is_watched = microseconds.isdecimal() and int(microseconds) > 0 and pid in ("", str(os.getpid()))
        return cls(address, int(microseconds) / 1_000_000 if is_watched else None)

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    async def beat(self) -> None:
        """A coroutine, so that it can be a `Job`: the watchdog then sees whether the event loop still turns."""
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self.address:
            return
        abstract = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.settimeout(SEND_SECONDS)
            supervisor.sendto(state.encode(), abstract)
