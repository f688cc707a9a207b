from __future__ import annotations

import inspect
import json
import pkgutil
import re
from typing import Any

import openai.resources
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.affinity import MOST_SAVED_AT_ONCE, USED_SECONDS, Affinity, Claim
from proxy.affinity_ledger import OwnedObject
from proxy.objects import COLLECTIONS
from proxy.peek import Peek, peek
from proxy.refusal import Refusal
from proxy.target import Target

FILE = "file-AbC123def456"
BATCH = "batch_68f0aa11bb22"
RESPONSE = "resp_68f0c1d2e3f4a5b6"
OF_LAPTOP = [OwnedObject(made, "fp-k1", "laptop", 0.0) for made in (FILE, BATCH, RESPONSE)]
OF_TEAM = OwnedObject("file-ofTheTeam99", "fp-k2", "team", 0.0)
JSON = [("Content-Type", "application/json")]
STREAM = [("Content-Type", "text/event-stream; charset=utf-8")]


def knowing(*objects: OwnedObject, **settings: Any) -> Affinity:
    affinity = Affinity(**settings)
    affinity.restore(objects)
    return affinity


def claim(
    affinity: Affinity,
    path: str,
    body: Any = None,
    *,
    method: str = "POST",
    caller: str = "laptop",
    sees_all: bool = False,
    now: float = 0.0,
) -> Claim:
    path, _, query = path.partition("?")
    seen = peek(json.dumps(body).encode(), "application/json") if body is not None else Peek()
    return affinity.claim(method, Target(path, query), seen, caller=caller, sees_all=sees_all, now=now)


def learn(affinity: Affinity, answer: Any, path: str = "/v1/files", body: Any = None, **asked: Any) -> None:
    """What a request to `path` is answered with, as JSON, by key k1."""
    watch = affinity.watch(claim(affinity, path, body, **asked), "fp-k1", 200, JSON, now=0.0)
    if watch:
        watch.feed(json.dumps(answer).encode())
        watch.end()


def owners(affinity: Affinity) -> dict[str, tuple[str, str]]:
    return {made.id: (made.key, made.caller) for made in affinity.unsaved().kept}


# --- what names an object


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/files/{FILE}"),
        ("GET", f"/v1/files/{FILE}/content"),
        ("DELETE", f"/v1/files/{FILE}"),
        ("GET", f"/v1/files/{FILE}/"),
        ("GET", "/v1/files/file%2DAbC123def456"),
        ("GET", f"/v1/vector_stores/vs_unknown1/files/{FILE}"),
        ("POST", f"/v1/threads/{FILE}/runs/run_abc123/submit_tool_outputs"),
        ("GET", f"/v1/a_path_of_tomorrow?input={FILE}&limit=3"),
        ("GET", "/v1/a_path_of_tomorrow?input=file%2DAbC123def456"),
    ],
)
def test_an_id_in_path_or_query_calls_for_the_key_that_made_it_and_for_its_caller(method: str, path: str) -> None:
    affinity = knowing(*OF_LAPTOP)

    assert claim(affinity, path, method=method).key == "fp-k1"
    with pytest.raises(Refusal) as refused:
        claim(affinity, path, method=method, caller="team")
    assert (refused.value.status, refused.value.code) == (404, "not_found")


