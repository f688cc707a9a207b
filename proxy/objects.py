"""
Objects that an upstream keeps (files, batches, responses, threads …): how a request names, lists and makes them. Pure.

Rule 1: any short plain string of a request may be an id: in its path, its query, anywhere in its body. Which of them is one
        is known by who made it, not by the name of the field it stands in: fields are added every month.
Rule 2: what lists objects shows those of every caller of the key, so that it is not for everyone.
Rule 3: an answer's ids are read where the upstream alone writes; what stands in `metadata` a caller may have written.

Source: github.com/openai/openai-python, src/openai/resources (3.54): its paths, and the fields of its types.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeGuard
from urllib.parse import unquote

LONGEST_ID = 128  # characters; OpenAI's longest have about seventy

# An id has a digit or a capital: random ones always do, and the names of JSON's own fields do not. Possessive, so that a
# quote before a long word costs one look.
ID_SHAPE = r"(?=[a-z_-]{0,128}+[A-Z0-9])[A-Za-z0-9_-]{6,128}+"
_WORDS = re.compile(ID_SHAPE)
_PLAIN_STRINGS = re.compile(f'"({ID_SHAPE})"')
_SPELLED_STRINGS = re.compile(r'"((?:[A-Za-z0-9_-]|\\u00[2-7][0-9A-Fa-f]){6,128}+)"')

# The same in bytes, where a form's whole value may be one too.
_PASSING_STRINGS = re.compile(rb'(?:"|\r\n\r\n)((?:[A-Za-z0-9_-]|\\u00[2-7][0-9A-Fa-f]){6,128}+)(?:(?=")|(?=\r\n))')
_LONGEST_SPELLED = 6 * LONGEST_ID + 8

COLLECTIONS = frozenset(
    {
        "/v1/agents",
        "/v1/agents/automations",
        "/v1/agents/environments",
        "/v1/agents/environments/templates",
        "/v1/agents/sessions",
        "/v1/assistants",
        "/v1/audio/voice_consents",
        "/v1/audio/voices",
        "/v1/batches",
        "/v1/chat/completions",
        "/v1/chatkit/sessions",
        "/v1/chatkit/threads",
        "/v1/containers",
        "/v1/conversations",
        "/v1/evals",
        "/v1/files",
        "/v1/fine-tunes",
        "/v1/fine_tuning/jobs",
        "/v1/live/sessions",
        "/v1/responses",
        "/v1/skills",
        "/v1/threads",
        "/v1/uploads",
        "/v1/vaults",
        "/v1/vector_stores",
        "/v1/videos",
        "/v1/videos/characters",
        "/v1/webhook_endpoints",
    }
)
_WITHIN = tuple(f"{path}/" for path in COLLECTIONS)
# Read again until they are done; only then do they name the files that came of them.
_GROWING = re.compile(r"/v1/(?:batches|fine_tuning/jobs|responses)/[^/]+")


@lru_cache(maxsize=512)
def plain_path(path: str) -> str:
    """The path of a target as an upstream may read it, whatever its escapes, its case and a slash at its end."""
    return unquote(path).lower().rstrip("/")


def is_listing(method: str, path: str) -> bool:
    return method in ("GET", "HEAD") and path in COLLECTIONS


def is_telling(method: str, path: str, is_stored: bool | None) -> bool:
    """Whether the answer may tell of an object that is new. `is_stored`: what the body says by `store`."""
    if method == "GET":
        return _GROWING.fullmatch(path) is not None
    if method != "POST":
        return False
    if path == "/v1/chat/completions":  # kept only where that is asked for
        return is_stored is True
    if path == "/v1/responses":  # kept unless that is declined
        return is_stored is not False
    return f"{path}/".startswith(_WITHIN)


@lru_cache(maxsize=512)
def names_in(path: str, query: str) -> frozenset[str]:
    """The words of a target that may be ids."""
    return frozenset(_WORDS.findall(unquote(f"{path}?{query}")))


def strings_in(text: str) -> frozenset[str]:
    """
    The strings of a JSON text that may be ids, whatever they are called and however they are nested or spelled.

    Read from the text, not from what it parses to: where a name stands twice, both values are here.
    """
    if "\\u00" not in text:
        return frozenset(_PLAIN_STRINGS.findall(text))
    spelled = _SPELLED_STRINGS.findall(text)  # all at once: one by one it takes several times as long
    return frozenset("\n".join(spelled).encode().decode("unicode_escape").split("\n")) if spelled else frozenset()


class NameWatch:
    """Finds what may be ids in a body that goes by in pieces: feed it each before it goes on."""

    __slots__ = ("_kept", "_tell")

    def __init__(self, tell: Callable[[frozenset[str]], None]) -> None:
        """What `tell` raises leaves `feed()`."""
        self._tell, self._kept = tell, b""

    def feed(self, piece: bytes) -> None:
        text = self._kept + piece.replace(b"\0", b"")  # UTF-16 and UTF-32 write ASCII with zeros between
        self._kept = text[-_LONGEST_SPELLED:]
        if found := set(_PASSING_STRINGS.findall(text)):
            self._tell(frozenset(b"\n".join(found).decode("unicode_escape").split("\n")))


def is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _WORDS.fullmatch(value) is not None


def ids_told(payload: Any) -> list[str]:
    """The ids of the object that an answer, or an event of one, is about, and of what the upstream made along with it."""
    if not isinstance(payload, dict):
        return []
    inner = payload.get("response")  # an event of a response has the whole of it
    about = {**payload, **inner} if isinstance(inner, dict) else payload
    values = [about.get(name) for name in ("id", "output_file_id", "error_file_id")]
    values += _list(about.get("result_files"))
    parts = [about.get("item"), *_list(about.get("output"))]
    values += [part.get("container_id") for part in parts if isinstance(part, dict)]
    if isinstance(file := about.get("file"), dict):  # an upload that is complete
        values.append(file.get("id"))
    return [value for value in values if is_id(value)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
