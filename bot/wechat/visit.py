"""
One push that is being answered, in all its deliveries.

Rule: its task belongs to the visit; a delivery that ends, whether by WeChat's leaving or by ours, never ends it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from bot.wechat.passive import Page
from bot.wechat.push import Push

MAX_VISITS = 10_000  # a visit is about 2 KB; so many in a minute are more than an account has

SUCCESS = Page("")  # no words for the subscriber
PROMISE = Page("")  # nor here, for the courier brings them


@dataclass(slots=True, eq=False)
class Visit:
    push: Push
    task: asyncio.Task[Page | None] = field(init=False)
    deliveries: int = 0
    open: int = 0  # of them
    seen_at: float = 0.0  # monotonic
    was_known: bool = False  # before a restart: nobody knows how many deliveries it had, so each is taken for the last
    exchange_id: str = ""  # what it waits for, as soon as that is known
    has_claimed: bool = False

    def __repr__(self) -> str:
        return f"<Visit {self.push!r} {self.deliveries}>"

    @property
    def key(self) -> tuple[str, str, str]:
        return key_of(self.push)

    async def ends(self, seconds: float) -> bool:
        """Whether the visit's words are there within `seconds`; whoever waits here can leave without ending it."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def wake(_: asyncio.Task[Page | None] | None = None) -> None:
            if not over.done():
                over.set_result(None)

        timer = loop.call_later(seconds, wake)
        self.task.add_done_callback(wake)
        try:  # as `asyncio.wait`, for a third of its time
            await over
        finally:
            timer.cancel()
            self.task.remove_done_callback(wake)
        return self.task.done()

    def outcome(self) -> Page | None:
        return None if self.task.cancelled() else self.task.result()


def key_of(push: Push) -> tuple[str, str, str]:
    return (push.account, push.openid, push.push_id)
