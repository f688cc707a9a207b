from __future__ import annotations

import json

import pytest

from bot.picture import picture_of
from daemon.demo import photo, scene
from daemon.demo.dialects import Asked, Dialect
from daemon.demo.page import GESTURES
from daemon.demo.steps import Call, Chunk, Pause, Step
from daemon.demo.words import EN, ZH, Words


def answer() -> Step:
    """The healthy key's."""
    (step,) = scene.script(2.0)[scene.KEYS["well"][0]]
    return step


def call(asked: Asked) -> Call:
    return Call("", "", asked, bucket=lambda per_minute: 0.0)


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
def test_each_quick_button_sends_the_seconds_that_it_names(words: Words) -> None:
    *timed, (_, long) = words.quick
    for name, sent in timed:
        assert scene.seconds_named(sent) == scene.seconds_named(name)
        assert scene.seconds_of_writing(sent) is None
    assert scene.seconds_of_writing(long) == 30.0


@pytest.mark.parametrize("words", [ZH, EN])
def test_every_gesture_on_a_button_is_one_the_page_takes(words: Words) -> None:
    assert {what for _, what in words.gestures} | {"follow"} == set(GESTURES)


@pytest.mark.parametrize(("words", "end"), [(ZH, "喝茶。"), (EN, "for tea.")])
def test_a_long_answer_is_written_all_the_time_it_names(words: Words, end: str) -> None:
    asked = Asked(Dialect.CHAT, scene.MODEL, words.quick[-1][1], messages=1, streams=True)
    acts = list(answer().play(call(asked)))
    first, *between = [act.seconds for act in acts if isinstance(act, Pause)]
    said = [json.loads(act.data.removeprefix(b"data:")) for act in acts if isinstance(act, Chunk) and act.is_piece]
    assert first == scene.OPENING_SECONDS
    assert sum(between) == pytest.approx(30.0, abs=2.0)
    assert "".join(piece["choices"][0]["delta"]["content"] for piece in said).endswith(end)


def test_any_other_answer_comes_at_once_after_the_thinking() -> None:
    asked = Asked(Dialect.CHAT, scene.MODEL, "用 8 秒想想", messages=1, streams=True)
    first, *between = [act.seconds for act in answer().play(call(asked)) if isinstance(act, Pause)]
    assert (first, sum(between) < 1.0) == (8.0, True)


def test_a_photo_is_seen_to_have_come() -> None:
    asked = Asked(Dialect.CHAT, scene.MODEL, "请看这张照片", messages=1, pictures=1, picture_bytes=1234)
    (body,) = [act.data.decode() for act in answer().play(call(asked)) if isinstance(act, Chunk)]
    assert "照片收到了，有 1,234 字节" in body


def test_the_photo_is_a_picture_that_the_bot_takes() -> None:
    found = picture_of(photo.png())
    assert found is not None
    assert found.kind == "png"


def test_every_key_has_a_script_a_name_and_an_organization_of_its_own() -> None:
    script = scene.script(2.0)
    assert set(script) == set(scene.NAMES) == set(scene.organizations())
    assert len(set(scene.organizations().values())) == len(scene.KEYS)
