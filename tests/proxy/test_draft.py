"""A question is worded again where its model refuses a parameter, and well at once the next time."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.command import Begin, Send
from proxy.draft import DISPENSABLE, Draft, Unsupported
from tests.proxy.journey import Journey, refused, well

NEEDED: dict[str, Any] = {"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}], "stream": True, "n": 2}


def an_error(**facts: Any) -> bytes:
    return json.dumps({"error": facts}).encode()


def refusing(param: str, code: str = "unsupported_parameter") -> bytes:
    return an_error(code=code, param=param, message="…")


def fields(draft: Draft) -> dict[str, Any]:
    """What it says beyond what it cannot do without."""
    said: dict[str, Any] = json.loads(draft.body)
    assert {name: said.pop(name) for name in NEEDED} == NEEDED
    return said


@pytest.mark.parametrize("code", ["unsupported_parameter", "unsupported_value", "unknown_parameter"])
@pytest.mark.parametrize("name", [name for name in DISPENSABLE if name != "max_tokens"])
def test_a_refused_parameter_is_left_out_once_and_from_then_on(name: str, code: str) -> None:
    unsupported = Unsupported()
    draft = Draft({**NEEDED, name: 1}, unsupported)
    assert fields(draft) == {name: 1}
    assert draft.revise(400, refusing(name, code))
    assert fields(draft) == {}
    assert not draft.revise(400, refusing(name, code)), "it is no longer there"
    assert fields(Draft({**NEEDED, name: 1}, unsupported)) == {}


def test_max_tokens_takes_its_newer_name_and_is_left_out_only_where_that_is_refused_too() -> None:
    unsupported = Unsupported()
    draft = Draft({**NEEDED, "max_tokens": 9}, unsupported)
    assert draft.revise(400, refusing("max_tokens"))
    assert fields(draft) == {"max_completion_tokens": 9}
    assert fields(Draft({**NEEDED, "max_tokens": 9}, unsupported)) == {"max_completion_tokens": 9}
    assert draft.revise(400, refusing("max_completion_tokens"))
    assert fields(draft) == {}
    assert fields(Draft({**NEEDED, "max_tokens": 9}, unsupported)) == {}


def test_a_caller_who_gives_both_names_keeps_the_value_of_the_newer_one() -> None:
    draft = Draft({**NEEDED, "max_tokens": 9, "max_completion_tokens": 5}, Unsupported())
    assert draft.revise(400, refusing("max_tokens"))
    assert fields(draft) == {"max_completion_tokens": 5}


def test_the_inside_of_a_parameter_is_refused_with_all_of_it() -> None:
    draft = Draft({**NEEDED, "stream_options": {"include_usage": True}}, Unsupported())
    assert draft.revise(400, refusing("stream_options.include_usage"))
    assert fields(draft) == {}


@pytest.mark.parametrize(
    "error",
    [
        an_error(code=None, param="stop", message="Unsupported parameter: 'stop' is not supported with this model."),
        an_error(code=None, param="stop", message="Unknown parameter: 'stop'."),
        an_error(code=None, param=None, message="Unrecognized request argument supplied: stop"),
        an_error(message="Unrecognized request arguments supplied: stop, seed"),
    ],
)
def test_a_refusal_without_a_code_is_known_by_how_it_begins(error: bytes) -> None:
    draft = Draft({**NEEDED, "stop": "x"}, Unsupported())
    assert draft.revise(400, error)
    assert fields(draft) == {}


def test_another_kind_of_question_can_do_without_other_parameters() -> None:
    unsupported = Unsupported()
    draft = Draft({**NEEDED, "size": "1x1", "stop": "x"}, unsupported, dispensable=("size",))
    assert not draft.revise(400, refusing("stop"))
    assert draft.revise(400, refusing("size"))
    assert fields(draft) == {"stop": "x"}
    assert fields(Draft({**NEEDED, "size": "1x1"}, unsupported)) == {"size": "1x1"}
    assert fields(Draft({**NEEDED, "size": "1x1"}, unsupported, dispensable=("size",))) == {}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((400, refusing(name)) for name in NEEDED),
        (400, refusing("messages[0].content", "unsupported_value")),
        (400, refusing("top_p")),
        (400, refusing("tools")),
        (400, an_error(code="unsupported_value", param=None)),
        (400, an_error(code="context_length_exceeded", param="max_tokens")),
        (400, an_error(code=None, param="max_tokens")),
        (400, an_error(code=None, message="You wrote: Unsupported parameter: 'max_tokens'")),
        (400, an_error(code=None, message="Unsupported parameter: 'messages'")),
        (400, an_error(code=None, message=["Unsupported parameter: 'max_tokens'"])),
        (400, an_error(code=["unsupported_parameter"], param="max_tokens")),
        (404, refusing("max_tokens")),
        (422, refusing("max_tokens")),
        (400, b"<html>"),
        (400, b'{"error": "max_tokens"}'),
        (400, b"[]"),
        (400, b"[" * 100_000),
        (400, b""),
    ],
)
def test_any_other_refusal_changes_nothing(status: int, body: bytes) -> None:
    unsupported = Unsupported()
    draft = Draft({**NEEDED, "max_tokens": 9, "tools": []}, unsupported)
    before = draft.body
    assert not draft.revise(status, body)
    assert draft.body == before
    assert unsupported.of("gpt-5") == frozenset()


def test_what_one_model_refuses_another_may_take() -> None:
    unsupported = Unsupported()
    unsupported.add("strict", "temperature")
    assert fields(Draft({**NEEDED, "temperature": 0.1}, unsupported)) == {"temperature": 0.1}


def test_only_so_many_models_are_remembered() -> None:
    unsupported = Unsupported(most_models=2)
    for model in ("a", "b", "a", "c"):
        unsupported.add(model, "stop")
    assert [bool(unsupported.of(model)) for model in "abc"] == [True, False, True]


def test_words_are_written_as_they_are_and_halves_of_characters_as_escapes() -> None:
    assert "驿站".encode() in Draft({**NEEDED, "user": "驿站"}, Unsupported()).body
    assert json.loads(Draft({**NEEDED, "user": "\ud83d"}, Unsupported()).body)["user"] == "\ud83d"


# --- on the road

MAX_TOKENS = refused(400, {"code": "unsupported_parameter", "param": "max_tokens"})
TEMPERATURE = refused(400, {"code": "unsupported_value", "param": "temperature"})
RATE = refused(429, {"code": "rate_limit_exceeded"}, retry_after="20")


def a_draft() -> Draft:
    return Draft({**NEEDED, "max_tokens": 9, "temperature": 0.1}, Unsupported())


def test_the_same_key_is_asked_again_and_its_refusals_are_no_attempts() -> None:
    """Four keys are limited after two refusals: all four attempts are there."""
    with Journey(draft=a_draft()) as journey:
        journey.run(MAX_TOKENS, TEMPERATURE, RATE, RATE, RATE, RATE, RATE)
        assert journey.asked == ["k0", "k0", "k0", "k1", "k2", "k3"]
        assert [attempt.rule for attempt in journey.errand.attempts] == ["client", "client", *["rate"] * 4]


def test_a_key_that_refused_a_parameter_has_taken_no_harm() -> None:
    with Journey(draft=a_draft()) as journey:
        command = journey.run(MAX_TOKENS, TEMPERATURE, well)
        assert isinstance(command, Begin)
        assert command.status == 200
        (view, *_) = journey.pool.snapshot()
        assert (view.name, view.state, view.in_flight) == ("k0", "ready", 1)


def test_a_parameter_that_is_refused_after_it_was_left_out_is_the_callers_to_hear_of() -> None:
    with Journey(draft=a_draft()) as journey:
        command = journey.run(TEMPERATURE)
        assert isinstance(command, Begin)
        assert (command.status, command.is_whole, len(journey.sent)) == (400, True, 2)


def test_a_body_that_came_from_a_caller_is_never_worded_again() -> None:
    with Journey() as journey:
        command = journey.run(MAX_TOKENS)
        assert isinstance(command, Begin)
        assert (command.status, len(journey.sent)) == (400, 1)


def test_the_caller_may_leave_between_two_wordings() -> None:
    with Journey(draft=a_draft(), keys=1) as journey:
        for command in (journey.errand.begin(), MAX_TOKENS(journey.errand)):
            assert isinstance(command, Send)
            journey.sent.append(command)
        journey.errand.gone()
        assert [attempt.rule for attempt in journey.errand.attempts] == ["client", "gone"]
