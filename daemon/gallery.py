"""
Drawn pictures as files, in a folder beside the database.

Rule 1: they are no rows: where a subscriber leaves, the database is written anew so that no byte of theirs stays (VACUUM),
        and with pictures of megabytes in it that would hold everybody's answers up.
Rule 2: a subscriber's pictures lie in a folder of their own, called by an HMAC of who they are for; forgetting removes it.
Rule 3: a picture is there as a whole or not at all, after a power cut too.
Rule 4: one thread changes files, one change after the other. Whoever is forgotten while a picture of theirs is being written
        is so after that, even where nobody waits for the writing any more.
Rule 5: only who runs the daemon may read them; an id that was not made here leads nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from bot.picture import Picture, picture_of
from bot.store import StoreUnavailable

OWNER_DIGITS = 32  # hexadecimal, as the rest of an id: 128 bits each
OWNERS = "[0-9a-f]" * OWNER_DIGITS + "/"  # a file system puts things of its own into a folder
ID = re.compile(rf"[0-9a-f]{{{2 * OWNER_DIGITS}}}")

T = TypeVar("T")


class FolderGallery:
    """`bot.gallery.Gallery`. `secret` is the installation's. The folder is made when the first picture is kept."""

    def __init__(self, folder: Path, secret: bytes) -> None:
        self._folder = folder
        self._secret = secret
        self._changes = ThreadPoolExecutor(1, "gallery")

    def __repr__(self) -> str:
        return "<FolderGallery>"

    async def keep(self, account: str, openid: str, picture: Picture) -> str:
        picture_id = self._owner(account, openid) + secrets.token_hex(OWNER_DIGITS // 2)
        await _done(self._changes, lambda: _write(self._place(picture_id), picture.data))
        return picture_id

    async def get(self, picture_id: str) -> Picture | None:
        if not ID.fullmatch(picture_id):
            return None
        return await _done(None, lambda: _read(self._place(picture_id)))

    async def forget(self, account: str, openid: str) -> None:
        await _done(self._changes, lambda: _remove(self._folder / self._owner(account, openid)))

    async def expire(self, *, before: float) -> int:
        return await _done(self._changes, lambda: sum(_expire(owner, before) for owner in self._folder.glob(OWNERS)))

    def _owner(self, account: str, openid: str) -> str:
        who = f"pictures:{account}:{openid}".encode()
        return hmac.digest(self._secret, who, hashlib.sha256).hex()[:OWNER_DIGITS]

    def _place(self, picture_id: str) -> Path:
        return self._folder / picture_id[:OWNER_DIGITS] / picture_id[OWNER_DIGITS:]


async def _done(thread: Executor | None, work: Callable[[], T]) -> T:
    """None is any thread."""
    try:
        return await asyncio.get_running_loop().run_in_executor(thread, work)
    except OSError as error:
        raise StoreUnavailable(f"a picture: {error.strerror}") from error


def _write(place: Path, data: bytes) -> None:
    _make(place.parent.parent)
    _make(place.parent)
    begun = place.with_suffix(".part")
    try:
        with os.fdopen(os.open(begun, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        begun.rename(place)
    except OSError:
        with contextlib.suppress(OSError):
            begun.unlink()
        raise
    _sync(place.parent)


def _make(folder: Path) -> None:
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """What stands in it, and under which name, is on the disk."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _read(place: Path) -> Picture | None:
    try:
        return picture_of(place.read_bytes())
    except FileNotFoundError:
        return None


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return


def _expire(owner: Path, before: float) -> int:
    """How many pictures went. A folder without any goes too: its name says that somebody once had a picture drawn."""
    old = [place for place in owner.iterdir() if place.stat().st_mtime < before]
    for place in old:
        place.unlink()
    with contextlib.suppress(OSError):  # there are others in it
        owner.rmdir()
    return len(old)
