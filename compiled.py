"""
`python compiled.py FOLDER`: the product once more, in FOLDER, its hot path compiled by mypyc. An extra; docs/hot-path.md.

Rule 1: one source. Nothing in the product knows that it may be compiled, and what is compiled is the product, module by module.
Rule 2: what mypyc cannot do, or what nothing is gained by, stays as it is, beside the rest: LEFT.
Rule 3: beside an extension stands the source that it was made of, so that tracebacks show the right lines.

mypyc leaves the methods of a dataclass to the interpreter, and a class with a decorator that it does not know altogether. So
values are written out first: a class stays a dataclass, for `replace` and for `match`, but has its `__init__`, `__eq__` and
`__hash__` as code.
"""

from __future__ import annotations

import ast
import contextlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent
ROOMS = ("daemon", "proxy", "bot")
MORE = ("daemon/door.py", "daemon/request_log.py")  # of what is not in `proxy`
LEFT = {
    *("chat", "forward", "pieces", "sender", "upstream"),  # generators that await
    *("dial", "refusal"),  # classes that inherit from those of others
    *("checks", "intake", "legacy", "realtime", "realtime_words", "value"),  # seldom, and bound to aiohttp
}
GROUP = "posthouse"
OPTIONS = ("--config-file=", "--ignore-missing-imports")
Edit = tuple[int, int, list[str]]  # from one line to before another: what stands there instead


def main() -> None:
    from mypyc.build import mypycify  # type: ignore[import-untyped]
    from setuptools import setup

    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "static", folder / "static")
    names = modules()
    for name in names:
        (folder / name).write_text(written_out((ROOT / name).read_text(encoding="utf-8")), encoding="utf-8")
    with contextlib.chdir(folder):
        extensions = mypycify([*OPTIONS, *names], opt_level="2", debug_level="0", group_name=GROUP)
        setup(name=GROUP, packages=[], ext_modules=extensions, script_args=["--quiet", "build_ext", "--inplace"])
    for left_over in ("build", ".mypy_cache"):
        shutil.rmtree(folder / left_over)


def modules() -> list[str]:
    found = [path for path in sorted((ROOT / "proxy").rglob("*.py")) if path.stem not in {"__init__", *LEFT}]
    return [*(path.relative_to(ROOT).as_posix() for path in found), *MORE]


def written_out(source: str) -> str:
    """`source` with its dataclasses' methods in it."""
    lines, edits = source.splitlines(), list[Edit]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            edits += _of_class(node)
    for start, end, new in sorted(edits, reverse=True):
        lines[start:end] = new
    return "\n".join(lines).replace("from proxy.value import value_type", "from dataclasses import dataclass") + "\n"


def _of_class(node: ast.ClassDef) -> Iterator[Edit]:
    how = next(
        (each for each in node.decorator_list if ast.unparse(each).startswith(("value_type", "dataclass("))), None
    )
    if how is None:
        return
    yield how.lineno - 1, how.end_lineno or 0, ["@dataclass(init=False, eq=False)"]
    own = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    if node.bases or "__post_init__" in own or ("__eq__" in own and "__hash__" not in own):
        raise ValueError(f"{node.name} is more than its fields")
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    signature, body = ["self"], list[str]()
    for each in fields:
        name, kind = ast.unparse(each.target), ast.unparse(each.annotation)
        default, factory = _default(each.value)
        if factory:
            signature.append(f"{name}: {kind} | None = None")
            body.append(f"self.{name} = ({factory})() if {name} is None else {name}")
        else:
            signature.append(f"{name}: {kind}" + (f" = {default}" if default else ""))
            body.append(f"self.{name} = {name}")
    names = [ast.unparse(each.target) for each in fields]
    same = " and ".join(f"self.{name} == other.{name}" for name in names) or "True"
    methods = [
        _method(f"__init__({', '.join(signature)}) -> None", body or ["pass"]),
        _method(
            "__eq__(self, other: object) -> bool",
            [f"return {same} if isinstance(other, {node.name}) else NotImplemented"],
        ),
    ]
    if "frozen" in ast.unparse(how) or "value_type" in ast.unparse(how):
        methods.append(
            _method("__hash__(self) -> int", [f"return hash(({''.join(f'self.{name}, ' for name in names)}))"])
        )
    at = (fields[-1] if fields else node.body[0]).end_lineno or 0
    yield at, at, [line for name, text in methods if name not in own for line in text]


def _default(value: ast.expr | None) -> tuple[str, str]:
    """What a field is when it is not given, or what makes that."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func) != "field":
        return ast.unparse(value) if value else "", ""
    options = {str(option.arg): ast.unparse(option.value) for option in value.keywords}
    if unknown := options.keys() - {"default", "default_factory", "repr"}:
        raise ValueError(f"a field with {', '.join(unknown)}")
    return options.get("default", ""), options.get("default_factory", "")


def _method(signature: str, body: list[str]) -> tuple[str, list[str]]:
    return signature.partition("(")[0], ["", f"    def {signature}:", *(f"        {line}" for line in body)]


if __name__ == "__main__":
    main()
