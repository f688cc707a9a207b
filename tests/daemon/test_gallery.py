"""Drawn pictures as files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from bot.picture import Picture
from bot.store import StoreUnavailable
from daemon.demo.pictures import png
from daemon.gallery import FolderGallery

CAT, DOG = Picture("png", png("a cat", "64x64")), Picture("png", png("a dog", "64x64"))
ANNA, BEN = ("gh_a", "o_anna"), ("gh_a", "o_ben")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "posthouse.db.pictures"


@pytest.fixture
def gallery(folder: Path) -> FolderGallery:
    return FolderGallery(folder, b"secret")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_picture_comes_back_as_it_was_also_after_a_restart(gallery: FolderGallery, folder: Path) -> None:
    cat = await gallery.keep(*ANNA, CAT)
    dog = await gallery.keep(*ANNA, DOG)

    assert await gallery.get(cat) == CAT
    assert await FolderGallery(folder, b"secret").get(dog) == DOG
    assert cat != await gallery.keep(*ANNA, CAT)


async def test_only_who_runs_the_daemon_may_read_them_and_no_name_tells_whose_they_are(
    gallery: FolderGallery, folder: Path
) -> None:
    await gallery.keep(*ANNA, CAT)

    paths = [folder, *folder.rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in paths} == {0}
    assert not any("anna" in str(path.relative_to(folder)) for path in paths)


async def test_forgetting_a_subscriber_removes_their_pictures_and_nobody_elses(gallery: FolderGallery) -> None:
    cat, dog = await gallery.keep(*ANNA, CAT), await gallery.keep(*BEN, DOG)

    await gallery.forget(*ANNA)
    await gallery.forget(*ANNA)

    assert await gallery.get(cat) is None
    assert await gallery.get(dog) == DOG


async def test_what_is_old_expires(gallery: FolderGallery, folder: Path) -> None:
    old = await gallery.keep(*ANNA, CAT)
    [path] = files(folder)
    os.utime(path, (100.0, 100.0))
    new = await gallery.keep(*ANNA, DOG)

    assert await gallery.expire(before=200.0) == 1
    assert await gallery.get(old) is None
    assert await gallery.get(new) == DOG


async def test_of_a_subscriber_whose_pictures_all_expired_nothing_is_left(gallery: FolderGallery, folder: Path) -> None:
    await gallery.keep(*ANNA, CAT)
    [path] = files(folder)
    path.with_name("a write that was killed").with_suffix(".part").touch()

    await gallery.expire(before=2e10)

    assert list(folder.iterdir()) == []
    assert await gallery.get(await gallery.keep(*ANNA, DOG)) == DOG


async def test_what_others_put_into_the_folder_stays_and_is_in_nobodys_way(
    gallery: FolderGallery, folder: Path
) -> None:
    await gallery.keep(*ANNA, CAT)
    (folder / "lost+found").mkdir(mode=0)
    (folder / "notes.txt").touch()

    assert await gallery.expire(before=2e10) == 1
    assert {path.name for path in folder.iterdir()} == {"lost+found", "notes.txt"}


@pytest.mark.parametrize(
    "picture_id", ["", "x", "../" * 20 + "etc/passwd", "0" * 63, "0" * 64, "G" * 64, "0" * 64 + "\n"]
)
async def test_an_id_that_was_not_made_here_leads_nowhere(gallery: FolderGallery, picture_id: str) -> None:
    assert await gallery.get(picture_id) is None


@pytest.mark.parametrize("more", ["\n", "/", "/../", ".part", "0", "\0"])
async def test_an_id_with_more_to_it_is_none(gallery: FolderGallery, more: str) -> None:
    cat = await gallery.keep(*ANNA, CAT)
    assert await gallery.get(cat + more) is None
    assert await gallery.get(more + cat) is None


async def test_without_pictures_there_is_no_folder(gallery: FolderGallery, folder: Path) -> None:
    assert await gallery.expire(before=1e12) == 0
    await gallery.forget(*ANNA)

    assert not folder.exists()


async def test_a_folder_that_cannot_be_made_is_an_unavailable_store(gallery: FolderGallery, folder: Path) -> None:
    folder.write_text("a file where the folder should be")

    with pytest.raises(StoreUnavailable) as raised:
        await gallery.keep(*ANNA, CAT)

    assert str(raised.value) == "the store is unavailable: a picture: Not a directory"


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_takes_a_part_only_keeps_no_part(gallery: FolderGallery, folder: Path) -> None:
    with files_of_at_most(len(CAT.data) - 1), pytest.raises(StoreUnavailable, match="File too large"):
        await gallery.keep(*ANNA, CAT)

    assert files(folder) == []
    assert await gallery.get(await gallery.keep(*ANNA, CAT)) == CAT


class Slow(type(Path())):  # type: ignore[misc]
    """A place on a disk that makes a folder when it is told to."""

    asked: ClassVar[threading.Event]
    told: ClassVar[threading.Event]
    renamed: ClassVar[threading.Event]

    def mkdir(self, *args: Any, **kwargs: Any) -> None:
        self.asked.set()
        assert self.told.wait(10)
        super().mkdir(*args, **kwargs)

    def rename(self, target: Any) -> Any:
        try:
            return super().rename(target)
        finally:
            self.renamed.set()


@pytest.fixture
def slow(folder: Path) -> FolderGallery:
    Slow.asked, Slow.told, Slow.renamed = threading.Event(), threading.Event(), threading.Event()
    return FolderGallery(Slow(folder), b"secret")


async def test_a_picture_that_is_being_written_for_who_leaves_meanwhile_is_forgotten_too(
    slow: FolderGallery, folder: Path
) -> None:
    keeping = asyncio.create_task(slow.keep(*ANNA, CAT))
    await asyncio.to_thread(Slow.asked.wait, 10)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping

    forgetting = asyncio.create_task(slow.forget(*ANNA))
    await asyncio.wait({forgetting}, timeout=0.1)  # as long as a forgetting that did not wait would take
    Slow.told.set()
    await forgetting

    assert await asyncio.to_thread(Slow.renamed.wait, 10)
    assert list(folder.iterdir()) == []


async def test_reading_does_not_wait_for_a_slow_write(gallery: FolderGallery, slow: FolderGallery) -> None:
    cat = await gallery.keep(*ANNA, CAT)
    keeping = asyncio.create_task(slow.keep(*BEN, DOG))
    await asyncio.to_thread(Slow.asked.wait, 10)

    async with asyncio.timeout(5):
        assert await slow.get(cat) == CAT

    Slow.told.set()
    assert await slow.get(await keeping) == DOG
