"""What is judged of a request, its model and the objects that it names, is what its upstream will read, whoever that is."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows.raw import CALLERS, LANES, FarEnd, Heard, House, answer, house

ANNA, BERT = CALLERS.values()
FORBIDDEN = b'{"model":"gpt-5"}'
FORM = "Content-Type: multipart/form-data; boundary=a"
TEXT = "Content-Type: text/plain"
MADE = "resp_0123456789Abcdef"


@pytest.fixture(params=LANES)
async def at(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    async def play(heard: Heard, end: FarEnd) -> None:
        end.say(answer(json.dumps({"id": MADE, "object": "response"}).encode()))

    callers: list[dict[str, Any]] = [
        {"name": "anna", "token": ANNA},
        {"name": "bert", "token": BERT, "models": ["gpt-5-mini"]},
    ]
    async with house(tmp_path, play, fast_lane=LANES[request.param], callers=callers) as opened:
        yield opened


def said(body: bytes, *lines: str, token: str = BERT) -> bytes:
    """A POST with these headers and no others."""
    first = ("POST /v1/responses HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
    return "\r\n".join([*first, *lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def form(before: bytes, behind: bytes = b"") -> bytes:
    part = b"--a\r\nContent-Disposition: form-data; name=model\r\n\r\ngpt-5-mini\r\n--a--\r\n"
    return before + part + behind


ANOTHER_MODEL = {
    "before a form's first part": said(form(FORBIDDEN + b"\r\n"), FORM),
    "before the first part of a form whose type is not sent": said(
        form(FORBIDDEN + b"\r\n"), FORM, "Connection: content-type"
    ),
    "in a coding behind another": said(
        gzip.compress(FORBIDDEN), TEXT, "Content-Encoding: identity", "Content-Encoding: gzip"
    ),
    "in a coding": said(gzip.compress(FORBIDDEN), TEXT, "Content-Encoding: gzip"),
    "in a list of codings": said(gzip.compress(FORBIDDEN), TEXT, "Content-Encoding: identity, gzip"),
    "in JSON that is no JSON to its end": said(FORBIDDEN + b"\r\n--a--", TEXT),
    "in another type's JSON": said(FORBIDDEN, "Content-Type: application/x-www-form-urlencoded"),
}


@pytest.mark.parametrize("data", ANOTHER_MODEL.values(), ids=ANOTHER_MODEL.keys())
async def test_no_body_has_a_model_for_us_and_another_for_the_upstream(at: House, data: bytes) -> None:
    """Many upstreams, those in Go among them, read the first JSON value of a body, whatever its type, and ignore the rest."""
    assert (await at.asked(data)).status in (400, 403)
    assert at.upstream.heard == []


FOLLOWING = json.dumps({"model": "gpt-5-mini", "previous_response_id": MADE}).encode()
ANOTHER_S = {
    "before a form's first part": said(form(FOLLOWING + b"\r\n"), FORM),
    "in a coding behind another": said(
        gzip.compress(FOLLOWING), TEXT, "Content-Encoding: identity", "Content-Encoding: gzip"
    ),
    "plainly": said(FOLLOWING, TEXT),
}


@pytest.mark.parametrize("data", ANOTHER_S.values(), ids=ANOTHER_S.keys())
async def test_no_body_names_what_another_caller_made_where_we_do_not_look(at: House, data: bytes) -> None:
    assert (await at.asked(said(b'{"model":"gpt-5"}', "Content-Type: application/json", token=ANNA))).status == 200
    assert (await at.asked(data)).status in (400, 404)
    assert len(at.upstream.heard) == 1
