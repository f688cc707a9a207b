"""
deploy.ps1 is held to what Windows PowerShell 5.1 takes, as far as that can be seen without one.

Each rule reads a script and yields its faults, as (line, what is wrong). Every rule is shown a script that breaks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from tree_sitter import Node

from tests.deploy.script import (
    COMPLAINTS_OF_SSH,
    HERE_STRINGS,
    LINES,
    LISTS,
    OWN_EXIT_CODES,
    ROOT,
    SOURCE,
    nodes,
    text_of,
    tree,
)

Fault = tuple[int, str]
Rule = Callable[[str], Iterator[Fault]]

pytestmark = pytest.mark.deploy

# The cmdlets, and of each the parameters, that both PowerShells have; the number is how many words may stand without one.
CMDLETS = {
    "Copy-Item": (0, {"-LiteralPath", "-Destination", "-Recurse"}),
    "ForEach-Object": (1, set()),
    "Get-Command": (0, {"-Name", "-CommandType", "-ErrorAction"}),
    "Get-Content": (0, {"-LiteralPath"}),
    "Get-FileHash": (0, {"-LiteralPath", "-Algorithm"}),
    "Get-Item": (0, {"-LiteralPath"}),
    "Join-Path": (0, {"-Path", "-ChildPath"}),
    "New-Object": (0, {"-TypeName"}),
    "Pop-Location": (0, set()),
    "Push-Location": (0, {"-LiteralPath"}),
    "Remove-Item": (0, {"-LiteralPath", "-Recurse", "-Force", "-ErrorAction"}),
    "Select-Object": (0, {"-Skip", "-Last"}),
    "Set-StrictMode": (0, {"-Version"}),
    "Test-Path": (0, {"-LiteralPath", "-PathType"}),
    "Where-Object": (1, set()),
    "Write-Host": (1, set()),
    "Write-Verbose": (0, {"-Message"}),
}
SWITCHES = {"-Recurse", "-Force"}
APPROVED_VERBS = {"Copy", "Expand", "Get", "Invoke"}
# What .NET Framework 4.6 has, and PowerShell's own objects.
MEMBERS = {
    *("Add", "Ceiling", "ContainsKey", "Contains", "CreateDirectory", "Keys", "Length", "NewGuid", "Replace", "Split"),
    *("StartsWith", "ToArray", "ToLowerInvariant", "ToString", "Trim", "Count", "GetTempPath"),
    *("Exception", "GetUnresolvedProviderPathFromPSPath", "Hash", "Message", "ShouldProcess", "Source", "UI"),
    *("WriteErrorLine",),
}
AUTOMATIC = {
    *("$_", "$true", "$false", "$null", "$host", "$pscmdlet", "$psboundparameters", "$psscriptroot", "$lastexitcode"),
    "$env:systemroot",  # nothing where there is no Windows, which StrictMode allows of an environment
}


def line_of(node: Node) -> int:
    return node.start_point.row + 1


def it_is_ascii_with_lf_and_short_lines(source: str) -> Iterator[Fault]:
    """Windows PowerShell reads a file without a BOM in the computer's own code page."""
    for number, line in enumerate(source.split("\n"), 1):
        if not line.isascii() or not line.isprintable():
            yield number, "has something else than printable ASCII"
        if len(line) > 120:
            yield number, f"has {len(line)} characters"
        if line != line.rstrip():
            yield number, "ends in a blank"
    if not source.endswith("\n") or source.endswith("\n\n"):
        yield source.count("\n"), "does not end in one newline"


def it_is_powershell(source: str) -> Iterator[Fault]:
    """The grammar has no ternary, no ?? and no ?., which PowerShell 7 alone has."""
    waiting = [tree(source)]
    while waiting:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            yield line_of(node), f"is not understood: {text_of(node)[:40]}"
        waiting += [child for child in node.children if child.has_error or child.is_missing]


def it_has_no_chains(source: str) -> Iterator[Fault]:
    """Neither in itself (5.1 has none) nor in what it sends."""
    for number, line in enumerate(source.split("\n"), 1):
        if "&&" in line or "||" in line:
            yield number, "chains commands"


def it_is_strict_and_stops_from_the_start(source: str) -> Iterator[Fault]:
    statements = next(nodes(tree(source), "statement_list")).named_children
    if [text_of(node) for node in statements[:2]] != [
        "Set-StrictMode -Version Latest",
        "$ErrorActionPreference = 'Stop'",
    ]:
        yield line_of(statements[0]), "does something before it is strict and stops at errors"


