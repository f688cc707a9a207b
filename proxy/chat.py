"""
Asks a model for the bot: a list of messages in, pieces of text out, through the same pool as everybody else.

Rule 1: it streams, so that the first words are there early, and so that a cut answer shows.
Rule 2: a parameter that the model refuses (`unsupported_parameter`, `unsupported_value`) is renamed or left out, once, and
        that is remembered for the model; the messages are never changed.
Rule 3: whatever goes wrong leaves as a Refusal, the same value that a caller of /v1 would have got.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from proxy.command import Begin, Call, Cut, End
from proxy.errand import Errand
from proxy.keypool import KeyPool
from proxy.refusal import Refusal
from proxy.sse import data_of
from proxy.target import Target
from proxy.upstream import Road, drive
from proxy.usage_book import UsageBook

CHAT = Target("/v1/chat/completions")
INSTEAD: Mapping[str, str] = {"max_tokens": "max_completion_tokens"}
REFUSALS_OF_PARAMETERS = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
NEEDED = frozenset({"model", "messages", "stream"})


class TornAnswer(Exception):
    """The stream ended before the answer did."""


class EmptyAnswer(Exception):
    """The model ended without a word. `finish_reason` says why, for example "length"."""

    def __init__(self, finish_reason: str) -> None:
        super().__init__(finish_reason)
        self.finish_reason = finish_reason


@dataclass(slots=True)
class Chat:
    """`parameters` go with every request where they are set: temperature, max_tokens."""

    pool: KeyPool
    road: Road
    book: UsageBook
    parameters: Mapping[str, Any]
    clock: Callable[[], float]
    jitter: Callable[[], float]
    new_id: Callable[[], str]
    queue_seconds: float = 0.0
    secrets: Sequence[str] = field(default=(), repr=False)
    _refused: dict[str, set[str]] = field(default_factory=dict)

    async def ask(self, messages: Sequence[Mapping[str, str]], *, model: str) -> AsyncGenerator[str]:
        """The answer in pieces. Raises Refusal, TornAnswer, EmptyAnswer."""
        while True:
            try:
                async with aclosing(self._once(messages, model)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except _ParameterRefused as refused:
                self._refused.setdefault(model, set()).add(refused.name)

    def payload(self, messages: Sequence[Mapping[str, str]], model: str) -> dict[str, Any]:
        """The request's body, without what the model has refused before."""
        optional: dict[str, Any] = {"stream_options": {"include_usage": True}, "store": False, **self.parameters}
        for name in self._refused.get(model, ()):
            value = optional.pop(name, None)
            if name in INSTEAD and value is not None and INSTEAD[name] not in self._refused[model]:
                optional[INSTEAD[name]] = value
        return {"model": model, "messages": list(messages), "stream": True, **optional}

    async def _once(self, messages: Sequence[Mapping[str, str]], model: str) -> AsyncGenerator[str]:
        payload = self.payload(messages, model)
        body = json.dumps(payload, ensure_ascii=False).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Accept", "text/event-stream"),
            ("Accept-Encoding", "identity"),
            ("User-Agent", "posthouse"),
        ]
        call = Call(
            id=self.new_id(),
            method="POST",
            target=CHAT,
            headers=headers,
            model=model,
            use="bot",
            caller="bot",
            queue_seconds=self.queue_seconds,
        )
        errand = Errand(call, self.pool, clock=self.clock, jitter=self.jitter, secrets=self.secrets)
        reading = _Reading()
        with self.book.watching(errand, body) as watch:
            async with aclosing(drive(errand, self.road, body)) as parts:
                async for part in parts:
                    match part:
                        case Refusal():
                            raise part
                        case Begin(status, _, data, is_whole) if is_whole and status >= 400:
                            raise _refusal(status, data, known=payload.keys() - NEEDED)
                        case Begin():
                            watch.begin(part)
                            reading.is_stream = _is_stream(part)
                            words = reading.feed(part.data)
                        case bytes():
                            watch.feed(part)
                            words = reading.feed(part)
                        case Cut():
                            raise TornAnswer
                        case End():
                            words = reading.rest()
                    if words:
                        yield words
        if not reading.has_words:
            raise EmptyAnswer(reading.finish_reason)


class _ParameterRefused(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _is_stream(begin: Begin) -> bool:
    types = [value for name, value in begin.headers if name.lower() == "content-type"]
    return bool(types) and types[0].lower().startswith("text/event-stream")


def _refusal(status: int, body: bytes, known: frozenset[str] | set[str]) -> Exception:
    error = _object(_object(_json(body)).get("error"))
    name = str(error.get("param") or "").split(".")[0]
    if status == 400 and error.get("code") in REFUSALS_OF_PARAMETERS and name in known:
        return _ParameterRefused(name)
    return Refusal(status, "upstream_refused", "The upstream refused the question.")


class _Reading:
    """The words in an answer's bytes, streamed or whole."""

    def __init__(self) -> None:
        self.is_stream = True
        self.has_words = False
        self.finish_reason = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._kept = ""

    def feed(self, data: bytes) -> str:
        self._kept += self._decode(data)
        if not self.is_stream:
            return ""
        *events, self._kept = self._kept.replace("\r\n", "\n").split("\n\n")
        return self._words(events)

    def rest(self) -> str:
        kept, self._kept = self._kept, ""
        return self._words([kept] if self.is_stream else ["data:" + kept.replace("\n", " ")])

    def _words(self, events: list[str]) -> str:
        words = ""
        for event in events:
            for choice in _object(_json(data_of(event.encode()))).get("choices") or ():
                said = _object(_object(choice).get("delta") or _object(choice).get("message")).get("content")
                words += said if isinstance(said, str) else ""
                self.finish_reason = str(_object(choice).get("finish_reason") or self.finish_reason)
        self.has_words = self.has_words or bool(words.strip())
        return words


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
