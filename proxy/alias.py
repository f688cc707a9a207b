"""
The names by which callers ask for models, and what goes upstream in their place. Pure.

Rule 1: the name that a caller sent is what the caller's limits are about; the name it stands for is what goes upstream, and
        what keys are chosen by.
Rule 2: of a question that is only renamed, nothing but the model's name changes, to the byte.
Rule 3: an alias is never asked for upstream, not even by `GET /v1/models/{alias}`; the list of models has both.
Rule 4: who brings a key of its own is not concerned: names are the pool's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import field, replace
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from proxy.draft import Draft, Unsupported, compact
from proxy.legacy import chat_question, completion_answer
from proxy.peek import Peek, boundary_of, decoder, parts_of_form, peek, without_strings
from proxy.refusal import answer_not_readable, invalid_request
from proxy.retelling import Retelling
from proxy.target import Target
from proxy.value import value_type

MODELS = "/v1/models"
COMPLETIONS = "/v1/completions"
CHAT = Target("/v1/chat/completions")

MOST_UNQUOTED = 65_536  # bytes of a completion outside its strings
_BLANK = re.compile(r"[ \t\n\r]*")


@value_type
class Alias:
    """`use` is what the name stands for. `as_chat`: legacy completions by it are asked as chat."""

    use: str
    as_chat: bool = False


@value_type
class Question:
    """
    What is asked, or goes upstream. `seen` is what it says about itself. `body`: None where there is none, or it is too large
    to be kept; `draft` has it where it is ours to word. `retelling` is how the answer is told, None for as it comes.
    """

    target: Target
    seen: Peek
    body: bytes | None = field(default=None, repr=False)
    draft: Draft | None = None
    retelling: Retelling | None = None


@value_type
class Aliases:
    by_name: Mapping[str, Alias] = field(default_factory=dict)

    def question(self, method: str, asked: Question, kind: str, unsupported: Unsupported) -> Question:
        """What goes upstream for what was `asked`, with a body of Content-Type `kind`. Raises a Refusal (400)."""
        target, seen, body = asked.target, asked.seen, asked.body
        path = target.path.rstrip("/")
        if self.by_name and (method, path) == ("GET", MODELS):
            return replace(asked, retelling=Retelling(self._listed))
        alias = self.by_name.get(seen.model)
        if alias is None:
            return asked
        seen = replace(seen, model=alias.use)
        if body is None:
            return replace(asked, seen=seen, target=_renamed_query(target, alias.use))
        if alias.as_chat and (method, path) == ("POST", COMPLETIONS):
            return _as_chat(asked, body, kind, alias.use, unsupported)
        return replace(asked, seen=seen, body=renamed(body, kind, alias.use))

    def model(self, target: Target) -> bytes | None:
        """The answer to a GET of one model by its alias; None for any other."""
        if not target.path.startswith(f"{MODELS}/"):
            return None
        name = unquote(target.path.removeprefix(f"{MODELS}/").rstrip("/"))
        return compact(_model(name)) if name in self.by_name else None

    def _listed(self, body: bytes) -> bytes | None:
        try:
            models = json.loads(body)
        except (ValueError, RecursionError):
            return None
        if not isinstance(models, dict) or not isinstance(models.get("data"), list):
            return None
        others = [model for model in models["data"] if not _is_among(model, self.by_name)]
        return compact({**models, "data": [*others, *map(_model, self.by_name)]})


def renamed(body: bytes, kind: str, model: str) -> bytes:
    """The same body for another model. It is one that `peek` has read: it names one model, and is not broken."""
    boundary = boundary_of(kind)
    return _renamed_json(body, model) if boundary is None else _renamed_form(body, boundary, model)


def _as_chat(asked: Question, body: bytes, kind: str, model: str, unsupported: Unsupported) -> Question:
    if boundary_of(kind) is not None:
        raise invalid_request("Send a completion as JSON, not as a form.")
    if len(without_strings(body)) > MOST_UNQUOTED:  # else 8 MiB of the worst numbers hold everybody up for a second
        raise invalid_request("That has too many numbers, brackets and blanks to be translated.")
    try:
        draft = Draft(chat_question(json.loads(body), model), unsupported)
    except (ValueError, RecursionError):  # it has been read, but not how much its numbers are, nor from as deep as here
        raise invalid_request(
            "The body has a number that is too long to be translated, or is nested too deep."
        ) from None
    name = asked.seen.model
    retelling = Retelling(lambda data: completion_answer(data, name), unreadable=answer_not_readable())
    target, seen = replace(CHAT, query=asked.target.query), peek(draft.body, "application/json")
    return Question(target, seen, draft.body, draft, retelling)


def _renamed_query(target: Target, model: str) -> Target:
    """A WebSocket has its model in the query."""
    parts = target.query.split("&")
    renamed = (f"model={quote(model)}" if unquote_plus(part).startswith("model=") else part for part in parts)
    return replace(target, query="&".join(renamed))


def _renamed_json(body: bytes, model: str) -> bytes:
    text, decode = body.decode(), decoder().raw_decode
    at = _after("{", text, 0)
    while True:
        name, at = decode(text, at)
        start = _after(":", text, at)
        _, at = decode(text, start)
        if name == "model":
            return (text[:start] + json.dumps(model) + text[at:]).encode()
        at = _after(",", text, at)


def _after(mark: str, text: str, at: int) -> int:
    """Where the next token stands, after `mark`, which is known to come next."""
    found = _BLANK.match(text, text.index(mark, at) + 1)
    return found.end() if found else at


def _renamed_form(body: bytes, boundary: bytes, model: str) -> bytes:
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    for number, (name, value) in enumerate(parts_of_form(body, boundary), start=1):
        if name == "model":
            parts[number] = parts[number].removesuffix(value) + model.encode()
    return (b"\r\n--" + boundary).join(parts)[2:]


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "posthouse"}


def _is_among(model: Any, names: Collection[str]) -> bool:
    return isinstance(model, dict) and model.get("id") in names
