"""
What stands in front of `server.public_url`, as the daemon sees it from outside: does it let streams through as they come?

Rule 1: the way is the page's own: its events, the first of which is sent at once. Nothing is asked of anybody else.
Rule 2: the password goes over TLS alone; where `public_url` is http, nobody looks (`posthouse doctor` may, from this machine).
Rule 3: only an answer of ours tells anything: what is not reached, or answers otherwise, is `doctor`'s to explain.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import structlog

from daemon.doctor.patience import USUAL
from daemon.session import open_session

if TYPE_CHECKING:
    from daemon.doctor.facts import First

log = structlog.get_logger()

LOOK_SECONDS = 3600.0  # between two looks; whoever changes the proxy reloads the page more often than we may ask


class Front:
    """`buffers` is None until something is known."""

    def __init__(
        self,
        public_url: str,
        password: str | None,
        context: ssl.SSLContext | None = None,
        *,
        patience: float = USUAL.event,
    ) -> None:
        """`context` says whose certificates are believed; `patience` is in seconds."""
        self._public_url, self._password, self._patience = public_url, password, patience
        self._context = context
        self.buffers: bool | None = None

    async def look(self) -> None:
        """For a job."""
        if self._password is None or not self._public_url.startswith("https://"):
            return
        from daemon.doctor.doors import Site  # most daemons never look
        from daemon.doctor.own_urls import first_event

        async with open_session() as session:
            site = Site(self._public_url, session, self._context or ssl.create_default_context())
            first = await first_event(site, self._password, seconds=self._patience)
        was, self.buffers = self.buffers, holds_back(first)
        if self.buffers and not was:
            log.warning("front.buffers", advice="streams come late and in one piece; switch its buffering off")


def holds_back(first: First) -> bool | None:
    if first.failure is not None or first.status not in (0, 200):
        return None
    if first.status == 200 and not first.is_stream:
        return None  # somebody else's page
    return first.seconds is None  # the head alone, or not even that