def it_runs_only_what_both_powershells_have(source: str) -> Iterator[Fault]:
    """No alias, no positional word, no abbreviated parameter; and never -Path, which takes [brackets] for a pattern."""
    own = parameters_of_functions(source)
    for command in nodes(tree(source), "command"):
        name = text_of(next(nodes(command, "command_name", "path_command_name"), None))
        if is_call_by_operator(command):
            continue
        if name not in own and name not in CMDLETS:
            yield line_of(command), f"runs {name}"
            continue
        bare, known = (0, own[name]) if name in own else CMDLETS[name]
        given = [child for child in elements_of(command) if child.type != "command_argument_sep"]
        for before, element in pairwise([command, *given]):
            if element.type == "command_parameter":
                if text_of(element) not in known:
                    yield line_of(element), f"{name} knows no {text_of(element)}"
            elif before.type != "command_parameter" or text_of(before) in SWITCHES:
                bare -= 1
        if bare < 0:
            yield line_of(command), f"gives {name} a word without its parameter"


def its_functions_are_named_by_approved_verbs(source: str) -> Iterator[Fault]:
    for name in nodes(tree(source), "function_name"):
        if not re.fullmatch(rf"({'|'.join(APPROVED_VERBS)})-[A-Z][A-Za-z]+", text_of(name)):
            yield line_of(name), f"{text_of(name)} has no approved verb"


def it_starts_programs_in_one_place_that_looks_at_their_exit_code(source: str) -> Iterator[Fault]:
    for function in nodes(tree(source), "function_statement"):
        if text_of(next(nodes(function, "function_name"))) == "Invoke-Program":
            checks = [
                node.start_byte for node in nodes(function, "if_statement") if "$LASTEXITCODE -ne 0" in text_of(node)
            ]
            calls = [node for node in nodes(function, "command") if is_call_by_operator(node)]
            if len(calls) != 1 or len(checks) != 1 or checks[0] < calls[0].end_byte:
                yield line_of(function), "does not look at the exit code of the program that it starts"
            allowed = {call.start_byte for call in calls}
            break
    else:
        allowed = set()
    for command in nodes(tree(source), "command"):
        if is_call_by_operator(command) and command.start_byte not in allowed:
            yield line_of(command), "starts a program elsewhere than in Invoke-Program"


def its_names_are_all_set_somewhere(source: str) -> Iterator[Fault]:
    """In the function that uses it, or outside of every one. StrictMode would find this when the line is run."""
    root = tree(source)
    functions = list(nodes(root, "function_statement"))
    outside = AUTOMATIC | set_in(root) - {name for function in functions for name in set_in(function)}
    for variable in nodes(root, "variable"):
        around = next((function for function in functions if is_within(variable, function)), None)
        name = re.sub(r"^\$\{(\w+)\}$", r"$\1", text_of(variable)).lower()
        if name not in outside | (set_in(around) if around else set_in(root)):
            yield line_of(variable), f"{text_of(variable)} is never set"


def set_in(node: Node) -> set[str]:
    # The last of each, because the first may be an attribute's ($true); `$a.b = 1` and `$a[$b] = 1` set no new name.
    places = [
        list(nodes(place, "variable"))[-1] for place in nodes(node, "left_assignment_expression", "script_parameter")
    ]
    places += [next(nodes(place, "variable")) for place in nodes(node, "foreach_statement")]
    return {text_of(place).lower() for place in places}


def is_within(node: Node, other: Node) -> bool:
    return other.start_byte <= node.start_byte < other.end_byte


def its_members_are_old(source: str) -> Iterator[Fault]:
    keys = {text_of(key) for entry in nodes(tree(source), "hash_entry") for key in nodes(entry, "key_expression")}
    for node in nodes(tree(source), "member_access", "invokation_expression"):
        member = text_of(next((child for child in node.children if child.type == "member_name"), None))
        is_set = re.search(rf"^ *\$\w+\.{member} = ", source, re.MULTILINE)
        if member and member not in MEMBERS | keys and not is_set:
            yield line_of(node), f"asks for {member}"


def what_it_sends_needs_no_quoting(source: str) -> Iterator[Fault]:
    """Neither by Windows PowerShell nor by the login shell there; the lines for sh stand in single quotes."""
    for literal in nodes(tree(source), "verbatim_here_string_characters"):
        text = text_of(literal)[2:-2]
        name = re.search(r"\$(\w+) = $", source[: literal.start_byte])
        forbidden = '"\\`' if name and name[1] == "Lines" else "\"'\\`!"
        for character in forbidden:
            if character in text:
                yield line_of(literal), f"sends a {character}"


def is_call_by_operator(command: Node) -> bool:
    return any(child.type == "command_invokation_operator" for child in command.children)


