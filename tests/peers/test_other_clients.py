"""
Other people's clients, each in an environment of its own, towards an upstream directly and through the gateway: the same
program, the same results, field by field, but for the headers that the gateway takes off and the one it adds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from daemon.demo.received import Received
from daemon.demo.refusals import Limited
from daemon.demo.steps import Act, Answer, Call, CutStream
from daemon.demo.upstream import ScriptedUpstream
from tests.flows.daemon_bench import TOKEN, town

pytestmark = [pytest.mark.peers, pytest.mark.usefixtures("both_lanes")]

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent.parent / ".venv" / "peers"
CONTENT = bytes(range(256)) * 8192  # two mebibytes: past the one from which curl asks before it sends a body
WELL = Answer("换马 的 地方。")

# What an answer says of a key, of its server or of the network is nobody's business.
TAKEN = re.compile("set-cookie|openai-organization|server|alt-svc|strict-transport-security|x-ratelimit-.*|cf-.*")
BROUGHT = {"x-posthouse-request", "x-accel-buffering"}  # the second to streams alone
OF_A_CONNECTION = {"connection", "content-length", "date", "keep-alive", "transfer-encoding"}
NOT_SENT_ON = re.compile("host|authorization|cookie|accept-encoding|expect|upgrade|sec-.*")

ALL_DO = {"chat", "chat, streamed", "completion", "completion, streamed", "models"}
RESPONSES = {"response", "response, streamed"}


@dataclass(frozen=True, slots=True)
class Client:
    """A program in a folder of `clients`, and what it does."""

    folder: str
    acts: set[str]

    @property
    def environment(self) -> Path:
        return ENVIRONMENTS / "clients" / self.folder

    @property
    def command(self) -> list[str]:
        """The program after what runs it: Node, the Python of its environment, or where it has none (curl) our own."""
        program = next((HERE / "clients" / self.folder).glob("program.*"))
        if program.suffix == ".cjs":
            assert (self.environment / "node_modules").is_dir(), "run  make peers"
            return [found("node"), str(program)]
        own = (program.parent / "requirements.txt").exists()
        return [found(str(self.environment / "bin" / "python")) if own else sys.executable, str(program)]

    async def results(self, base_url: str, key: str, file: Path) -> dict[str, Any]:
        variables = {
            "PATH": f"{Path(found('curl')).parent}:/usr/bin:/bin",
            "HOME": str(file.parent),
            "PYTHONPATH": str(HERE / "clients"),
            "NODE_PATH": str(self.environment / "node_modules"),
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is fetched as soon as the package is imported
        }
        async with started([*self.command, base_url, key, str(file)], variables) as program:
            out, errors = await program.communicate()
        assert program.returncode == 0, errors.decode()
        return dict(json.loads(out))


CLIENTS = [
    Client("curl", {*ALL_DO, "upload"}),
    Client("langchain-openai", {*ALL_DO, *RESPONSES}),
    Client("litellm", {*ALL_DO, "upload"}),
    Client("openai-node", {*ALL_DO, *RESPONSES, "upload"}),
    Client("openai-node-3", {*ALL_DO, "upload"}),
    Client("openai-python", {*ALL_DO, *RESPONSES, "upload", "realtime"}),
    Client("openai-python-0.28", {*ALL_DO, "upload"}),
]
every_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.folder)


def found(tool: str) -> str:
    """A tool that is missing fails the test: what was not tried is not known to work."""
    path = shutil.which(tool)
    assert path, f"{tool} is missing: run  make peers"
    return path


@asynccontextmanager
async def started(command: list[str], variables: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=variables)
    try:
        async with asyncio.timeout(50):
            yield program
    finally:
        if program.returncode is None:
            program.kill()
            await program.communicate()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    return path


def headers_in(results: Any) -> Iterator[dict[str, Any]]:
    """All the headers that a client shows, wherever it does; LiteLLM writes its upstream's with a prefix."""
    if isinstance(results, dict):
        for name, value in results.items():
            if name == "headers" and isinstance(value, dict):
                yield {header.lower().removeprefix("llm_provider-"): value[header] for header in value}
            else:
                yield from headers_in(value)
    elif isinstance(results, list):
        for value in results:
            yield from headers_in(value)


