"""The threats of docs/security.md are held to the tests, and what no running daemon can show is read from the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.cli import posthouse

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)")
# What the threat model has to have, by a word that its row has.
THREATS = (
    *(
        "without a token",
        "mixed",
        "administration",
        "SSRF",
        "smuggling",
        "header of its own",
        "slow",
        "bombs",
        "forged",
    ),
    *("of another account", "replay", "padding oracle", "CSRF", "XSS", "session", "guessing", "line of the log"),
    *("whoever reads logs", "arguments", "core", "deleted", "package", "certificate", "torn"),
)


def threats(text: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """What each row says, and its tests, as (name, file)."""
    section = text.partition("\n## Threats\n")[2].partition("\n## ")[0]
    rows = [row for row in ROW.finditer(section) if row[4] != "shown by"]
    return [(f"{row[1]}: {row[2]}", NAMED.findall(row[4])) for row in rows]


DOCUMENT = (ROOT / "docs" / "security.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("threat", "tests"), threats(DOCUMENT), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_threat_has_tests_that_exist(threat: str, tests: list[tuple[str, str]]) -> None:
    assert tests, threat
    for name, path in tests:
        source = (ROOT / path).read_text("utf-8")
        assert re.search(rf"^(?:async )?def {name}\(", source, re.MULTILINE), f"{path} has no {name}"


@pytest.mark.parametrize("threat", THREATS)
def test_every_threat_that_was_thought_of_has_a_row(threat: str) -> None:
    assert any(threat in row for row, _ in threats(DOCUMENT))


# --- what is compared with what strangers show

SECRETIVE = re.compile(r"\b_?(?:\w+_)?(?:token|secret|password|signature|claimed|mac|digest|hmac|ticket|session)s?\b")
# A public file's digest; two tokens that WeChat gave us; a question's place in its line.
COMPARED_PLAINLY = {
    "request.query.get('v') == asset.digest",
    "token.value == but_not",
    "self._token.value != but_not",
    "ticket.exchange.push_id == exchange.push_id",
}
COMPARED_IN_CONSTANT_TIME = (
    *("proxy/callers.py", "bot/wechat/crypt.py", "bot/wechat/cloudrun.py"),
    *("daemon/media.py", "daemon/operator/sign_in.py"),
)


def plain_comparisons(source: str) -> Iterator[str]:
    """Those of two values, of which one sounds like a secret."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = (node.left, *node.comparators)
        if not any(isinstance(side, ast.Constant) for side in sides) and SECRETIVE.search(ast.unparse(node)):
            yield ast.unparse(node)


def test_secrets_are_compared_in_constant_time() -> None:
    rooms = [path for room in ("proxy", "bot", "daemon") for path in (ROOT / room).rglob("*.py")]
    found = {each for path in rooms if "demo" not in path.parts for each in plain_comparisons(path.read_text("utf-8"))}
    assert found == COMPARED_PLAINLY
    for path in COMPARED_IN_CONSTANT_TIME:
        assert "hmac.compare_digest(" in (ROOT / path).read_text("utf-8"), path


@pytest.mark.parametrize(
    "line", ["given == self._token", "signature != expected", "a.password == b", "mac == self._mac(x)"]
)
def test_a_plain_comparison_of_a_secret_would_be_seen(line: str) -> None:
    assert list(plain_comparisons(line))


# --- what is given to commands and taken from the net

HARMLESS = {"--config", "--account", "--model", "--app-id"}


def test_no_command_takes_a_secret_as_an_argument() -> None:
    """Other users of the machine see arguments. `posthouse token NAME` makes one, and is told its name."""
    for name, command in posthouse.commands.items():
        options = {option for parameter in command.params for option in parameter.opts} - HARMLESS
        assert not {option for option in options if re.search("key|token|secret|password|aes", option)}, name


@pytest.mark.parametrize("path", sorted(ROOT.glob("requirements*.txt")), ids=lambda path: path.name)
def test_every_package_is_locked_with_its_hashes(path: Path) -> None:
    packages = [each for each in re.split(r"\n(?=\S)", path.read_text("utf-8")) if not each.startswith("#")]
    assert len(packages) > 10
    assert [each.partition(" ")[0] for each in packages if "==" not in each or "--hash=sha256:" not in each] == []


@pytest.mark.parametrize("script", ["Makefile", "systemd/install.sh"])
def test_every_install_asks_for_the_hashes(script: str) -> None:
    lines = (ROOT / script).read_text("utf-8").replace("\\\n", " ").splitlines()
    installs = [line for line in lines if "-m pip install" in line]
    assert installs
    assert [line for line in installs if "--require-hashes" not in line] == []