BODIES: list[Any] = [
    {"previous_response_id": FILE},
    {"conversation": FILE},
    {"conversation": {"id": FILE}},
    {"input_file_id": FILE, "endpoint": "/v1/responses"},
    {"training_file": FILE},
    {"validation_file": FILE},
    {"assistant_id": FILE},
    {"file_ids": ["file-other0001", FILE]},
    {"tools": [{"type": "file_search", "vector_store_ids": [FILE]}]},
    {"tools": [{"type": "code_interpreter", "container": FILE}]},
    {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": [FILE]}}]},
    {"tool_resources": {"file_search": {"vector_store_ids": [FILE]}}},
    {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": FILE}]}]},
    {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": FILE}}]}]},
    {"messages": [{"role": "user", "content": "x", "attachments": [{"file_id": FILE}]}]},
    {"a_field_of_tomorrow": {FILE: True}},
    [FILE],
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: json.dumps(body)[:60])
def test_an_id_anywhere_in_a_body_calls_for_its_key_and_its_caller(body: Any) -> None:
    affinity = knowing(*OF_LAPTOP)

    assert claim(affinity, "/v1/responses", body).key == "fp-k1"
    with pytest.raises(Refusal, match="404 not_found"):
        claim(affinity, "/v1/responses", body, caller="team")


@pytest.mark.parametrize(
    "body",
    [
        b'{"f":"\\u0066ile-AbC123def456"}',
        b'{"f":"file\\u002dAbC123def45\\u0036","g":"caf\\u00e9"}',
        b'{"f":"file-AbC123def456","f":"x"}',
        b'{"\\u0066":"\\u0066ile-AbC123def456","f":"file-other0001"}',
        b'{"x":' + b"[" * 800 + b'"file-AbC123def456"' + b"]" * 800 + b"}",
        b'{"x":[' + b'"0",' * 50_000 + b'"file-AbC123def456"]}',
    ],
)
def test_no_spelling_repetition_or_nesting_hides_an_id(body: bytes) -> None:
    assert FILE in peek(body, "application/json").names


def test_an_id_that_is_the_value_of_a_forms_field_is_seen() -> None:
    form = f'--b\r\nContent-Disposition: form-data; name="file_id"\r\n\r\n{FILE}\r\n--b--\r\n'

    assert peek(form.encode(), "multipart/form-data; boundary=b").names == {FILE}


@pytest.mark.parametrize("text", [f"see {FILE}", f'say "{FILE}" aloud', f"{FILE}.", f"/{FILE}"])
def test_an_id_within_a_sentence_names_nothing(text: str) -> None:
    body = {"messages": [{"role": "user", "content": text}]}

    assert claim(knowing(*OF_LAPTOP), "/v1/chat/completions", body, caller="team").key == ""


@given(names=st.lists(st.from_regex(r"\A[A-Za-z0-9_-]{5,60}[0-9]\Z"), max_size=5), ascii_only=st.booleans())
def test_every_string_that_may_be_an_id_is_found(names: list[str], ascii_only: bool) -> None:
    body = json.dumps({"x": names, "y": "é驿站"}, ensure_ascii=ascii_only)

    assert set(names) <= peek(body.encode(), "application/json").names


def test_a_peek_shows_no_word_of_the_body() -> None:
    seen = peek(b'{"model":"gpt-5","messages":[{"role":"user","content":"secret-1234"}]}')

    assert "secret" not in repr(seen)
    assert "secret" not in repr(claim(Affinity(), "/v1/files", {"x": "secret-1234"}))


# --- who may reach what


def test_an_unknown_id_passes_freely() -> None:
    assert claim(knowing(*OF_LAPTOP), "/v1/files/file-madeElsewhere1", method="GET", caller="team").key == ""


def test_objects_of_two_keys_cannot_be_used_together() -> None:
    body = {"file_ids": [FILE, OF_TEAM.id]}
    affinity = knowing(*OF_LAPTOP, OF_TEAM)

    with pytest.raises(Refusal, match="400 invalid_request"):
        claim(affinity, "/v1/responses", body, sees_all=True)
    with pytest.raises(Refusal, match="404 not_found"):  # what is another's does not exist, before anything else
        claim(affinity, "/v1/responses", body)


def test_whoever_sees_all_reaches_what_others_made() -> None:
    assert claim(knowing(OF_TEAM), f"/v1/files/{OF_TEAM.id}", method="GET", sees_all=True).key == "fp-k2"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [*sorted(COLLECTIONS), "/v1/files/", "/v1/Files", "/v1/%66iles", "/v1/files?limit=1"])
def test_a_list_is_refused_unless_the_caller_sees_all(method: str, path: str) -> None:
    with pytest.raises(Refusal, match="403 path_not_allowed") as refused:
        claim(Affinity(), path, method=method)

    assert "see_all" in refused.value.message
    assert claim(Affinity(), path, method=method, sees_all=True) == Claim()


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/gpt-5", f"/v1/threads/{BATCH}/messages", f"/v1/files/{FILE}"]
)
def test_what_lists_nothing_of_others_is_open(path: str) -> None:
    assert claim(knowing(*OF_LAPTOP), path, method="GET")


def lists_of_the_official_client() -> set[str]:
    modules = pkgutil.walk_packages(openai.resources.__path__, "openai.resources.")
    sources = [inspect.getsource(__import__(module.name, fromlist=["_"])) for module in modules]
    return {path for source in sources for path in re.findall(r'_get_api_list\(\s*"([^"{]+)"', source)}


def test_every_list_that_the_official_client_knows_is_a_collection() -> None:
    lists = {f"/v1{path}" for path in lists_of_the_official_client() if not path.startswith("/organization/")}

    assert lists - {"/v1/models"} <= COLLECTIONS
    assert len(lists) > 10


# --- what an answer makes known


@pytest.mark.parametrize(
    ("path", "body", "answer", "made"),
    [
        ("/v1/files", None, {"object": "file", "status": "ok", "id": "file-new001"}, {"file-new001"}),
        ("/v1/uploads/upload_1/complete", None, {"id": "upload_1", "file": {"id": "file-new001"}}, {"file-new001"}),
        ("/v1/batches", {"input_file_id": FILE}, {"id": "batch_001"}, {"batch_001"}),
        ("/v1/responses", {"input": "x"}, {"id": "resp_001"}, {"resp_001"}),
        ("/v1/responses", {"store": False}, {"id": "resp_001"}, set()),
        ("/v1/responses", {}, {"id": "resp_001", "output": [{"container_id": "cntr_01"}]}, {"resp_001", "cntr_01"}),
        ("/v1/chat/completions", {"messages": []}, {"id": "chatcmpl-001"}, set()),
        ("/v1/chat/completions", {"store": True}, {"id": "chatcmpl-001"}, {"chatcmpl-001"}),
        ("/v1/vector_stores/vs_0001/files", {"file_id": "file-0001"}, {"id": "file-0001"}, set()),
        ("/v1/threads/thread_01/runs", {}, {"id": "run_0001"}, {"run_0001"}),
        (
            "/v1/conversations",
            {"metadata": {"id": "file-0001"}},
            {"id": "conv_01", "metadata": {"id": "file-0001"}},
            {"conv_01"},
        ),
        ("/v1/embeddings", {"input": "x"}, {"id": "embd-0001"}, set()),
        ("/v1/files", None, {"id": "short"}, set()),
        ("/v1/files", None, {"id": "no words allowed 1"}, set()),
        ("/v1/files", None, {"id": "constant"}, set()),
        ("/v1/files", None, {"id": 1234567}, set()),
        ("/v1/files", None, ["file-new001"], set()),
    ],
)
def test_an_answer_makes_its_caller_the_owner(path: str, body: Any, answer: Any, made: set[str]) -> None:
    affinity = knowing(*OF_LAPTOP)

    learn(affinity, answer, path, body)

    assert owners(affinity) == dict.fromkeys(made, ("fp-k1", "laptop"))


def test_the_files_that_come_of_a_batch_belong_to_whoever_made_the_batch() -> None:
    affinity = knowing(*OF_LAPTOP)

    learn(affinity, {"id": BATCH, "output_file_id": "file-out0001"}, f"/v1/batches/{BATCH}", method="GET")
    learn(
        affinity,
        {"id": BATCH, "error_file_id": "file-err0001"},
        f"/v1/batches/{BATCH}",
        method="GET",
        caller="operator",
        sees_all=True,
    )

    assert owners(affinity) == dict.fromkeys(["file-out0001", "file-err0001"], ("fp-k1", "laptop"))


def test_what_came_of_an_object_that_was_made_elsewhere_has_no_owner() -> None:
    affinity = Affinity()

    learn(affinity, {"id": "batch_0001", "output_file_id": "file-out0001"}, "/v1/batches/batch_0001", method="GET")

    assert owners(affinity) == {}


def test_an_id_keeps_its_first_owner() -> None:
    affinity = Affinity()
    learn(affinity, {"id": "file-new001"})

    learn(affinity, {"id": "file-new001"}, caller="team")

    assert owners(affinity) == {"file-new001": ("fp-k1", "laptop")}


def test_two_callers_who_make_things_reach_their_own_alone() -> None:
    affinity = Affinity()
    learn(affinity, {"id": "file-ofLaptop"}, caller="laptop")
    learn(affinity, {"id": "file-ofTeam"}, caller="team")

    for caller, own, other in [("laptop", "file-ofLaptop", "file-ofTeam"), ("team", "file-ofTeam", "file-ofLaptop")]:
        assert claim(affinity, f"/v1/files/{own}", method="GET", caller=caller).key == "fp-k1"
        with pytest.raises(Refusal, match="404"):
            claim(affinity, f"/v1/files/{other}", method="GET", caller=caller)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (400, JSON),
        (304, JSON),
        (200, [("Content-Type", "application/octet-stream")]),
        (200, []),
        (200, [*JSON, ("content-encoding", "gzip")]),
    ],
)
def test_only_a_plain_success_is_watched(status: int, headers: list[tuple[str, str]]) -> None:
    affinity = Affinity()

    assert affinity.watch(claim(affinity, "/v1/files"), "fp-k1", status, headers, now=0.0) is None