def without(names: set[str], results: Any) -> Any:
    """The results without these fields, at any depth."""
    if isinstance(results, dict):
        return {name: without(names, value) for name, value in results.items() if name not in names}
    return [without(names, value) for value in results] if isinstance(results, list) else results


def as_sent_on(received: Received) -> Any:
    """A request without what belongs to a connection or to the caller's key; each multipart body has a boundary of its own."""
    headers = {
        name.lower(): value for name, value in received.headers.items() if not NOT_SENT_ON.fullmatch(name.lower())
    }
    boundary = re.search(r'boundary="?([^";]+)', headers.get("content-type", ""))
    body = received.body
    if boundary:
        headers["content-type"] = headers["content-type"].replace(boundary[1], "boundary")
        body = body.replace(boundary[1].encode(), b"boundary")
    return received.method, received.path, without(OF_A_CONNECTION, headers), fingerprint(body)


def fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@every_client
async def test_the_same_program_has_the_same_results_directly_and_through_the_gateway_though_keys_rotate(
    client: Client, file: Path
) -> None:
    (file.parent / "rotating").mkdir()
    async with (
        ScriptedUpstream({"sk-1": [WELL]}) as upstream,
        town(file.parent, {"sk-1": [WELL]}, ()) as place,
        town(file.parent / "rotating", {"sk-1": [Limited()], "sk-2": [WELL]}, ()) as rotating,
    ):
        rotating.upstream.organization.update({"sk-1": "org-1", "sk-2": "org-2"})
        directly, through, rotated = await asyncio.gather(
            client.results(upstream.base_url, "sk-1", file),
            client.results(f"{place.daemon.url}/v1", TOKEN, file),
            client.results(f"{rotating.daemon.url}/v1", TOKEN, file),
        )

    answered = {name for name, outcome in directly.items() if "answer" in outcome}
    assert answered - {"refused"} == client.acts, "curl takes a 400 for an answer like any other"
    assert "unsupported_parameter" in json.dumps(directly["refused"])

    assert without({"headers"}, through) == without({"headers"}, directly)
    for theirs, ours in zip(headers_in(directly), headers_in(through), strict=True):
        assert ("x-posthouse-request" in ours) is bool(theirs), "but LiteLLM shows none of an error's headers"
        expected = {name: value for name, value in theirs.items() if not TAKEN.fullmatch(name)}
        assert without(BROUGHT | OF_A_CONNECTION, ours) == without(OF_A_CONNECTION, expected)
    sent, sent_on = upstream.requests, place.upstream.requests
    assert [as_sent_on(received) for received in sent_on] == [as_sent_on(received) for received in sent]
    assert list(upstream.files.values()) == ([CONTENT] if "upload" in client.acts else [])
    assert place.upstream.files == upstream.files

    # Requests and files have another number there: the upstream counts those that it refuses.
    renumbered = json.loads(json.dumps(rotated).replace("file-2", "file-1"))
    assert without({"headers", "request_id"}, renumbered) == without({"headers", "request_id"}, directly)
    refused = {received.path.partition("?")[0] for received in rotating.upstream.requests if received.status == 429}
    assert refused >= {"/v1/chat/completions"} | ({"/v1/realtime"} if "realtime" in client.acts else set())


class CutsStreams:
    """Streams end cleanly after their first piece, without an end; all else is answered well."""

    def play(self, call: Call) -> Iterator[Act]:
        is_stream = call.asked is not None and call.asked.streams
        return (CutStream(then=WELL) if is_stream else WELL).play(call)


