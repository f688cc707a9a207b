"""
Asks a model for the bot: a list of messages in, pieces of text out, through the same pool as everybody else.

Rule 1: it streams, so that the first words are there early, and so that a cut answer shows.
Rule 2: a parameter that the model refuses is renamed or left out, as for any draft; the messages are never changed.
Rule 3: whatever goes wrong leaves as a Refusal, the same value that a caller of /v1 would have got.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from proxy.command import Begin, Call, Cut, End
from proxy.draft import Draft, Unsupported
from proxy.errand import Errand
from proxy.keypool import KeyPool
from proxy.reading import json_of
from proxy.refusal import Refusal
from proxy.sse import data_of
from proxy.target import Target
from proxy.upstream import Road, drive
from proxy.usage_book import UsageBook

CHAT = Target("/v1/chat/completions")
ALWAYS: Mapping[str, Any] = {"stream_options": {"include_usage": True}, "store": False}
MOST_BYTES = 16 << 20  # of an answer; streamed, a token takes about 250
EVENT_CHARACTERS = 1 << 18  # of one event that is not whole


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
    unsupported: Unsupported
    parameters: Mapping[str, Any]
    clock: Callable[[], float]
    jitter: Callable[[], float]
    new_id: Callable[[], str]
    queue_seconds: float = 0.0
    secrets: Sequence[str] = field(default=(), repr=False)

    async def ask(self, messages: Sequence[Mapping[str, str]], *, model: str) -> AsyncGenerator[str]:
        """The answer in pieces. Raises Refusal, TornAnswer, EmptyAnswer."""
        fields = {"model": model, "messages": list(messages), "stream": True, **ALWAYS, **self.parameters}
        draft = Draft(fields, self.unsupported)
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
            draft=draft,
        )
        errand = Errand(call, self.pool, clock=self.clock, jitter=self.jitter, secrets=self.secrets)
        reading = _Reading()
        with self.book.watching(errand, draft.body) as watch:
            async with aclosing(drive(errand, self.road, None)) as parts:
                async for part in parts:
                    match part:
                        case Refusal():
                            raise part
                        case Begin(status, is_whole=True) if status >= 400:
                            raise Refusal(status, "upstream_refused", "The upstream refused the question.")
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


def _is_stream(begin: Begin) -> bool:
    types = [value for name, value in begin.headers if name.lower() == "content-type"]
    return bool(types) and types[0].lower().startswith("text/event-stream")


class _Reading:
    """The words in an answer's bytes, streamed or whole."""

    def __init__(self) -> None:
        self.is_stream = True
        self.has_words = False
        self.finish_reason = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._kept = ""
        self._size = 0

    def feed(self, data: bytes) -> str:
        self._size += len(data)
        self._kept += self._decode(data)
        if self._size > MOST_BYTES:
            raise TornAnswer  # nobody can read so much, and nothing says that it would ever end
        if not self.is_stream:
            return ""
        *events, self._kept = self._kept.replace("\r\n", "\n").split("\n\n")
        if len(self._kept) > EVENT_CHARACTERS:
            raise TornAnswer
        return self._words(events)

    def rest(self) -> str:
        kept, self._kept = self._kept, ""
        return self._words([kept] if self.is_stream else ["data:" + kept.replace("\n", " ")])

    def _words(self, events: list[str]) -> str:
        words = ""
        for event in events:
            for choice in _object(json_of(data_of(event.encode()))).get("choices") or ():
                said = _object(_object(choice).get("delta") or _object(choice).get("message")).get("content")
                words += said if isinstance(said, str) else ""
                self.finish_reason = str(_object(choice).get("finish_reason") or self.finish_reason)
        self.has_words = self.has_words or bool(words.strip())
        return words


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
