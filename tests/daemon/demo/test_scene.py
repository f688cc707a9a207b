from __future__ import annotations

import pytest

from daemon.demo import scene
from daemon.demo.words import EN, ZH


@pytest.mark.parametrize(
    ("question", "seconds"),
    [
        ("用 8 秒想想", 8.0),
        ("20秒", 20.0),
        ("Take 2.5 s: why?", 2.5),
        ("in 3 seconds", 3.0),
        ("为什么", None),
        ("8 stones", None),
        ("想 9999 秒", scene.LONGEST_SECONDS),
    ],
)
def test_a_question_says_how_long_it_is_thought_about(question: str, seconds: float | None) -> None:
    assert scene.seconds_named(question) == seconds


@pytest.mark.parametrize("words", [ZH, EN])
def test_each_quick_button_sends_the_seconds_that_it_names(words: object) -> None:
    assert words in (ZH, EN)
    for name, sent in (words if words is EN else ZH).quick:
        assert scene.seconds_named(sent) == scene.seconds_named(name)


def test_every_key_has_a_script_a_name_and_an_organization_of_its_own() -> None:
    script = scene.script(2.0)
    assert set(script) == set(scene.NAMES) == set(scene.organizations())
    assert len(set(scene.organizations().values())) == len(scene.KEYS)
