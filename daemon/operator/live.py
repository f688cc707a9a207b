"""
The status page while it is open: `/status/events`, a stream of the page's fresh <main>.

Rule 1: what is shown is looked at and laid out once for all viewers of one view (language, page); a viewer costs a write.
Rule 2: nobody looks while nobody watches: the one task that does is Live's own, and ends with the last viewer.
Rule 3: a viewer is given the newest <main> and nothing in between; who takes nothing for `Pace.write` is dropped.
Rule 4: a stream ends with the session that opened it, and at once with `close()`, before anybody waits for requests to end.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from aiohttp import web

from daemon import jobs
from daemon.operator.context import Mail
from daemon.operator.gate import Gate
from daemon.operator.mailroom import Mailroom
from daemon.operator.page import PAGE_HEADERS, asked_language, asked_page
from daemon.operator.seen import Look, Seen
from daemon.operator.steady import steady
from daemon.operator.words import Language
from proxy.value import value_type

MOST_VIEWERS = 100
STREAM_HEADERS = {**PAGE_HEADERS, "Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
# A browser's script is not told of comments, so the heartbeat is an event: without one for long, it polls instead.
BEAT = b"event: beat\ndata: 1\n\n"

View = tuple[Language, int]


@value_type
class Main:
    """A <main> as text, the title, and a name of the script and style it was made for: with others a page starts anew."""

    title: str
    main: str
    files: str

    def event(self) -> bytes:
        shown = {"title": self.title, "main": self.main, "files": self.files}
        return f"event: main\ndata: {json.dumps(shown, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


LayOut = Callable[[Seen, Mail | None, View], Awaitable[Main]]


@value_type
class Pace:
    """In seconds, but for `share`."""

    event: float = 1.0  # at least between two of what is shown
    share: float = 20.0  # the same, in times of what the last look took: many keys take long, and requests come first
    look: float = 1.0  # between two looks where nobody wakes us
    glance: float = 0.2  # at least between two looks, however often we are woken
    fresh: float = 30.0  # after which what is unchanged is sent again, so that ages in words stay right
    beat: float = 10.0  # between two signs of life
    write: float = 20.0  # for a viewer to take what was sent


@value_type
class _Shown:
    event: bytes
    steady: tuple[Seen, Mail | None]
    at: float  # on the loop's clock


@dataclass(slots=True, eq=False)
class _Viewer:
    view: View
    news: asyncio.Event = field(default_factory=asyncio.Event)
    patience: asyncio.Timeout | None = None  # of a write that is under way


class Live:
    def __init__(
        self, gate: Gate, look: Look, mailroom: Mailroom, lay_out: LayOut, *, pace: Pace | None = None
    ) -> None:
        self._gate, self._look, self._mailroom, self._lay_out = gate, look, mailroom, lay_out
        self._pace = pace or Pace()
        self._viewers: set[_Viewer] = set()
        self._shown: dict[View, _Shown] = {}
        self._mail: dict[int, Mail | None] = {}  # by page
        self._woken, self._has_emptied = asyncio.Event(), asyncio.Event()
        self._laying_out = asyncio.Lock()
        self._looked_at = self._cost = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False

    def wake(self) -> None:
        """Something may have changed."""
        self._woken.set()

    async def close(self) -> None:
        """Every stream ends now, and no other begins."""
        self._is_closed = True
        now = asyncio.get_running_loop().time()
        for viewer in self._viewers:
            viewer.news.set()
            if viewer.patience is not None:
                viewer.patience.reschedule(now)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    async def events(self, request: web.Request) -> web.StreamResponse:
        refusal = self._gate.refusal(request)
        if refusal is not None:
            return refusal
        if self._is_closed or len(self._viewers) >= MOST_VIEWERS:
            return web.Response(status=503, text="too many viewers\n", headers={**PAGE_HEADERS, "Retry-After": "10"})
        has_session = self._gate.is_open(request)
        response = web.StreamResponse(headers=STREAM_HEADERS)
        with self._among_viewers((asked_language(request), asked_page(request))) as viewer:
            await self._first(viewer.view)
            with suppress(ConnectionError):  # the viewer has left
                await response.prepare(request)
                last = None
                while not self._is_closed and (not has_session or self._gate.is_open(request)):
                    viewer.news.clear()
                    shown = self._shown[viewer.view]
                    if not await self._taken(viewer, response, BEAT if shown is last else shown.event):
                        if request.transport is not None:
                            request.transport.abort()
                        return response
                    last = shown
                    await _until(viewer.news, self._pace.beat)
                await response.write_eof()
        return response

    async def _taken(self, viewer: _Viewer, response: web.StreamResponse, data: bytes) -> bool:
        try:
            async with asyncio.timeout(self._pace.write) as viewer.patience:
                await response.write(data)
        except TimeoutError:
            return False
        finally:
            viewer.patience = None
        return True

    @contextmanager
    def _among_viewers(self, view: View) -> Iterator[_Viewer]:
        viewer = _Viewer(view)
        self._viewers.add(viewer)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch(), name="status events")
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            if not self._viewers:
                self._has_emptied.set()

    async def _watch(self) -> None:
        while self._viewers:
            async with jobs.running(
                jobs.Job("status mail", self._read_mail, self._pace.look), jobs.Job("status page", self._turn, 0.0)
            ):
                while self._viewers:
                    self._has_emptied.clear()
                    await self._has_emptied.wait()
        self._shown.clear()
        self._mail.clear()

    async def _read_mail(self) -> None:
        for page in {viewer.view[1] for viewer in self._viewers}:
            self._mail[page] = await self._mailroom.mail(page)

    async def _turn(self) -> None:
        """One look, when something changed or it is time; not sooner after an event than another may follow it."""
        await _until(self._woken, self._pace.look)
        shown_at = max((shown.at for shown in self._shown.values()), default=0.0)
        may_show_at = shown_at + max(self._pace.event, self._cost * self._pace.share)
        await asyncio.sleep(max(may_show_at, self._looked_at + self._pace.glance) - _now())
        self._woken.clear()
        self._looked_at = _now()
        await self._show()
        self._cost = _now() - self._looked_at

    async def _show(self) -> None:
        seen, now = self._look(), _now()
        await asyncio.sleep(0)  # many keys take some milliseconds at each step, and requests come first
        without_time = steady(seen, now)
        views = {viewer.view for viewer in self._viewers}
        self._shown = {view: shown for view, shown in self._shown.items() if view in views}
        self._mail = {page: mail for page, mail in self._mail.items() if any(page == each for _, each in views)}
        async with self._laying_out:
            for view in views & self._shown.keys():
                known, mail = self._shown[view], self._mail.get(view[1])
                if known.steady != (without_time, mail) or _now() - known.at >= self._pace.fresh:
                    await self._publish(view, seen, without_time, mail)

    async def _first(self, view: View) -> None:
        """So that whoever comes sees the page at once, and as it is now."""
        if self._has(view):
            return
        mail = await self._mailroom.mail(view[1])
        async with self._laying_out:
            if not self._has(view):
                self._mail[view[1]] = mail
                seen = self._look()
                await self._publish(view, seen, steady(seen, _now()), mail)

    def _has(self, view: View) -> bool:
        known = self._shown.get(view)
        return known is not None and _now() - known.at < self._pace.event

    async def _publish(self, view: View, seen: Seen, without_time: Seen, mail: Mail | None) -> None:
        event = (await self._lay_out(seen, mail, view)).event()
        self._shown[view] = _Shown(event, (without_time, mail), _now())
        for viewer in self._viewers:
            if viewer.view == view:
                viewer.news.set()


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Until it is set, or so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _now() -> float:
    return asyncio.get_running_loop().time()
