"""A caller who holds a token, or none, and wants more than it gives: other requests, models, objects of others, our time."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from daemon.demo.steps import Answer, Hang, Raw, Step
from proxy.peek import peek
from proxy.refusal import Refusal
from tests.flows.daemon_bench import TOKEN, Town, town

pytestmark = pytest.mark.usefixtures("both_lanes")

QUESTION = b'{"model":"gpt-5","messages":[{"role":"user","content":"hi"}]}'
JSON = {"Content-Type": "application/json"}
MEGABYTE = 1 << 20


def head(*lines: str, request: str = "POST /v1/chat/completions HTTP/1.1") -> bytes:
    return "\r\n".join([request, "Host: x", f"Authorization: Bearer {TOKEN}", *lines, "", ""]).encode("latin-1")


async def said_to(place: Town, data: bytes) -> bytes:
    """What comes back until the connection ends, or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(place.daemon.url.rpartition(":")[2]))
    answer = b""
    writer.write(data)
    with contextlib.suppress(ConnectionError, TimeoutError):
        while True:
            async with asyncio.timeout(0.25 if answer else 5):
                piece = await reader.read(65_536)
            if not piece:
                break
            answer += piece
    writer.close()
    return answer


def nobody_holds_a_key(place: Town) -> bool:
    return not any(view.in_flight for view in place.daemon.pool.snapshot())


