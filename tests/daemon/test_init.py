"""What `posthouse init` writes can be used as it is, is nobody else's to read, and replaces nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from daemon import config
from daemon.init import Answers, Fresh, caller_lines, config_text, create, models_of, suggestion
from daemon.interview import hold
from daemon.secret import Sources
from daemon.wrong_config import WrongConfig

NOTHING = {"listen": None, "base_url": None, "model": None, "account": None, "app_id": None}
USUAL = Answers(listen="127.0.0.1:8080", base_url="https://api.openai.com/v1")


class Upstream(ThreadingHTTPServer):
    """Answers GET /v1/models with `status` and `body`; keeps the credentials it was shown."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.status, self.body = 200, b""
        self.seen: list[tuple[str, str | None]] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Answer(BaseHTTPRequestHandler):
    server: Upstream

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def models(*names: str) -> bytes:
    return json.dumps({"data": [{"id": name, "created": at} for at, name in enumerate(names)]}).encode()


def test_everything_answered_is_a_config_that_is_well() -> None:
    answers = Answers(
        listen="0.0.0.0:80",
        base_url="https://gateway.test/v1",
        api_key='a-"key"-\\n',
        model="m",
        account_id="gh_1",
        app_id="wx1",
    )
    fresh = Fresh()

    settings = config.parse_text(config_text(answers, fresh, "posthouse"), Sources())

    assert settings.keys[0].secret.reveal() == 'a-"key"-\\n'
    assert settings.server.listen == ("0.0.0.0:80",)
    assert settings.operator.password is not None
    assert settings.operator.password.reveal() == fresh.password
    assert settings.proxy.callers[0].token == hashlib.sha256(fresh.caller_token.encode()).digest()
    [account] = settings.bot.accounts
    assert account.token.reveal() == fresh.wechat_token
    assert account.encoding_aes_key is not None
    assert account.encoding_aes_key.reveal() == fresh.aes_key


def test_nothing_answered_is_a_config_that_is_well_too() -> None:
    settings = config.parse_text(config_text(USUAL, Fresh(), "posthouse"), Sources())

    assert (settings.keys, settings.bot.accounts, settings.bot.model) == ((), (), "")


def test_what_stands_in_comments_is_well_once_it_is_filled_in() -> None:
    text = config_text(USUAL, Fresh(), "posthouse").replace("gh_…", "gh_1").replace("wx…", "wx1").replace("…", "m")
    text = re.sub(r"(?m)^# (?=\[\[|[a-z_]+ = )", "", text)

    settings = config.parse_text(text, Sources({"OPENAI_API_KEY": "k"}))

    assert (len(settings.keys), len(settings.bot.accounts), settings.bot.model) == (1, 1, "m")
    assert settings.bot.accounts[0].encoding_aes_key is not None


def test_the_token_itself_is_not_in_the_file() -> None:
    fresh = Fresh()

    assert fresh.caller_token not in config_text(USUAL, fresh, "posthouse")
    assert fresh.caller_token not in caller_lines("a", fresh.caller_token)


def test_fresh_secrets_are_long_different_and_what_wechat_takes() -> None:
    one, two = Fresh(), Fresh()

    assert one.caller_token.startswith("ph-")
    assert len(one.caller_token) == 46
    assert one.caller_token != two.caller_token
    assert one.password != two.password
    assert (one.wechat_token.isalnum(), len(one.wechat_token)) == (True, 32)
    assert (one.aes_key.isalnum(), len(one.aes_key)) == (True, 43)
    assert base64.b64encode(base64.b64decode(one.aes_key + "=")) == f"{one.aes_key}=".encode()
    assert one.wechat_token not in repr(one)


@pytest.mark.skipif(os.name != "posix", reason="modes are posix's")
def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "posthouse.toml"

    create(path, "x = 1\n")

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == "x = 1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_there_stays_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "posthouse.toml"
    path.write_text("mine")

    with pytest.raises(FileExistsError):
        create(path, "yours")

    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_the_upstream_is_asked_for_its_models_newest_first(upstream: Upstream) -> None:
    upstream.body = models("old", "new")

    assert models_of(upstream.base_url, "a-key") == ["new", "old"]
    assert upstream.seen == [("/v1/models", "Bearer a-key")]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, models("m")),
        (302, b""),
        (200, b"not json"),
        (200, b"[]"),
        (200, b'{"data": 3}'),
        (200, b'{"data": [{}]}'),
        (200, b'{"data": [{"id": 3}]}'),
    ],
)
def test_an_upstream_that_does_not_name_models_names_none(upstream: Upstream, status: int, body: bytes) -> None:
    upstream.status, upstream.body = status, body

    assert models_of(upstream.base_url, "a-key") == []
    assert len(upstream.seen) == 1  # a redirect would have taken the key along


def test_an_upstream_that_is_not_there_names_none() -> None:
    assert models_of("http://127.0.0.1:1/v1", "a-key") == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["gpt-9", "gpt-8-mini", "gpt-8"], "gpt-8-mini"),
        (["gpt-9-mini-tts", "text-embedding-9", "deepseek-chat"], "deepseek-chat"),
        (["whisper-1"], ""),
        ([], ""),
    ],
)
def test_the_suggested_model_can_chat_and_is_small_where_one_is(names: list[str], expected: str) -> None:
    assert suggestion(names) == expected


def test_without_questions_the_environments_key_finds_the_model(upstream: Upstream) -> None:
    upstream.body = models("a-mini")

    answers = hold(NOTHING | {"base_url": upstream.base_url}, asks=False, environ={"OPENAI_API_KEY": "a-key"})

    assert (answers.model, answers.key_variable, answers.api_key) == ("a-mini", "OPENAI_API_KEY", "")


def test_a_key_is_not_sent_where_the_config_would_not_let_it_go() -> None:
    with pytest.raises(WrongConfig, match="expected an https:// URL"):
        hold(NOTHING | {"base_url": "http://api.test/v1"}, asks=False, environ={"OPENAI_API_KEY": "a-key"})
