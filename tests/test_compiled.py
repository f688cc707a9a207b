"""What is compiled says the same as what is not. That it does the same, `make test-compiled` shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import compiled
from compiled import LEFT, ROOT, modules, written_out

SOURCE = """
from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from proxy.value import value_type


@value_type
class Plain:
    \"\"\"What it is.\"\"\"

    name: str
    secret: str = field(repr=False)
    count: int = 0  # of something
    held: list[int] = field(default_factory=list, repr=False)

    def twice(self) -> int:
        return self.count * 2


@value_type
class Empty:
    \"\"\"Nothing.\"\"\"


@value_type
class Own:
    token: bytes = field(default=b"", repr=False)

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


@dataclass(slots=True)
class Changing:
    name: str
    kept: deque[int] = field(default_factory=lambda: deque(maxlen=2))
"""


def classes(source: str) -> dict[str, Any]:
    made: dict[str, Any] = {"__name__": __name__}
    exec(source, made)
    return made


def facts(made: dict[str, Any]) -> list[object]:
    one, same, other = (made["Plain"](name, "hidden", 3) for name in ("a", "a", "b"))
    full = made["Plain"](name="a", secret="hidden", count=3, held=[1])
    changing = made["Changing"]("x")
    changing.kept.extend((1, 2, 3))
    first, second = made["Own"](b"a"), made["Own"](b"b")
    return [
        *(one == same, one == other, one == full, one == "a", one.held is not same.held, one.twice(), repr(full)),
        *(repr(replace(one, name="c", count=4)), made["Plain"].__match_args__, made["Plain"].__doc__),
        *(made["Empty"]() == made["Empty"](), hash(made["Empty"]()) == hash(made["Empty"]()), repr(made["Empty"]())),
        *(
            first == second,
            hash(first),
            repr(first),
            repr(changing),
            changing == made["Changing"]("x"),
            made["Changing"].__hash__,
        ),
    ]


def test_values_that_are_written_out_are_the_same_values() -> None:
    assert facts(classes(written_out(SOURCE))) == facts(classes(SOURCE))
    assert "value_type" not in written_out(SOURCE)


def test_what_cannot_be_written_out_is_refused() -> None:
    with pytest.raises(ValueError, match="compare"):
        written_out(SOURCE.replace("field(repr=False)", "field(compare=False)"))


@pytest.mark.parametrize("name", modules())
def test_every_module_that_is_compiled_can_be_written_out(name: str) -> None:
    compile(written_out((ROOT / name).read_text(encoding="utf-8")), name, "exec")


def test_what_is_left_out_is_there() -> None:
    assert {path.stem for path in (ROOT / "proxy").rglob("*.py")} >= LEFT
    assert all((ROOT / name).exists() for name in compiled.MORE)


@pytest.mark.parametrize(
    "more",
    [
        "class A(B):\n    x: int",
        "class A:\n    x: int\n    def __post_init__(self): ...",
        "class A:\n    x: int\n    def __eq__(self, other): ...",
        "class A:\n    x: int = field(compare=False)",
    ],
    ids=["a base", "something after", "no hash", "an option"],
)
def test_what_would_be_lost_in_writing_out_ends_it(more: str) -> None:
    with pytest.raises(ValueError, match=r"A is more|a field with"):
        written_out(f"@value_type\n{more}\n")
