"""
The operator's list of words: a file that is read at the start, and again when it has changed. One word a line, in UTF-8; an
empty line and one that begins with # say nothing.

Rule 1: no word enters a log or an error: they name the file and the line.
Rule 2: a change that is bad changes nothing but the log, which tells it once.
Rule 3: the file is looked at and read in a thread.
"""

from __future__ import annotations

import asyncio
import codecs
import stat
from pathlib import Path

import structlog

from bot.words import WordFilter

log = structlog.get_logger()

MOST_BYTES = 8 * 1024 * 1024
MOST_WORDS = 200_000
LONGEST_WORD = 100  # characters; what is longer is not a list of words

# What tells one content of a file from the next: inode, size, and the nanoseconds of both changes. None: there is no file.
Stamp = tuple[int, int, int, int] | None


class BadWordFile(Exception):
    """`line` is 0 where it is about the file as a whole."""

    def __init__(self, path: Path, line: int, wrong: str) -> None:
        super().__init__(path, line, wrong)
        self.path = path
        self.line = line
        self.wrong = wrong

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.wrong}" if self.line else f"{self.path}: {self.wrong}"


class WordFile:
    """Finds nothing before `load`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._filter = WordFilter(())
        self._seen: Stamp = None

    def load(self) -> None:
        """Raises BadWordFile."""
        self._seen = _stamp(self._path)
        self._take(_read(self._path))

    async def refresh(self) -> None:
        """To be run every now and then."""
        # The stamp is older than what is read, so a change in between is seen the next time.
        stamp = await asyncio.to_thread(_stamp, self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._take(await asyncio.to_thread(_read, self._path))
        except BadWordFile as bad:
            log.warning("words.refused", why=str(bad))

    def finds(self, text: str) -> bool:
        return self._filter.finds(text)

    def _take(self, words: WordFilter) -> None:
        self._filter = words
        log.info("words.loaded", count=len(words))


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: Path) -> WordFilter:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadWordFile(path, 0, "expected a file")  # to open a pipe would wait for whoever writes into it
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "not a file name"
        raise BadWordFile(path, 0, f"expected a readable file ({reason[0].lower()}{reason[1:]})") from None
    if len(data) > MOST_BYTES:
        raise BadWordFile(path, 0, f"expected at most {MOST_BYTES >> 20} MiB")
    return WordFilter(_words(path, data.removeprefix(codecs.BOM_UTF8)))


def _words(path: Path, data: bytes) -> list[str]:
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise BadWordFile(path, data.count(b"\n", 0, error.start) + 1, "expected UTF-8") from None
    words = []
    for number, line in enumerate(lines, 1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        if len(word) > LONGEST_WORD:
            raise BadWordFile(path, number, f"expected a word of at most {LONGEST_WORD} characters, got {len(word)}")
        words.append(word)
        if len(words) > MOST_WORDS:
            raise BadWordFile(path, number, f"expected at most {MOST_WORDS} words")
    return words
