"""
One request as it reached the scripted upstream, and what can be read from it. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDictProxy

from daemon.demo.dialects import Asked, Dialect, asked, error
from daemon.demo.objections import objection
from daemon.demo.steps import JSON, Raw


@dataclass(frozen=True, slots=True, eq=False)
class Received:
    """
    One request as it arrived, from the address `remote`. `path` is the raw target with its query; `disconnected`: the caller
    left early. `status` is what it was answered with, None until then.
    """

    number: int
    method: str
    path: str
    headers: CIMultiDictProxy[str]
    body: bytes
    key: str
    received_at: float
    remote: str = ""
    status: int | None = None
    disconnected: bool = False

    def __repr__(self) -> str:
        return f"<Received {self.method} {self.path}>"

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def secret(headers: Mapping[str, str]) -> str:
    scheme, _, secret = headers.get("Authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else headers.get("api-key", "")


def read(dialect: Dialect, body: bytes, *, is_strict: bool) -> Asked | Raw:
    try:
        given = json.loads(body)
        said = objection(dialect, given) if is_strict else None
        if said is None:
            return asked(dialect, given)
    except (ValueError, TypeError, AttributeError, OverflowError):
        said = error(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
            "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
        )
    return Raw(400, JSON, json.dumps(said, indent=4).encode())


def upload(received: Received) -> tuple[str, bytes]:
    """The file of a multipart body, byte for byte."""
    boundary = re.search(r'boundary="?([^";]+)', received.headers.get("Content-Type", ""))
    for part in received.body.split(b"--" + boundary[1].encode()) if boundary else []:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'filename="([^"]*)"', head)
        if name:
            return name[1].decode(), content.removesuffix(b"\r\n")
    return "", b""