# --- remembering


def test_the_ids_used_last_are_remembered() -> None:
    affinity = knowing(most_ids=2)
    for made in ("file-0001", "file-0002"):
        learn(affinity, {"id": made})
    claim(affinity, "/v1/files/file-0001", method="GET")

    learn(affinity, {"id": "file-0003"})

    assert set(owners(affinity)) == {"file-0001", "file-0003"}
    assert affinity.unsaved().forgotten == ("file-0002",)


def test_what_a_ledger_holds_too_much_is_forgotten_there_too() -> None:
    affinity = knowing(*OF_LAPTOP, most_ids=1)

    assert affinity.unsaved().forgotten == (FILE, BATCH)
    assert claim(affinity, f"/v1/responses/{RESPONSE}", method="GET").key == "fp-k1"


def test_what_was_learned_is_saved_once_and_survives_a_restart() -> None:
    wakes: list[None] = []
    affinity = Affinity(on_change=lambda: wakes.append(None))
    learn(affinity, {"id": "file-0001"})
    unsaved = affinity.unsaved()
    affinity.saved(unsaved)

    assert wakes == [None]
    assert affinity.unsaved().kept == ()
    assert claim(knowing(*unsaved.kept), "/v1/files/file-0001", method="GET").key == "fp-k1"


def test_what_changes_while_it_is_being_saved_is_saved_again() -> None:
    wakes: list[None] = []
    affinity = knowing(*OF_LAPTOP, on_change=lambda: wakes.append(None))
    claim(affinity, f"/v1/files/{FILE}", method="GET", now=USED_SECONDS)
    unsaved = affinity.unsaved()
    claim(affinity, f"/v1/files/{FILE}", method="GET", now=2 * USED_SECONDS)

    affinity.saved(unsaved)

    assert [made.used_at for made in affinity.unsaved().kept] == [2 * USED_SECONDS]
    assert len(wakes) == 3


def test_a_use_is_written_down_once_a_day() -> None:
    affinity = knowing(*OF_LAPTOP)

    claim(affinity, f"/v1/files/{FILE}", method="GET", now=USED_SECONDS - 1)

    assert affinity.unsaved().kept == ()


def test_a_save_is_bounded_and_the_next_follows() -> None:
    wakes: list[None] = []
    affinity = Affinity(on_change=lambda: wakes.append(None))
    for number in range(MOST_SAVED_AT_ONCE + 1):
        learn(affinity, {"id": f"file-{number:06}"})
    wakes.clear()

    affinity.saved(first := affinity.unsaved())

    assert len(first.kept) == MOST_SAVED_AT_ONCE
    assert (len(affinity.unsaved().kept), len(wakes)) == (1, 1)
