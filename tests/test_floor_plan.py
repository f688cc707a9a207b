"""
The folder list is the dependency graph, and here it is kept so.

Each rule is a function that reads one module and yields its faults, as (line, what is wrong). Every module of the three
rooms is held to every rule, and every rule is shown a module that breaks it, so that a rule that sees nothing is seen.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("proxy", "bot", "daemon")

MUST_BE_PURE = {
    *("proxy.verdict", "proxy.headers", "proxy.callers", "proxy.peek", "proxy.keypool", "proxy.errand"),
    *(
        "bot.exchange",
        "bot.memory",
        "bot.outcome",
        "bot.subscriber",
        "bot.picture",
        "bot.wechat.codec",
        "bot.wechat.crypt",
    ),
    *("bot.wechat.gate", "bot.wechat.commands", "bot.wechat.intent", "bot.wechat.early", "bot.wechat.passive"),
}
IMPURE = {"aiohttp", "aiosqlite", "asyncio", "os", "random", "secrets", "socket", "sqlite3", "structlog", "time"}

# Who alone may import a package: modules, and folders with everything in them.
KEEPERS = {
    "aiosqlite": ("daemon.sqlite",),
    "sqlite3": ("daemon.sqlite",),
    "tomli": ("daemon.config",),
    "prometheus_client": ("daemon.metrics",),
}
MAKERS_OF_SESSIONS = ("daemon.session", "daemon.demo")
CATCH_ALLS = ("bot.thinking", "daemon.jobs", "daemon.errors")
EDGES = (
    *(
        "proxy.forward",
        "proxy.intake",
        "proxy.realtime",
        "bot.wechat.webhook",
        "bot.wechat.cloudrun",
    ),
    *(
        "daemon.app",
        "daemon.connections",
        "daemon.demo",
        "daemon.errors",
        "daemon.media",
        "daemon.metrics",
        "daemon.misdirected",
        "daemon.operator",
        "daemon.server",
    ),
)
MAX_LINES = 300

Fault = tuple[int, str]
Rule = Callable[["Module"], Iterator[Fault]]


@dataclass(frozen=True)
class Module:
    name: str
    source: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""

    @property
    def is_pure(self) -> bool:
        return self.name in MUST_BE_PURE or self.says_it_is_pure

    @property
    def says_it_is_pure(self) -> bool:
        return re.search(r"\bPure[.:;]", self.docstring.partition("\n\n")[0]) is not None

    def imports(self) -> Iterator[Fault]:
        """Line and dotted name of everything imported; `from a import b` is both a and a.b."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.lineno, f"{'.' * node.level}{node.module or ''}"
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call, with the name it calls by, such as "asyncio.create_task"."""
        yield from ((node, ast.unparse(node.func)) for node in ast.walk(self.tree) if isinstance(node, ast.Call))


def is_under(name: str, *places: str) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def proxy_and_bot_know_neither_each_other_nor_the_roof(module: Module) -> Iterator[Fault]:
    room = module.name.partition(".")[0]
    for line, imported in module.imports():
        if room != "daemon" and is_under(imported, *(other for other in ROOMS if other != room)):
            yield line, f"{room} imports {imported}"


def imports_are_absolute(module: Module) -> Iterator[Fault]:
    yield from ((line, f"imports {name}") for line, name in module.imports() if name.startswith("."))


def pure_modules_do_nothing_but_compute(module: Module) -> Iterator[Fault]:
    if module.is_pure:
        yield from (
            (line, f"a pure module imports {name}") for line, name in module.imports() if is_under(name, *IMPURE)
        )


def modules_that_must_be_pure_say_so(module: Module) -> Iterator[Fault]:
    if module.name in MUST_BE_PURE and not module.says_it_is_pure:
        yield 1, 'the first paragraph of its docstring has no "Pure."'


def databases_settings_and_metrics_have_one_place_each(module: Module) -> Iterator[Fault]:
    for line, imported in module.imports():
        package = imported.partition(".")[0]
        if package in KEEPERS and not is_under(module.name, *KEEPERS[package]):
            yield line, f"imports {package}, which belongs to {' '.join(KEEPERS[package])}"


def sessions_are_made_in_one_place(module: Module) -> Iterator[Fault]:
    for call, name in module.calls():
        if name.rpartition(".")[2] == "ClientSession" and not is_under(module.name, *MAKERS_OF_SESSIONS):
            yield call.lineno, "makes a ClientSession; take one that is handed in"


def web_requests_stop_at_the_edges(module: Module) -> Iterator[Fault]:
    if is_under(module.name, *EDGES):
        return
    of_the_edge = {f"web.{name}" for name in ("Request", "BaseRequest", "AppKey", "RequestKey")}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in of_the_edge:
            yield node.lineno, f"knows {ast.unparse(node)}"
    yield from (
        (line, f"imports {name}") for line, name in module.imports() if name.removeprefix("aiohttp.") in of_the_edge
    )


def only_three_places_catch_everything(module: Module) -> Iterator[Fault]:
    if is_under(module.name, *CATCH_ALLS):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            caught = {ast.unparse(kind) if kind else "BaseException" for kind in kinds}
            passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if "Exception" in caught or ("BaseException" in caught and not passes_on):
                yield node.lineno, "catches everything"
    for call, name in module.calls():
        if is_under(name.rpartition(".")[2], "suppress") and any(
            ast.unparse(kind) == "Exception" for kind in call.args
        ):
            yield call.lineno, "suppresses everything"


def no_task_is_without_an_owner(module: Module) -> Iterator[Fault]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            owner, _, verb = ast.unparse(node.value.func).rpartition(".")
            is_bare = owner == "asyncio" or owner.endswith(("loop", "loop()"))
            if is_bare and verb in ("create_task", "ensure_future"):
                yield node.lineno, "drops a task that it starts"


def nobody_sleeps_on_the_event_loop(module: Module) -> Iterator[Fault]:
    yield from ((call.lineno, "calls time.sleep") for call, name in module.calls() if name == "time.sleep")
    yield from ((line, "imports time.sleep") for line, name in module.imports() if name == "time.sleep")


def every_module_says_what_it_is(module: Module) -> Iterator[Fault]:
    if module.source.strip() and not module.docstring:
        yield 1, "has no docstring"


def no_file_is_longer_than_can_be_read(module: Module) -> Iterator[Fault]:
    if (lines := module.source.count("\n")) > MAX_LINES:
        yield MAX_LINES + 1, f"has {lines} lines; {MAX_LINES} are the most"


# Each rule beside a module that breaks it once: the name it pretends to have, and its source.
RULES: dict[Rule, tuple[str, str]] = {
    proxy_and_bot_know_neither_each_other_nor_the_roof: ("bot.desk", "from proxy.keypool import KeyPool"),
    imports_are_absolute: ("bot.desk", "from .exchange import State"),
    pure_modules_do_nothing_but_compute: ("bot.tidy", '"""Tidiness. Pure."""\nfrom os import path'),
    modules_that_must_be_pure_say_so: ("bot.exchange", '"""One question. Impure."""'),
    databases_settings_and_metrics_have_one_place_each: ("daemon.app", "import sqlite3"),
    sessions_are_made_in_one_place: ("proxy.upstream", "import aiohttp\nsession = aiohttp.ClientSession()"),
    web_requests_stop_at_the_edges: ("bot.desk", "from aiohttp import web\ndef f(r: web.Request) -> None: ..."),
    only_three_places_catch_everything: ("proxy.upstream", "try: ...\nexcept (ValueError, Exception): ..."),
    no_task_is_without_an_owner: ("bot.desk", "import asyncio\nasyncio.create_task(think())"),
    nobody_sleeps_on_the_event_loop: ("daemon.app", "import time\ntime.sleep(1)"),
    every_module_says_what_it_is: ("daemon.app", "import asyncio"),
    no_file_is_longer_than_can_be_read: ("daemon.app", "\n" * (MAX_LINES + 1)),
}
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)


def modules() -> Iterator[tuple[Path, Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            own = path.relative_to(ROOT)
            parts = own.parent.parts if own.stem == "__init__" else own.with_suffix("").parts
            yield own, Module(".".join(parts), path.read_text(encoding="utf-8"))


@each_rule
def test_in_the_whole_house(rule: Rule) -> None:
    faults = [f"{path}:{line}: {fault}" for path, module in modules() for line, fault in rule(module)]
    assert not faults, "\n".join(["", rule.__name__.replace("_", " ") + ":", *faults])


@each_rule
def test_a_module_that_breaks_the_rule_is_found(rule: Rule) -> None:
    assert [line for line, _ in rule(Module(*RULES[rule]))] != []


@pytest.mark.parametrize(
    ("rule", "name", "source"),
    [
        (
            no_task_is_without_an_owner,
            "bot.desk",
            "async with asyncio.TaskGroup() as group:\n    group.create_task(think())",
        ),
        (no_task_is_without_an_owner, "bot.desk", "task = asyncio.create_task(think())"),
        (
            only_three_places_catch_everything,
            "daemon.sqlite.store",
            "try: ...\nexcept BaseException:\n    undo()\n    raise",
        ),
        (only_three_places_catch_everything, "bot.thinking", "try: ...\nexcept Exception: ..."),
        (databases_settings_and_metrics_have_one_place_each, "daemon.sqlite.store", "import aiosqlite"),
        (sessions_are_made_in_one_place, "proxy.upstream", "def f(session: ClientSession) -> None: ..."),
        (pure_modules_do_nothing_but_compute, "bot.desk", '"""Impure things.\n\nPure."""\nimport asyncio'),
        (
            proxy_and_bot_know_neither_each_other_nor_the_roof,
            "bot.desk",
            "from bot.exchange import State\nimport proxyfoo",
        ),
    ],
)
def test_what_is_allowed_is_not_called_a_fault(rule: Rule, name: str, source: str) -> None:
    assert list(rule(Module(name, source))) == []
