"""
Asks a model for the bot: a conversation in, pieces of text out, by whichever of the three APIs is set.

Rule 1: it streams, so that the first words are there early, and so that a cut answer shows; where the upstream does not
        stream, the answer comes in one piece.
Rule 2: an error within an answer that has begun tears it; before the first word it is a Refusal where the question is to blame.
"""

from __future__ import annotations

import codecs
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from proxy.command import Begin
from proxy.dialect import TARGETS, Api, Message, question, said
from proxy.draft import Draft
from proxy.reading import json_of
from proxy.sender import EmptyAnswer, Sender, TornAnswer, failure, header
from proxy.sse import data_of

__all__ = ["Chat", "EmptyAnswer", "TornAnswer"]

MOST_BYTES = 16 << 20  # of an answer; streamed, a token takes about 250
EVENT_CHARACTERS = 1 << 20  # of one event that is not whole; the last of a response tells all of its text again


@dataclass(slots=True)
class Chat:
    """`parameters` go with every question where they are set: temperature, max_tokens."""

    sender: Sender
    parameters: Mapping[str, Any]
    api: Api = "chat"

    async def ask(self, messages: Sequence[Message], *, model: str) -> AsyncGenerator[str]:
        """The answer in pieces; `messages` as in `dialect`. Raises Refusal, TornAnswer, EmptyAnswer."""
        api = self.api  # one question is asked and read by one API, whatever the next will be asked by
        fields = question(api, messages, model=model, parameters=self.parameters)
        draft = Draft(fields, self.sender.unsupported)
        reading = Reading(api)
        async with aclosing(self.sender.send(TARGETS[api], draft, accept="text/event-stream")) as parts:
            async for part in parts:
                if isinstance(part, Begin):
                    reading.is_stream = header(part, "content-type").startswith("text/event-stream")
                    part = part.data
                if words := reading.feed(part):
                    yield words
        if words := reading.rest():
            yield words
        if not reading.has_words:
            raise EmptyAnswer(reading.finish_reason)


class Reading:
    """The words in an answer's bytes, streamed or whole. Raises TornAnswer, Refusal where an error stands among them."""

    def __init__(self, api: Api = "chat") -> None:
        self.is_stream = True
        self.has_words = False
        self.finish_reason = ""
        self._api: Api = api
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode
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
        return self._words(map(_data_of, events))

    def rest(self) -> str:
        kept, self._kept = self._kept, ""
        return self._words([_data_of(kept) if self.is_stream else kept])

    def _words(self, told: Iterable[str]) -> str:
        words = ""
        for data in told:
            if '"error"' in data and (fault := failure(data.encode())):
                raise TornAnswer if self.has_words or words else fault
            part = said(self._api, json_of(data))
            words += part.words
            self.finish_reason = part.finish_reason or self.finish_reason
        self.has_words = self.has_words or bool(words.strip())
        return words


def _data_of(event: str) -> str:
    return data_of(event.encode()).decode()
