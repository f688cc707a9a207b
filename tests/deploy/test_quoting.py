"""
On the way from Windows to the server's sh a word is written into a command line twice: by Windows PowerShell 5.1, which
quotes what has a blank in it and escapes nothing, and by ssh, which only joins. What the script sends comes out as it went in.
"""

from __future__ import annotations

import re
import shlex

import pytest

from tests.deploy.script import HERE_STRINGS, LINES, expand_line, expand_text

pytestmark = pytest.mark.deploy

VALUES: dict[str, str | list[str]] = {
    "target": "root@203.0.113.7",
    "as_root": HERE_STRINGS["AsRoot"],
    "folder": "/tmp/posthouse-deploy.0123456789",
    "sha256": "0" * 64,
    "kilobytes": "10",
    "action": "install --listen [::1]:8080",
}
VALUES["port"] = expand_line("port", {"number": "2222"})
VALUES["identity"] = expand_line("identity", {"file": r"C:\Users\张 三\[key]\id_ed25519"})
VALUES["connection"] = expand_line("connection", VALUES)
VALUES["prepare"] = expand_text(HERE_STRINGS["Prepare"], VALUES)
VALUES["run"] = expand_text(HERE_STRINGS["Run"], VALUES)


def written_by_powershell_5(words: list[str]) -> str:
    return " ".join(f'"{word}"' if re.search(r"\s", word) and not word.startswith('"') else word for word in words)


def read_by_a_program(line: str) -> list[str]:
    """
    As programs on Windows do: 2n backslashes and a quote are n and the end or begin of a quotation, one more is a quote.

    Source: "Parsing C command-line arguments" of Microsoft's C runtime.
    """
    words, word, is_quoted, has_begun = [], "", False, False
    for backslashes, character in re.findall(r"(\\*)([^\\]|$)", line):
        if character == '"':
            word += "\\" * (len(backslashes) // 2)
            has_begun = True
            if len(backslashes) % 2:
                word += '"'
            else:
                is_quoted = not is_quoted
            continue
        word += backslashes
        if character in ("", " ", "\t") and not is_quoted:
            words += [word] if word or has_begun else []
            word, has_begun = "", False
        else:
            word += character
    return words


@pytest.mark.parametrize("name", LINES)
def test_a_program_gets_the_words_that_the_script_gave(name: str) -> None:
    words = expand_line(name, VALUES)
    assert read_by_a_program(written_by_powershell_5(words)) == words
    assert all(words), "an empty word would be lost"


@pytest.mark.parametrize("words", [["a", 'say "b c"'], ["a", "b c\\", "d"], ["a", ""]])
def test_words_that_would_not_arrive_are_seen(words: list[str]) -> None:
    assert read_by_a_program(written_by_powershell_5(words)) != words


@pytest.mark.parametrize(("name", "text"), [("prepare", "Prepare"), ("run", "Run")])
def test_sh_there_gets_its_lines_whole_and_filled_in(name: str, text: str) -> None:
    words = expand_line(name, VALUES)
    sent = " ".join(words[words.index(str(VALUES["target"])) + 1 :])
    assert shlex.split(sent) == ["sh", "-c", expand_text(HERE_STRINGS[text], VALUES)]
    assert re.findall(r"\{\w+\}", sent) == []
    assert len(sent) < 8000
