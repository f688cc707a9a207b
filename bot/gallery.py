"""Where drawn pictures are kept: the port. Pure."""

from __future__ import annotations

from typing import Protocol

from bot.picture import Picture


class Gallery(Protocol):
    """Any method may raise `bot.store.StoreUnavailable`; the same call may succeed later."""

    async def keep(self, account: str, openid: str, picture: Picture) -> str:
        """The picture's id: letters and digits that nobody can guess. It survives a power cut when this returns."""

    async def get(self, picture_id: str) -> Picture | None: ...

    async def forget(self, account: str, openid: str) -> None:
        """Delete every picture that was drawn for the subscriber, also one whose `keep` was cancelled a moment ago."""

    async def expire(self, *, before: float) -> int:
        """Delete what was kept before `before`, epoch seconds. How many there were."""