@every_client
async def test_a_stream_that_ended_early_raises_in_every_client_and_only_through_the_gateway(
    client: Client, file: Path
) -> None:
    async with (
        ScriptedUpstream({"sk-1": [CutsStreams()]}) as upstream,
        town(file.parent, {"sk-1": [CutsStreams()]}, ()) as place,
    ):
        directly, through = await asyncio.gather(
            client.results(upstream.base_url, "sk-1", file),
            client.results(f"{place.daemon.url}/v1", TOKEN, file),
        )

        for act in (act for act in client.acts if act.endswith(", streamed")):
            assert "answer" in directly[act], "half an answer is taken for a whole one"
            assert "raised" in through[act]
        assert len(place.upstream.requests) == len(upstream.requests), "and nothing else has stopped it"


@asynccontextmanager
async def public_mock() -> AsyncIterator[str]:
    """Somebody else's idea of the API, with the key sk-mock; chat and the list of models are all it has."""
    variables = {
        "PATH": "/usr/bin:/bin",
        "NODE_PATH": str(ENVIRONMENTS / "upstreams" / "openai-mock-api" / "node_modules"),
    }
    program = HERE / "upstreams" / "openai-mock-api" / "serve.cjs"
    async with started([found("node"), str(program)], variables) as server:
        assert server.stdout is not None
        while line := await server.stdout.readline():
            if line.startswith(b"listening on "):
                yield f"http://127.0.0.1:{int(line.split()[-1])}/v1"
                return
        raise AssertionError((await server.communicate())[1].decode())


@pytest.mark.parametrize(
    "client",
    [client for client in CLIENTS if client.folder in ("openai-node", "openai-python")],
    ids=lambda c: c.folder,
)
async def test_in_front_of_a_public_mock_server_too_the_results_are_the_same(client: Client, file: Path) -> None:
    async with public_mock() as base_url:

        def in_front_of_it(document: dict[str, Any]) -> None:
            document["upstreams"]["openai"]["base_url"] = base_url

        async with town(file.parent, {"sk-mock": []}, (), amend=in_front_of_it) as place:
            directly, through = await asyncio.gather(
                client.results(base_url, "sk-mock", file), client.results(f"{place.daemon.url}/v1", TOKEN, file)
            )
        assert {name for name, outcome in directly.items() if "answer" in outcome} >= {
            "chat",
            "chat, streamed",
            "models",
        }
        its_own_every_time = {"headers", "id", "created"}
        assert without(its_own_every_time, through) == without(its_own_every_time, directly)


def with_a_living_model(document: dict[str, Any]) -> None:
    document["models"] = {"text-davinci-003": {"use": "gpt-5.2", "as": "chat"}}


async def test_the_article_s_own_client_gets_its_text_from_a_model_that_has_chat_alone(tmp_path: Path) -> None:
    """The model in its place refuses `max_tokens` and most temperatures; the client, of 2023, knows nothing of that."""
    program = HERE / "clients" / "openai-node-3" / "article.cjs"
    environment = ENVIRONMENTS / "clients" / "openai-node-3"
    assert (environment / "node_modules").is_dir(), "run  make peers"
    variables = {"PATH": "/usr/bin:/bin", "NODE_PATH": str(environment / "node_modules")}
    async with town(tmp_path, {"sk-pool": [WELL]}, (), amend=with_a_living_model) as place:
        command = [found("node"), str(program), f"{place.daemon.url}/v1", TOKEN]
        async with started(command, variables) as client:
            out, errors = await client.communicate()
        assert client.returncode == 0, errors.decode()
        result = json.loads(out)
        assert result["whole"]["object"] == "text_completion"
        assert result["whole"]["choices"][0]["text"] == WELL.text
        events = [line.removeprefix("data: ") for line in result["events"].splitlines() if line]
        assert events.pop() == "[DONE]"
        assert "".join(json.loads(event)["choices"][0]["text"] for event in events) == WELL.text
        assert {received.path for received in place.upstream.requests} == {"/v1/chat/completions"}