def elements_of(command: Node) -> list[Node]:
    return [
        element for child in command.children if child.type == "command_elements" for element in child.named_children
    ]


def parameters_of_functions(source: str) -> dict[str, set[str]]:
    return {
        text_of(next(nodes(function, "function_name"))): {
            f"-{text_of(list(nodes(parameter, 'variable'))[-1])[1:]}"
            for parameter in nodes(function, "script_parameter")
        }
        for function in nodes(tree(source), "function_statement")
    }


# Each rule beside scripts that break it.
RULES: dict[Rule, tuple[str, ...]] = {
    it_is_ascii_with_lf_and_short_lines: (
        "$a = 'é'\n",
        "\ufeff$a = 1\n",
        "$a = 1\r\n",
        "\t$a\n",
        "$a = 1",
        f"#{'a' * 120}\n",
    ),
    it_is_powershell: ("$a = $b ? 1 : 2", "$a = $b ?? 1", "$a ??= 1", "$a = ${b}?.c", "if ($a) { 1", "$a = @{ b = }"),
    it_has_no_chains: ("a && b", "a || b", "$a = @'\na && b\n'@"),
    it_is_strict_and_stops_from_the_start: (
        "$a = 1\nSet-StrictMode -Version Latest\n$ErrorActionPreference = 'Stop'",
        "Set-StrictMode -Version 1.0\n$ErrorActionPreference = 'Stop'",
    ),
    it_runs_only_what_both_powershells_have: (
        "$a | % { $_ }",
        "$a | ForEach-Object -Parallel { $_ }",
        "dir",
        "Test-Path -Path $a",
        "Test-Path $a",
        "Remove-Item -Recurse $a",
        "Get-Item -Lit $a",
        "ssh $a",
        "tar.exe x",
        "Start-Process ssh",
        "function Get-A([string] $B) { $B }\nGet-A -C 1",
        "function Get-A([string] $B) { $B }\nGet-A 1",
    ),
    its_functions_are_named_by_approved_verbs: ("function Check-It { 1 }", "function check { 1 }"),
    it_starts_programs_in_one_place_that_looks_at_their_exit_code: (
        "& $a",
        "function Invoke-Other { & $a\n if ($LASTEXITCODE -ne 0) { throw 'a' } }",
        "function Invoke-Program { & $a\n if ($b) { throw 'a' } }",
        "function Invoke-Program { if ($LASTEXITCODE -ne 0) { throw 'a' }\n & $a }",
    ),
    its_names_are_all_set_somewhere: (
        "function Get-A { $a = 1 }\nfunction Get-B { $a }",
        "$a = $b",
        '$a = "of $b"',
        "foreach ($a in 1, 2) { $aa }",
        '$a = "${b}: 1"',
    ),
    its_members_are_old: ("$a = $b.Contain", "$a = [string]::Join(',', $b)"),
    what_it_sends_needs_no_quoting: ("$Run = @'\necho 'a'\n'@", "$Lines = @'\nrun a \"b\"\n'@", "$Run = @'\na\\b\n'@"),
}
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)


@each_rule
def test_in_the_script(rule: Rule) -> None:
    assert [f"deploy.ps1:{line}: {fault}" for line, fault in rule(SOURCE)] == []


@pytest.mark.parametrize(("rule", "broken"), [(rule, broken) for rule, scripts in RULES.items() for broken in scripts])
def test_a_script_that_breaks_the_rule_is_found(rule: Rule, broken: str) -> None:
    assert list(rule(broken)) != []


def test_the_lines_are_found() -> None:
    assert {"port", "identity", "connection", "pack", "prepare", "copy", "run", "clean"} == set(LINES)
    assert {"Lines", "AsRoot", "Prepare", "Run"} == set(HERE_STRINGS)
    assert {"WholeProgram", "InstallerAlone"} == set(LISTS)
    assert len(COMPLAINTS_OF_SSH) > 5


def test_each_exit_code_of_the_lines_has_its_sentence() -> None:
    there = {int(code) for text in HERE_STRINGS.values() for code in re.findall(r"exit (\d+)", text)}
    assert there == OWN_EXIT_CODES
    assert min(there) > 2  # which are install.sh's own


def test_the_tokens_that_install_sh_shows_cannot_get_into_an_error() -> None:
    """The script takes only lines that are not indented for install.sh's last words."""
    assert r"Where-Object { $_ -notmatch '^\s' } | Select-Object -Last 5" in SOURCE
    assert re.search(r" init --yes [^|]*\|\s+sed [^|]*'s/\^/  /'", (ROOT / "systemd" / "install.sh").read_text())


def test_shell_scripts_arrive_from_git_with_lf_on_windows_too() -> None:
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text().splitlines()
