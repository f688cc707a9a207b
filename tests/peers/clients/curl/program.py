"""curl: no library between the wire and what is printed. An upload of this size makes it ask first (Expect: 100-continue)."""

import json
import subprocess
from typing import Any

from acts import fingerprint, given, perform

BASE_URL, KEY, FILE = given()
ASKED = {"model": "gpt-5.2", "messages": [{"role": "user", "content": "驿站是什么？"}]}


def curl(path: str, *options: str) -> tuple[list[str], bytes]:
    """The lines of the last answer's head, and its body. Fails as curl does: a cut body is an error, a 400 is none."""
    command = ["curl", "--silent", "--show-error", "--no-buffer", "--include", *options]
    finished = subprocess.run(
        [*command, "--header", f"Authorization: Bearer {KEY}", f"{BASE_URL}{path}"], capture_output=True, check=True
    )
    head, _, body = finished.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, body = body.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


def whole(path: str, *options: str) -> Any:
    (status, *lines), body = curl(path, *options)
    headers = dict(line.split(": ", 1) for line in lines)
    return {"status": status, "headers": headers, "body": body.decode()}


def post(path: str, asked: dict[str, Any]) -> Any:
    return whole(path, "--header", "Content-Type: application/json", "--data-binary", json.dumps(asked))


def upload() -> Any:
    kept = whole("/files", "--form", "purpose=assistants", "--form", f"file=@{FILE}")
    place = f"/files/{json.loads(kept['body'])['id']}/content"
    _, content = curl(place)
    return {**kept, "content": fingerprint(content), "asked for its head": whole(place, "--head")}


perform(
    {
        "chat": lambda: post("/chat/completions", ASKED),
        "chat, streamed": lambda: post("/chat/completions", {**ASKED, "stream": True}),
        "completion": lambda: post("/completions", {"model": "gpt-5.2", "prompt": "hi"}),
        "completion, streamed": lambda: post("/completions", {"model": "gpt-5.2", "prompt": "hi", "stream": True}),
        "models": lambda: whole("/models"),
        "refused": lambda: post("/chat/completions", {**ASKED, "max_tokens": 5}),
        "upload": upload,
    }
)
