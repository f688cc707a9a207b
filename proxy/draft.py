"""
A question that we word ourselves, so that it may be worded again where its model refuses a parameter. Pure.

Rule 1: a refused parameter takes its newer name where it has one, and is left out where that is refused too.
Rule 2: what a model refused is remembered, so that the next question to it is worded well at once.
Rule 3: only dispensable parameters are left out: without its messages, its stream or its number of answers it would be
        another question.

Source: developers.openai.com/docs/guides/reasoning: newer models take `max_completion_tokens` in place of `max_tokens`, and
neither `temperature`, `top_p` and the penalties nor `logit_bias`; a 400 names the parameter in `param`. The responses API says
so without a code (OpenHands/software-agent-sdk 1837), and older servers in the message alone (nashsu/llm_wiki 336).
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

from proxy.reading import json_of

MOST_MODELS = 1_000  # remembered; models are those of the configuration, so that only many reloads could reach it
INSTEAD: Mapping[str, str] = {"max_tokens": "max_completion_tokens"}
# In the order in which they are looked at: an older name stands before the one that takes its place.
DISPENSABLE = (
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "seed",
    "logit_bias",
    "user",
    "store",
    "stream_options",
)
CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_IN_WORDS = re.compile(
    r"(?:Unsupported|Unknown) parameter: '([a-z_]+)|Unrecognized request arguments? supplied: ([a-z_]+)"
)


class Unsupported:
    """The parameters that each model has refused. One for everybody who words questions."""

    def __init__(self, *, most_models: int = MOST_MODELS) -> None:
        self._by_model: OrderedDict[str, frozenset[str]] = OrderedDict()  # longest unchanged first
        self._most_models = most_models

    def of(self, model: str) -> frozenset[str]:
        return self._by_model.get(model, frozenset())

    def add(self, model: str, parameter: str) -> None:
        self._by_model[model] = self.of(model) | {parameter}
        self._by_model.move_to_end(model)
        if len(self._by_model) > self._most_models:
            self._by_model.popitem(last=False)


class Draft:
    """`body` is what to send; after `revise()` it may be another."""

    __slots__ = ("_dispensable", "_fields", "_unsupported", "body")

    def __init__(
        self, fields: Mapping[str, Any], unsupported: Unsupported, *, dispensable: Collection[str] = DISPENSABLE
    ) -> None:
        """`fields` are the question's, `model` among them; `dispensable` are those of them that it can do without."""
        refused = unsupported.of(fields["model"])
        for name in dispensable:
            if name in refused and name in fields:
                fields = _without(name, fields)
        self._fields, self._unsupported, self._dispensable = fields, unsupported, dispensable
        self.body = compact(fields)

    @property
    def model(self) -> str:
        return str(self._fields["model"])

    def revise(self, status: int, error_body: bytes) -> bool:
        """Whether this answer refused a parameter of it that it can do without; `body` is then without."""
        name = _refused_parameter(error_body) if status == 400 else ""
        if name not in self._dispensable or name not in self._fields:
            return False
        self._unsupported.add(self.model, name)
        self._fields = _without(name, self._fields)
        self.body = compact(self._fields)
        return True


def compact(value: Mapping[str, Any]) -> bytes:
    """The shortest JSON of it, readable where it can be: half of a surrogate pair can only be written as an escape."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _without(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    left = dict(fields)
    value = left.pop(name)
    if name in INSTEAD:
        left.setdefault(INSTEAD[name], value)
    return left


def _refused_parameter(body: bytes) -> str:
    """The name of the parameter that an error refuses as such, "" where it is about something else."""
    payload = json_of(body)
    error = payload.get("error") if isinstance(payload, dict) else None
    if not isinstance(error, dict):
        return ""
    if error.get("code") is None:
        found = _IN_WORDS.match(str(error.get("message")))
        return found[1] or found[2] if found else ""
    return str(error.get("param") or "").partition(".")[0] if str(error["code"]) in CODES else ""
