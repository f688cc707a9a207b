"""The list of words on the disk: read at the start, read again when it changed, and kept when the change is bad."""

from __future__ import annotations

import codecs
import os
import threading
from pathlib import Path
from typing import IO, Any, ClassVar

import pytest
from structlog.testing import capture_logs

from daemon.word_file import BadWordFile, WordFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "words.txt"


def loaded(path: Path) -> WordFile:
    words = WordFile(path)
    words.load()
    return words


def replace(path: Path, text: str) -> None:
    """As an editor does."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def test_a_file_has_a_word_a_line(path: Path) -> None:
    path.write_bytes(codecs.BOM_UTF8 + "#说明\r\n敏感词\r\n\r\n  # 说明，不是词\n kill you \n\x0c\nlast#one".encode())
    with capture_logs() as logs:
        words = loaded(path)
    assert logs == [{"event": "words.loaded", "log_level": "info", "count": 3}]
    assert all(map(words.finds, ("敏 感 词", "kill  you", "last#one")))
    assert not any(map(words.finds, ("说明", "last", "#", "")))


def test_an_empty_file_is_a_list_of_nothing(path: Path) -> None:
    path.touch()
    assert not loaded(path).finds("敏感词")


def test_nothing_is_found_before_the_file_was_read(path: Path) -> None:
    assert not WordFile(path).finds("敏感词")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("好\n坏".encode() + b"\n\xff\n", ", line 3: expected UTF-8"),
        ("敏感词".encode("gb18030"), ", line 1: expected UTF-8"),
        ("敏感词".encode("utf-16"), ", line 1: expected UTF-8"),
        (codecs.BOM_UTF8 + b"\n\n\xb2", ", line 3: expected UTF-8"),
        (b"ok\n" + b"secret " * 20, ", line 2: expected a word of at most 100 characters, got 139"),
        (b"a\n" * 200_000 + b"#\n\nsecret", ", line 200003: expected at most 200000 words"),
        (b"#" * (8 << 20) + b"\n", ": expected at most 8 MiB"),
    ],
)
def test_what_is_wrong_with_a_file_names_the_line_and_no_word(path: Path, content: bytes, sentence: str) -> None:
    path.write_bytes(content)
    with pytest.raises(BadWordFile) as caught:
        loaded(path)
    assert str(caught.value) == f"{path}{sentence}"


def test_a_file_that_is_none_is_told_as_such(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, sentence in [
        (tmp_path / "gone", "expected a readable file (no such file or directory)"),
        (tmp_path, "expected a file"),
        (tmp_path / "pipe", "expected a file"),
        (Path("a\0b"), "expected a readable file (not a file name)"),
    ]:
        with pytest.raises(BadWordFile) as caught:
            loaded(path)
        assert str(caught.value) == f"{path}: {sentence}"


async def test_a_change_is_taken_up(path: Path) -> None:
    path.write_text("旧词", encoding="utf-8")
    words = loaded(path)
    replace(path, "新词\n又一个")
    with capture_logs() as logs:
        await words.refresh()
    assert [(log["event"], log["count"]) for log in logs] == [("words.loaded", 2)]
    assert words.finds("新词")
    assert not words.finds("旧词")


async def test_a_file_that_did_not_change_is_not_read(path: Path) -> None:
    path.write_text("旧词", encoding="utf-8")
    words = loaded(path)
    with capture_logs() as logs:
        await words.refresh()
    assert logs == []


async def test_a_bad_change_is_told_once_and_changes_nothing(path: Path) -> None:
    path.write_text("旧词", encoding="utf-8")
    words = loaded(path)
    path.write_bytes(b"fine\nsecret \xff")
    with capture_logs() as logs:
        await words.refresh()
        await words.refresh()
    assert logs == [{"event": "words.refused", "log_level": "warning", "why": f"{path}, line 2: expected UTF-8"}]
    assert words.finds("旧词")
    replace(path, "新词")
    await words.refresh()
    assert words.finds("新词")


async def test_a_file_that_went_away_leaves_the_list_as_it_was(path: Path) -> None:
    path.write_text("旧词", encoding="utf-8")
    words = loaded(path)
    aside = path.rename(path.with_suffix(".aside"))
    with capture_logs() as logs:
        await words.refresh()
        await words.refresh()
        assert words.finds("旧词")
        aside.rename(path)
        await words.refresh()
    assert [log["event"] for log in logs] == ["words.refused", "words.loaded"]
    assert words.finds("旧词")


class Watched(type(Path())):  # type: ignore[misc]
    """A path that notes which threads look at it."""

    threads: ClassVar[list[threading.Thread]] = []

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        self.threads.append(threading.current_thread())
        return super().stat(follow_symlinks=follow_symlinks)  # type: ignore[no-any-return]

    def open(self, *args: Any, **kwargs: Any) -> IO[Any]:
        self.threads.append(threading.current_thread())
        return super().open(*args, **kwargs)  # type: ignore[no-any-return]


async def test_the_file_is_looked_at_and_read_beside_the_event_loop(path: Path) -> None:
    path.write_text("旧词", encoding="utf-8")
    words = loaded(Watched(path))
    replace(path, "新词")
    Watched.threads.clear()
    await words.refresh()
    assert words.finds("新词")
    assert len(Watched.threads) == 3
    assert threading.main_thread() not in Watched.threads
