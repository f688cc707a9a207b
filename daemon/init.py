"""
What `posthouse init` writes: a config for one server, with fresh secrets, and comments that say what to change.

Rule 1: nothing is ever overwritten, and nobody ever sees half a file or one with a wider mode than 0600.
Rule 2: the caller's token is told once; the file has its hash.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import string
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from proxy.value import value_type

MODELS_SECONDS = 5.0
MODELS_BYTES = 4 * 1024 * 1024
ALPHABET = string.ascii_letters + string.digits

# Models that a chat cannot be held with, by a part of their name.
NOT_FOR_CHAT = (
    *("audio", "babbage", "codex", "computer", "dall-e", "davinci", "embed", "image", "instruct", "moderation"),
    *("realtime", "rerank", "research", "search", "sora", "transcribe", "tts", "whisper"),
)


@value_type
class Answers:
    """What the operator said. An `api_key` of "" is not known yet; `key_variable` names where it stays instead."""

    listen: str
    base_url: str
    api_key: str = field(default="", repr=False)
    key_variable: str = ""
    model: str = ""
    account_id: str = ""
    app_id: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Fresh:
    """New secrets, each as strong as its place takes them."""

    caller_token: str = field(default_factory=lambda: new_token())
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    wechat_token: str = field(default_factory=lambda: "".join(secrets.choice(ALPHABET) for _ in range(32)))
    aes_key: str = field(default_factory=lambda: _aes_key())


def new_token() -> str:
    return f"ph-{secrets.token_urlsafe(32)}"


def _aes_key() -> str:
    """43 letters and digits that are base64 of 32 bytes: the last holds four bits and two of padding, which stay 0."""
    return "".join(secrets.choice(ALPHABET) for _ in range(42)) + secrets.choice("AEIMQUYcgkosw048")


def caller_lines(name: str, token: str) -> str:
    digest = hashlib.sha256(token.encode()).hexdigest()
    return f'[[proxy.callers]]\nname = "{name}"\ntoken = "sha256:{digest}"\n'


def config_text(answers: Answers, fresh: Fresh, command: str) -> str:
    """`command` is what we are called by."""
    key = f'{{ env = "{answers.key_variable}" }}' if answers.key_variable else _quoted(answers.api_key)
    has_key = bool(answers.key_variable or answers.api_key)
    return f"""\
# Posthouse's configuration. What is not here has its default; every setting is explained in docs/configuration.md.
# A secret is a string or one of {{ env = "NAME" }}, {{ file = "path" }}, {{ credential = "name" }}.
# Check it after a change:  {command} check

[server]
listen = [{_quoted(answers.listen)}]
# What links to pictures begin with, once a domain points here.
# public_url = "https://bot.example.org"

[operator]
# For the status page at /status, and for /metrics.
password = {_quoted(fresh.password)}

[upstreams.openai]
base_url = {_quoted(answers.base_url)}

# One table for each key; the next one takes over when one is limited. Use keys of your own organizations.
{
        _block(
            has_key,
            f'''
[[keys]]
name = "main"
secret = {key if has_key else '"sk-…"'}
''',
        )
    }
# Who may use the gateway at /v1. A token for another program:  {command} token NAME
{caller_lines("first", fresh.caller_token)}
[bot]
# The model that answers subscribers, as the upstream calls it.
{_block(bool(answers.model), f"model = {_quoted(answers.model or '…')}")}
# The WeChat account. In its console, enter the URL http://YOUR-SERVER/wechat (port 80, or https on 443), and these two secrets.
{
        _block(
            bool(answers.account_id),
            f'''
[[bot.accounts]]
id = {_quoted(answers.account_id or "gh_…")}
token = {_quoted(fresh.wechat_token)}
''',
        )
    }\
# Safe mode (安全模式): needs the AppID, and keeps others from forging and reading messages.
{
        _block(
            bool(answers.account_id and answers.app_id),
            f'''
app_id = {_quoted(answers.app_id or "wx…")}
encoding_aes_key = {_quoted(fresh.aes_key)}
''',
        )
    }"""


def create(path: Path, text: str) -> None:
    """Raises FileExistsError, or another OSError; there is a whole file afterwards or none."""
    handle, name = tempfile.mkstemp(
        dir=path.absolute().parent, prefix=f".{path.name}."
    )  # mode 0600 from the first byte
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # unlike a rename, it fails where a file stands
    finally:
        Path(name).unlink()


def models_of(base_url: str, key: str) -> list[str]:
    """The models a key may use, newest first; empty where the upstream does not say so within some seconds."""
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    try:
        connection = kind(parts.netloc, timeout=MODELS_SECONDS)
        try:  # http.client follows no redirect, so the key goes nowhere else
            connection.request("GET", f"{parts.path}/models", headers={"Authorization": f"Bearer {key}"})
            response = connection.getresponse()
            body = response.read(MODELS_BYTES) if response.status == http.HTTPStatus.OK else b"{}"
        finally:
            connection.close()
        found = [model for model in json.loads(body).get("data", []) if isinstance(model["id"], str)]
        found.sort(key=lambda model: float(model.get("created") or 0), reverse=True)
        return [model["id"] for model in found]
    except (OSError, http.client.HTTPException, ValueError, TypeError, AttributeError, KeyError):
        return []


def suggestion(models: Sequence[str]) -> str:
    """The newest small model one can chat with, else the newest at all; "" where there is none."""
    chatty = [model for model in models if not any(part in model.lower() for part in NOT_FOR_CHAT)]
    return next((model for model in chatty if "mini" in model.lower()), chatty[0] if chatty else "")


def _block(is_set: bool, lines: str) -> str:
    """The lines as they are, or commented out."""
    lines = lines.strip("\n")
    return f"{lines}\n" if is_set else "".join(f"# {line}\n" for line in lines.splitlines())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON string is a TOML basic string
