"""
What a scripted upstream does with one request: a step is a value, played as a series of acts. Pure.

Rule 1: a step decides from its `Call` alone; acts say what goes over the wire and when; `upstream` only performs them.
Rule 2: steps that spoil an answer (cut, slow, compressed) take the step that they spoil as `then`.
Rule 3: steps that refuse stand in `refusals`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from daemon.demo.dialects import Asked, Dialect, document, error, event, quoting, speech
from daemon.demo.talk import Talk

FOREVER = 86_400.0  # seconds; longer than anybody waits, and still a number that every event loop takes

JSON: Mapping[str, str] = {"content-type": "application/json"}
SSE: Mapping[str, str] = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Head:
    """`length` is the Content-Length; None is a chunked body."""

    status: int
    headers: Mapping[str, str]
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    data: bytes
    is_piece: bool = False  # carries some of the answer's text


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


@dataclass(frozen=True, slots=True)
class Leave:
    """The connection goes away under the body: by TCP reset, else by a plain close."""

    by_reset: bool


Act = Head | Chunk | Pause | Leave | Talk  # a body is ended properly after the last act, unless that was to leave


@dataclass(frozen=True, slots=True)
class Call:
    """
    One request as a step sees it. `asked` is None where no model is asked; an answer's body is then `other`, as it is.

    `bucket` takes one token of this key's bucket of so many a minute, and returns the seconds until it has one again, 0.0
    where it had one.
    """

    secret: str
    organization: str
    asked: Asked | None
    bucket: Callable[[float], float]
    other: bytes = b"{}"
    other_headers: Mapping[str, str] = field(default_factory=lambda: JSON)

    @property
    def model(self) -> str:
        return self.asked.model if self.asked else ""


class Step(Protocol):
    def play(self, call: Call) -> Iterator[Act]: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. `pieces` is into how many the text is cut for a stream."""

    text: str | Callable[[Asked], str] = quoting
    think_seconds: float | Callable[[Asked], float] = 0.0  # before the head
    pieces: int = 4
    chunk_seconds: float | Callable[[Asked], float] = 0.0  # after each piece but the last

    def play(self, call: Call) -> Iterator[Act]:
        if call.asked is None:
            yield Head(200, call.other_headers, len(call.other))
            yield Chunk(call.other)
            return
        text = self.text if isinstance(self.text, str) else self.text(call.asked)
        think = self.think_seconds(call.asked) if callable(self.think_seconds) else self.think_seconds
        yield Pause(think)
        if not call.asked.streams:
            body = json.dumps(document(call.asked, text), ensure_ascii=False).encode()
            yield Head(200, JSON, len(body))
            yield Chunk(body, is_piece=True)
            return
        pause = self.chunk_seconds(call.asked) if callable(self.chunk_seconds) else self.chunk_seconds
        said = speech(call.asked, _cut(text, self.pieces))
        yield Head(200, SSE)
        yield from (Chunk(data) for data in said.opening)
        for number, data in enumerate(said.pieces):
            if number:
                yield Pause(pause)
            yield Chunk(data, is_piece=True)
        yield from (Chunk(data) for data in said.closing)


@dataclass(frozen=True, slots=True)
class AsUrl:
    """A picture comes as a URL, whatever was asked for."""

    then: Step = field(default_factory=Answer)

    def play(self, call: Call) -> Iterator[Act]:
        return self.then.play(replace(call, asked=call.asked and replace(call.asked, form="url")))


