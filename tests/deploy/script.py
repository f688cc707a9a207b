"""
What deploy.ps1 says, read without a PowerShell: its tree, the lines that it runs, and how it fills them in.

Rule 1: the lines are the script's own; only what fills them in (`expand_text`, `expand_line`) is said a second time here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

ROOT = Path(__file__).parent.parent.parent
SOURCE = (ROOT / "deploy.ps1").read_text("utf-8")
HERE_STRING = re.compile(r"^\$(\w+) = @'\n(.*?)\n'@$", re.MULTILINE | re.DOTALL)
LIST = re.compile(r"^\$(\w+) = @\(('[^()]+')\)$", re.MULTILINE)

Values = Mapping[str, str | Sequence[str]]

HERE_STRINGS = dict(HERE_STRING.findall(SOURCE))
LISTS: dict[str, list[str]] = {name: list(ast.literal_eval(f"[{items}]")) for name, items in LIST.findall(SOURCE)}
LINES = {name: words for name, _, words in (line.partition(" ") for line in HERE_STRINGS["Lines"].splitlines())}
# What ssh writes, in the order in which its log is looked through.
COMPLAINTS_OF_SSH: list[str] = re.findall(r"@\{ Says = '([^']+)'", SOURCE)
# The line that names a folder there.
FOLDER_LINE = re.compile("".join(re.findall(r"-match '\^(folder .+?)\\z'", SOURCE)))
OWN_EXIT_CODES = {int(code) for code in re.findall(r"^    (\d+) = '", SOURCE, re.MULTILINE)}


def tree(source: str) -> Node:
    return Parser(Language(tree_sitter_powershell.language())).parse(source.encode()).root_node


def nodes(root: Node, *kinds: str) -> Iterator[Node]:
    """Those of these kinds, in the order of the text."""
    if root.type in kinds:
        yield root
    for child in root.children:
        yield from nodes(child, *kinds)


def text_of(node: Node | None) -> str:
    return (node.text or b"").decode() if node else ""


def expand_text(text: str, values: Values) -> str:
    filled = " ".join(line.strip() for line in text.splitlines())
    for name, value in values.items():
        filled = filled.replace(f"{{{name}}}", value if isinstance(value, str) else " ".join(value))
    return filled


def expand_line(name: str, values: Values) -> list[str]:
    words: list[str] = []
    for word in LINES[name].split(" "):
        value = values.get(word[1:-1]) if word == f"{{{word[1:-1]}}}" else expand_text(word, values)
        words += [value] if isinstance(value, str) else value or []
    return words