SMUGGLED = head(request="GET /v1/models HTTP/1.1")
WHOLE = f"Content-Length: {len(QUESTION)}"
TE = "Transfer-Encoding: chunked"
SMUGGLING = {
    "CL.TE": head(TE, "Content-Length: 5") + b"0\r\n\r\n" + SMUGGLED,
    "TE.CL": head(TE, "Content-Length: 4") + b"5c\r\n" + SMUGGLED,
    "a TE of no such name": head("Transfer-Encoding: xchunked") + b"0\r\n\r\n" + SMUGGLED,
    "a TE behind a vertical tab": head("Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n" + SMUGGLED,
    "a TE before its colon": head("Transfer-Encoding : chunked") + b"0\r\n\r\n" + SMUGGLED,
    "a TE that is folded": head("Transfer-Encoding:", " chunked") + b"0\r\n\r\n" + SMUGGLED,
    "two codings": head("Transfer-Encoding: identity, chunked") + b"0\r\n\r\n" + SMUGGLED,
    "two TEs": head(TE, TE) + b"0\r\n\r\n" + SMUGGLED,
    "TE in HTTP/1.0": head(TE, request="POST /v1/chat/completions HTTP/1.0") + b"0\r\n\r\n" + SMUGGLED,
    "two lengths": head("Content-Length: 0", WHOLE) + QUESTION,
    "a list of lengths": head(f"Content-Length: {len(QUESTION)}, {len(QUESTION)}") + QUESTION,
    "a length with a sign": head(f"Content-Length: +{len(QUESTION)}") + QUESTION,
    "a length in hexadecimal": head(f"Content-Length: {len(QUESTION):#x}") + QUESTION,
    "a length beyond all numbers": head(f"Content-Length: {'9' * 30}") + QUESTION,
    "a folded header": head("X-A: b", " c: d", WHOLE) + QUESTION,
    "a bare LF": head("X-A: b\nX-B: c", WHOLE) + QUESTION,
    "a lone CR": head("X-A: b\rX-B: c", WHOLE) + QUESTION,
    "a NUL": head("X-A: b\x00c", WHOLE) + QUESTION,
    "a control byte": head("X-A: b\x01c", WHOLE) + QUESTION,
    "two hosts": head("Host: y", WHOLE) + QUESTION,
    "a line end in a chunk's extension": head(TE) + b"%x;a\nb\r\n" % len(QUESTION) + QUESTION + b"\r\n0\r\n\r\n",
    "a chunk of a negative size": head(TE) + b"-1\r\n" + QUESTION,
    "a chunk with a prefix": head(TE) + b"0x%x\r\n" % len(QUESTION) + QUESTION + b"\r\n0\r\n\r\n",
    "a chunk longer than it says": head(TE) + b"%x\r\n" % len(QUESTION) + QUESTION + b"XX0\r\n\r\n",
    "a length in a trailer": head(TE) + b"0\r\nContent-Length: 3\r\n\r\n" + SMUGGLED,
    "an absolute target": head(WHOLE, request="POST http://127.0.0.1/v1/models HTTP/1.1") + QUESTION,
    "a target that is no URL": head(WHOLE, request="POST http://[::1 HTTP/1.1") + QUESTION,
    "a tunnel": head(request="CONNECT 127.0.0.1:443 HTTP/1.1"),
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "endless trailers": head(TE) + b"0\r\n" + b"X-A: b\r\n" * 10_000,
    "a head of 300 kB": head("X: " + "a" * 300_000),
}


async def test_no_second_reading_of_a_request_reaches_the_upstream_or_leaves_the_connection_open(
    tmp_path: Path,
) -> None:
    async with town(tmp_path, {"sk-1": [Answer()]}, ()) as place:
        for trick, data in SMUGGLING.items():
            answer = await said_to(place, data)
            assert answer.count(b"HTTP/1.1 ") <= 1, trick
            assert answer[9:12] in (b"400", b"405", b"431", b""), trick
            assert b"keep-alive" not in answer.lower(), trick
        assert place.upstream.requests == []
        assert nobody_holds_a_key(place)


NO_TEXT = {
    "the session": "GET /status HTTP/1.1\r\nHost: x\r\nCookie: posthouse_session=a\xff.x\r\n\r\n",
    "the session of a program": "GET /status.json HTTP/1.1\r\nHost: x\r\nCookie: posthouse_session=\xff.\xfe\r\n\r\n",
    "the form's cookie": "POST /status/sign-in HTTP/1.1\r\nHost: x\r\nCookie: posthouse_form=a\xff\r\n"
    "Content-Length: 12\r\n\r\nform_token=a",
    "who signs out": "POST /status/sign-out HTTP/1.1\r\nHost: x\r\nCookie: posthouse_session=a\xff\r\n"
    "Content-Length: 12\r\n\r\nform_token=a",
    "a password": "GET /status.json HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \xff\xfe\r\n\r\n",
    "a token": "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
}


@pytest.mark.parametrize("request_text", NO_TEXT.values(), ids=NO_TEXT.keys())
async def test_a_credential_that_is_no_text_is_a_wrong_one_and_no_error_of_ours(
    tmp_path: Path, request_text: str
) -> None:
    """A stranger's cookie of one odd byte was a 500 and an error in the log, as often as the stranger liked."""
    async with town(tmp_path, {"sk-1": [Answer()]}, ()) as place:
        answer = await said_to(place, request_text.encode("latin-1"))
    assert answer[9:12] in (b"303", b"401", b"403")


def to_three(document: dict[str, Any]) -> None:
    small = {"name": "small", "token": "ph-small", "models": ["gpt-5-mini"]}
    document["proxy"]["callers"] = [{"name": name, "token": f"ph-{name}-token"} for name in ("anna", "bert")] + [small]


async def call(place: Town, token: str, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    headers = {"Authorization": f"Bearer {token}", **headers}
    async with place.session.request(
        method, f"{place.daemon.url}{path}", data=io.BytesIO(body), headers=headers, skip_auto_headers=["Content-Type"]
    ) as response:
        await response.read()
        return response.status


OTHER_MODEL = {
    "a byte order mark": b"\xef\xbb\xbf" + QUESTION,
    "UTF-16": QUESTION.decode().encode("utf-16"),
    "UTF-16 without a mark": QUESTION.decode().encode("utf-16-be"),
    "UTF-32": QUESTION.decode().encode("utf-32"),
    "capitals beside small letters": b'{"model": "gpt-5-mini", "Model": "gpt-5"}',
    "capitals alone": b'{"MODEL": "gpt-5"}',
    "twice": b'{"model": "gpt-5-mini", "model": "gpt-5"}',
    "an escape": b'{"mod\\u0065l": "gpt-5"}',
    "an escape beside the plain name": b'{"model": "gpt-5-mini", "mod\\u0065l": "gpt-5"}',
    "white space before it": b" " * 100_000 + QUESTION,
    "more than is kept": b" " * 9 * MEGABYTE + QUESTION,
}


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
@pytest.mark.parametrize("body", OTHER_MODEL.values(), ids=OTHER_MODEL.keys())
async def test_no_spelling_of_a_body_gets_a_model_that_is_not_allowed(
    tmp_path: Path, body: bytes, content_type: str
) -> None:
    """Some upstreams read whatever can be read as JSON, in any encoding; those in Go take names in any case."""
    headers = {"Content-Type": content_type} if content_type else {}
    async with town(tmp_path, {"sk-1": [Answer()]}, (), amend=to_three) as place:
        assert await call(place, "ph-small", "POST", "/v1/chat/completions", body, **headers) in (400, 403)
        assert place.upstream.requests == []


MODEL_IN_TARGET = [
    "/v1/deployments/gpt-5/chat/completions",
    "/v1/engines/gpt-5/completions",
    "/v1/%65ngines/gpt%2D5/completions",
    "/v1/models/gpt-5",
    "/v1/things?model=gpt-5",
    "/v1/things?model=gpt-5-mini&mod%65l=gpt-5",
]


async def test_a_model_in_path_or_query_is_judged_like_one_in_the_body(tmp_path: Path) -> None:
    async with town(tmp_path, {"sk-1": [Answer()]}, (), amend=to_three) as place:
        for path in MODEL_IN_TARGET:
            assert await call(place, "ph-small", "POST", path, b"{}", **JSON) == 403, path
        assert place.upstream.requests == []
        assert await call(place, "ph-small", "POST", "/v1/engines/gpt-5-mini/completions", b"{}", **JSON) == 200


MADE = "resp_0123456789Abcdef"
FOLLOWING = f'{{"model": "gpt-5", "input": "go on", "previous_response_id": "{MADE}"}}'.encode()
REACHES = {
    "in the path": ("GET", f"/v1/responses/{MADE}", b""),
    "spelled in the path": ("DELETE", f"/v1/responses/%72{MADE[1:]}", b""),
    "in the query": ("GET", f"/v1/things?after=%72{MADE[1:]}", b""),
    "in the body": ("POST", "/v1/responses", FOLLOWING),
    "spelled in the body": ("POST", "/v1/responses", FOLLOWING.replace(b"resp_", b"\\u0072esp\\u005F")),
    "behind a byte order mark": ("POST", "/v1/responses", b"\xef\xbb\xbf" + FOLLOWING),
    "in UTF-16": ("POST", "/v1/responses", FOLLOWING.decode().encode("utf-16")),
    "in a body too large to keep": ("POST", "/v1/responses", b" " * 9 * MEGABYTE + FOLLOWING),
    "spelled in one": (
        "POST",
        "/v1/responses",
        b" " * 9 * MEGABYTE + FOLLOWING.replace(b"resp_", b"\\u0072esp\\u005f"),
    ),
    "in UTF-16 in one": ("POST", "/v1/responses", (" " * 5 * MEGABYTE + FOLLOWING.decode()).encode("utf-16")),
}


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
@pytest.mark.parametrize(("method", "path", "body"), REACHES.values(), ids=REACHES.keys())
async def test_what_another_caller_made_cannot_be_reached_by_any_spelling(
    tmp_path: Path, method: str, path: str, body: bytes, content_type: str
) -> None:
    """A body above `replay_bytes` is sent as it comes: padded with blanks, it named what it liked."""
    made = Raw(200, {"content-type": "application/json"}, f'{{"id": "{MADE}", "object": "response"}}'.encode())
    async with town(tmp_path, {"sk-1": [made, Answer()]}, (), amend=to_three) as place:
        question = b'{"model": "gpt-5", "input": "x"}'
        assert await call(place, "ph-anna-token", "POST", "/v1/responses", question, **JSON) == 200
        status = await call(place, "ph-bert-token", method, path, body, **{"Content-Type": content_type})
        assert status in (400, 404)
        assert len(place.upstream.requests) == 1
        assert nobody_holds_a_key(place)
        assert await call(place, "ph-anna-token", method, path, body[-400:], **JSON) in (200, 400)


FORM = "multipart/form-data; boundary=a"
PART = b"\r\n--a\r\nContent-Disposition: form-data; name=x\r\n\r\n"
COSTLY = {
    "parts": PART[2:] + PART * 100_000 + b"\r\n--a--",
    "divisions": b"--a" * 2_000_000,
    "parameters": PART[2:-4] + b";a=" * 2_000_000 + b"\r\n\r\n\r\n--a--",
    "headers": b"--a\r\n" + b"X: y\r\n" * 1_000_000 + PART[7:] + b"\r\n--a--",
}


@pytest.mark.parametrize("body", COSTLY.values(), ids=COSTLY.keys())
def test_a_form_that_takes_minutes_to_read_is_refused_at_once(body: bytes) -> None:
    """Python's own reader takes quadratic time over a part's parameters: eight megabytes of them were an outage."""
    began = time.process_time()
    with pytest.raises(Refusal):
        peek(body, FORM)
    assert time.process_time() - began < 1


async def test_one_caller_cannot_fill_the_line_for_all(tmp_path: Path) -> None:
    """Sixty-four requests of one caller took every place in the line, so that everybody else was refused at once."""

    def amend(document: dict[str, Any]) -> None:
        to_three(document)
        document["keys"][0]["max_concurrency"] = 1

    async with town(tmp_path, {"sk-1": [Hang(), Answer()]}, (), amend=amend) as place:
        place.upstream.script["sk-1"] = [Hang(), Answer()]

        async def ask(token: str) -> int:
            return await call(place, token, "POST", "/v1/chat/completions", QUESTION, **JSON)

        busy = asyncio.create_task(ask("ph-anna-token"))
        await place.until(lambda upstream: len(upstream.requests) == 1)
        greedy = [asyncio.create_task(ask("ph-anna-token")) for _ in range(80)]
        async with asyncio.timeout(5):
            while sum(task.done() for task in greedy) < 16:  # the line is full
                await asyncio.sleep(0.01)
        modest = asyncio.create_task(ask("ph-bert-token"))
        async with asyncio.timeout(5):
            while sum(task.done() for task in greedy) < 17:  # the newcomer has a place, and one of the greedy lost it
                await asyncio.sleep(0.01)
        busy.cancel()
        assert await modest == 200
        statuses = await asyncio.gather(*greedy)
        assert (statuses.count(429), statuses.count(200)) == (17, 63)


@contextlib.asynccontextmanager
async def without_a_trace(place: Town) -> AsyncIterator[None]:
    """Whatever happens inside: afterwards files and tasks are as many as before, and no key is held."""
    await said_to(place, head("Connection: close", request="GET /v1/models HTTP/1.1"))
    tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
    yield
    async with asyncio.timeout(5):
        while not nobody_holds_a_key(place):
            await asyncio.sleep(0.01)
    await place.upstream.__aexit__()  # it hangs up, so that idle connections to it are none
    async with asyncio.timeout(5):
        while len(asyncio.all_tasks()) > tasks or len(os.listdir("/proc/self/fd")) > files:
            await asyncio.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux shows them")
async def test_two_thousand_callers_who_leave_whenever_they_like_leave_nothing_behind(tmp_path: Path) -> None:
    chance = random.Random(7)
    steps: list[Step] = [Answer(think_seconds=0.02), Answer(pieces=8, chunk_seconds=0.01), Answer(), Hang()]
    streamed = QUESTION.replace(b"{", b'{"stream":true,', 1)

    async def one(place: Town) -> None:
        body = chance.choice([QUESTION, streamed])
        data = head("Content-Type: application/json", f"Content-Length: {len(body)}") + body
        if chance.random() < 0.3:
            data = data[: chance.randrange(1, len(data))]
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(place.daemon.url.rpartition(":")[2]))
            writer.write(data)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.choice([0, 0.01, 0.05, 0.2])):
                    await reader.read(chance.choice([1, 200, 4_000]))
            writer.transport.abort() if chance.random() < 0.5 else writer.close()

    scripts = {f"sk-{number}": chance.choices(steps, k=500) for number in range(4)}
    async with town(tmp_path, scripts, ()) as place, without_a_trace(place):
        for _ in range(20):
            await asyncio.gather(*(one(place) for _ in range(100)))
        assert {view.state for view in place.daemon.pool.snapshot()} == {"ready"}, "nobody's leaving is a key's fault"


async def test_expectations_and_refusals_use_nothing_up(tmp_path: Path) -> None:
    """A request that was refused, or that was only asked about, takes no place of its caller's one."""

    def amend(document: dict[str, Any]) -> None:
        document["proxy"]["callers"][0] |= {"max_concurrency": 1}

    async with town(tmp_path, {"sk-1": [Answer()]}, (), amend=amend) as place:
        for _ in range(5):
            answer = await said_to(place, head("Expect: 100-continue", WHOLE, "Connection: close")[:-2] + b"\r\n")
            assert answer == b"HTTP/1.1 100 Continue\r\n\r\n"
        for body in (b"{", b'{"model": 1}', b"[" * 50_000):
            assert await call(place, TOKEN, "POST", "/v1/chat/completions", body, **JSON) == 400
        async with asyncio.timeout(5):
            while (status := await call(place, TOKEN, "POST", "/v1/chat/completions", QUESTION, **JSON)) == 429:
                await asyncio.sleep(0.01)
        assert status == 200
        assert json.loads(place.upstream.requests[-1].body)["model"] == "gpt-5"