@dataclass(frozen=True, slots=True)
class Raw:
    """Exactly this answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def play(self, call: Call) -> Iterator[Act]:
        yield Head(self.status, self.headers, len(self.body))
        yield Chunk(self.body)


@dataclass(frozen=True, slots=True)
class Events:
    """A stream of exactly these events, each of them a piece."""

    events: Sequence[bytes]

    def play(self, call: Call) -> Iterator[Act]:
        yield Head(200, SSE)
        yield from (Chunk(data, is_piece=True) for data in self.events)


@dataclass(frozen=True, slots=True)
class Hang:
    """The request is accepted and never answered."""

    def play(self, call: Call) -> Iterator[Act]:
        yield Pause(FOREVER)


@dataclass(frozen=True, slots=True)
class Reset:
    """
    A TCP reset: once the request has been read, after the answer's head, or after its first chunk.

    A reset before a byte of the request was read cannot know the key: `ScriptedUpstream.resets` counts those.
    """

    after: Literal["request", "head", "chunk"] = "request"
    then: Step = field(default_factory=Answer)

    def play(self, call: Call) -> Iterator[Act]:
        if self.after != "request":
            last = Head if self.after == "head" else Chunk
            for act in self.then.play(call):
                yield act
                if isinstance(act, last):
                    break
        yield Leave(by_reset=True)


@dataclass(frozen=True, slots=True)
class CutStream:
    """
    The stream stops after so many pieces: "clean" ends the chunked body properly, without finish_reason and `[DONE]`;
    "inside_event" does so in the middle of the next event; "close" and "reset" let the connection go under it.

    An answer that is not streamed stops in its middle.
    """

    after_pieces: int = 1
    how: Literal["clean", "inside_event", "close", "reset"] = "clean"
    then: Step = field(default_factory=Answer)

    def play(self, call: Call) -> Iterator[Act]:
        seen, streams = 0, False
        for act in self.then.play(call):
            if isinstance(act, Head):
                streams = act.headers is SSE
                act = replace(act, length=None) if self.how in ("clean", "inside_event") else act
            if isinstance(act, Chunk):
                if seen == self.after_pieces or not streams:
                    if self.how == "inside_event" or not streams:
                        yield Chunk(act.data[: len(act.data) // 2])
                    break
                seen += act.is_piece
            yield act
        if self.how in ("close", "reset"):
            yield Leave(by_reset=self.how == "reset")


class Refusal(Step, Protocol):
    """A step with an error of its own (see `refusals`)."""

    def error(self, call: Call) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class ErrorInStream:
    """A 200 whose stream has an error as its first event or after so many pieces, and then ends, without `[DONE]`."""

    after_pieces: int = 0
    refusal: Refusal | None = None  # whose error it is; a server error where there is none
    then: Step = field(default_factory=Answer)

    def play(self, call: Call) -> Iterator[Act]:
        seen = 0
        for act in self.then.play(call):
            if isinstance(act, Chunk) and seen == self.after_pieces:
                break
            yield act
            seen += isinstance(act, Chunk) and act.is_piece
        yield Chunk(self._event(call))

    def _event(self, call: Call) -> bytes:
        body = self.refusal.error(call) if self.refusal else error(SERVER_ERROR, kind="server_error")
        if call.asked is not None and call.asked.dialect is Dialect.RESPONSE:
            inner = body["error"]
            assert isinstance(inner, dict)  # noqa: S101 (every refusal's error has this shape)
            named = {"type": "error", "code": inner["code"], "message": inner["message"], "param": inner["param"]}
            return event({**named, "sequence_number": self.after_pieces}, "error")
        return event(body)


SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"


@dataclass(frozen=True, slots=True)
class Comments:
    """A stream that opens with comment lines, each followed by a pause, as DeepSeek's does while a request is queued."""

    n: int = 3
    seconds: float = 0.0
    text: str = "keep-alive"
    then: Step = field(default_factory=Answer)

    def play(self, call: Call) -> Iterator[Act]:
        yield Head(200, SSE)
        for _ in range(self.n):
            yield Chunk(f": {self.text}\n\n".encode())
            yield Pause(self.seconds)
        yield from (act for act in self.then.play(call) if not isinstance(act, Head))


@dataclass(frozen=True, slots=True)
class EncodedGzip:
    """A body that comes compressed although nobody asked for it; every chunk can be decoded when it arrives."""

    then: Step = field(default_factory=Answer)

    def play(self, call: Call) -> Iterator[Act]:
        packer = zlib.compressobj(wbits=31)  # 31: with gzip's header and trailer
        for act in self.then.play(call):
            match act:
                case Head():
                    yield Head(act.status, {**act.headers, "content-encoding": "gzip"})
                case Chunk():
                    data = packer.compress(act.data) + packer.flush(zlib.Z_SYNC_FLUSH)
                    yield Chunk(data, act.is_piece)
                case _:
                    yield act
        yield Chunk(packer.flush())


@dataclass(frozen=True, slots=True)
class LyingLength:
    """A Content-Length of so many bytes more than come, and then a plain close."""

    by: int = 100
    then: Step = field(default_factory=Answer)

    def play(self, call: Call) -> Iterator[Act]:
        acts = list(self.then.play(call))
        total = sum(len(act.data) for act in acts if isinstance(act, Chunk))
        yield from (replace(act, length=total + self.by) if isinstance(act, Head) else act for act in acts)
        yield Leave(by_reset=False)


def _cut(text: str, pieces: int) -> list[str]:
    size = max(1, -(-len(text) // pieces))
    return [text[i : i + size] for i in range(0, len(text), size)] or [""]
