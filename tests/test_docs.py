"""The documents are held to the program: what they link to, run, configure and look for in the log is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from bot.wechat.gate import Why
from daemon import config
from daemon.cli import posthouse
from daemon.secret import Sources
from proxy.lease import EVENT_OF_STATE

ROOT = Path(__file__).parent.parent
DOCUMENTS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
READMES = (ROOT / "README.md", ROOT / "README.en.md")

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
COMMAND = re.compile(r"(?:posthouse|python -m daemon) ([a-z]+)((?: (?!2>)[^\s`|;&)]+)*)")
EVENT = re.compile(r"`([a-z_]+\.[a-z_]+)`")
LOGGED = re.compile(r'log\.\w+\(\s*"([a-z_]+\.[a-z_]+)"')
# Documents outlive the machine they were written on, and a mirror is nobody else's.
OF_SOME_MACHINE = re.compile(r"/(?:work|root|tmp|home|Users)/|pypi\.|pythonhosted|mirrors?\.|index-url|\.internal\b")

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def prose(document: Path) -> str:
    """Without what stands in fences, where a # begins no heading."""
    return FENCE.sub("", document.read_text("utf-8"))


def headings(document: Path) -> list[tuple[str, str]]:
    return [(found[1], found[2]) for found in HEADING.finditer(prose(document))]


def anchors(document: Path) -> set[str]:
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for _, title in headings(document)}


def links(document: Path) -> list[str]:
    return LINK.findall(prose(document))


def code(document: Path) -> list[tuple[str, str]]:
    """(language, text) of every fence; one that stands in a list is indented, which is not part of it."""
    return [(found[1], found[2]) for found in FENCE.finditer(document.read_text("utf-8"))]


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """(name, flags) of every call of ours that stands as code, in a fence or between backticks."""
    fences = [fence[2] for fence in FENCE.finditer(text)]
    spans = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for snippet in (*fences, *spans):
        for name, rest in COMMAND.findall(snippet):
            yield name, re.findall(r"--[a-z-]+", rest)


def faults_of_links(document: Path) -> Iterator[str]:
    for link in links(document):
        parts = urlsplit(unquote(link))
        if parts.scheme:
            continue
        target = (document.parent / parts.path).resolve() if parts.path else document
        if not target.exists() or (parts.fragment and parts.fragment not in anchors(target)):
            yield link


@every_document
def test_every_link_inside_the_house_leads_somewhere(document: Path) -> None:
    assert list(faults_of_links(document)) == []


def test_a_link_to_nothing_would_be_seen(tmp_path: Path) -> None:
    document = tmp_path / "some.md"
    document.write_text("# Here\n[a](gone.md) [b](some.md#here) [c](#there) [d](https://example.org/gone)\n")
    assert list(faults_of_links(document)) == ["gone.md", "#there"]


@every_document
def test_every_command_that_is_named_exists_with_its_flags(document: Path) -> None:
    for name, flags in commands(document.read_text("utf-8")):
        assert name in posthouse.commands, name
        known = {option for parameter in posthouse.commands[name].params for option in parameter.opts} | {"--help"}
        assert set(flags) <= known, (name, flags)


@every_document
def test_every_piece_of_config_is_one_that_the_program_takes(document: Path) -> None:
    given = {"OPENAI_API_KEY": "some-key", "WECHAT_TOKEN": "letters", "CLOUDRUN_SECRET": "some-words"}
    for language, text in code(document):
        if language == "toml":
            config.parse_text(text, Sources(given, ROOT))


def test_the_readmes_say_the_same_in_two_languages() -> None:
    chinese, english = READMES
    assert [depth for depth, _ in headings(chinese)] == [depth for depth, _ in headings(english)]
    assert code(chinese) == code(english)
    assert [len(row.split(" | ")) for row in rows(chinese)] == [len(row.split(" | ")) for row in rows(english)]
    assert {unlike(link) for link in links(chinese)} == {unlike(link) for link in links(english)}


def rows(document: Path) -> list[str]:
    return [line for line in prose(document).splitlines() if line.startswith("|")]


def unlike(link: str) -> str:
    """Without what tells the languages apart."""
    return re.sub(r"-(?:zh|en)\.png$|^README(?:\.en)?\.md$", "", link)


def test_a_refusal_that_the_readmes_explain_is_one_that_the_log_gives() -> None:
    explained = [
        name
        for row in rows(READMES[0])
        if "push.refused" in row or "`reason`" in row
        for cell in row.split(" | ")[:2]  # the third says what to run
        for name in re.findall(r"`([a-z_]+)`", cell)
    ]
    assert {"signature", "timestamp"} <= set(explained)
    assert set(explained) - {"reason"} <= {str(why) for why in Why}


def test_every_event_that_operators_should_look_for_is_logged() -> None:
    sources = [path for room in ("proxy", "bot", "daemon") for path in (ROOT / room).rglob("*.py")]
    logged = {event for path in sources for event in LOGGED.findall(path.read_text("utf-8"))}
    logged |= {f"key.{event}" for event in EVENT_OF_STATE.values()}
    named = {event for row in rows(ROOT / "docs" / "operations.md") for event in EVENT.findall(row)}
    named = {event for event in named if not event.startswith(("bot.", "server.", "status."))}  # settings, and a URL
    assert len(named) > 5
    assert named <= logged


@every_document
def test_no_document_names_a_registry_or_somebodys_machine(document: Path) -> None:
    assert OF_SOME_MACHINE.search(document.read_text("utf-8")) is None


def test_pictures_are_small() -> None:
    assert [path.name for path in (ROOT / "docs").rglob("*.png") if path.stat().st_size > 150_000] == []
