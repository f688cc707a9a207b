"""
Headers as they pass, in both directions, and what is blacked out of error bodies. Pure.

Rule 1: which names pass is `header_names`' to say; those that Connection names do not, either way. Up, the answer is asked for
        unencoded.
Rule 2: what passes, passes as it came, to the byte.
Rule 3: a name is looked at once: what it means is remembered, of MOST_NAMES at most, since strangers invent names.
Rule 4: error bodies lose organization and project ids, key fragments, and every secret of the pool.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from proxy.header_names import REQUEST_ID, passes_down, passes_up
from proxy.key import Key

__all__ = ["REQUEST_ID", "TOKEN", "VALUE", "Fields", "Pairs"]
__all__ += ["authorization", "passable_down", "passable_up", "redacted", "use_of"]

Pairs = Sequence[tuple[str, str]]

MOST_NAMES = 1_024  # the whole field has a few hundred
LONGEST_NAME = 64  # of those that are remembered
# What somebody here reads of a success. Of other answers all is read.
_SAID = frozenset(
    {
        *("connection", "content-encoding", "content-length", "content-type", "openai-organization"),
        *("transfer-encoding", "x-ratelimit-limit-tokens"),
    }
)
# A name's use: whether it passes down, and itself in small letters where somebody reads it.
_Use = tuple[bool, str]
_PLAIN: _Use = (True, "")
_DROPPED: _Use = (False, "")
_NO_NAME: _Use = (False, "?")
_uses: dict[bytes, _Use] = {}

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # a name's characters; RFC 9110, 5.6.2
_NAME = re.compile(TOKEN)
VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"
_SOUND = re.compile(rb"(?:\r\n" + TOKEN + rb": ?" + VALUE + rb")*")

# An ordinary word that looks like an id ("org-anic") is hidden too: rather that than an id shown. In JSON the n of a "\n" may
# stand right before one.
_FRAGMENTS = re.compile(
    rb"(?:\b|(?<=\\[bfnrt]))(?:(org|proj)[-_][A-Za-z0-9]{3,}|sk-[A-Za-z0-9_\-]*(?:\*{2,}|\.{3})[A-Za-z0-9_\-*]*)"
)


class Fields(Sequence[tuple[str, str]]):
    """Pairs of name and value, in their order, kept as the lines they came in."""

    __slots__ = ("_block", "_has_names", "_lines", "_pairs", "_passing", "_said")

    def __init__(self, lines: Sequence[bytes], said: dict[str, list[bytes]] | None = None) -> None:
        """`lines` without their ends. `said`: what the head that they are of says of _SAID, where that is known."""
        self._lines: Sequence[bytes] | None = lines
        self._said = said
        self._passing: Fields | None = None
        self._pairs: list[tuple[str, str]] | None = None
        self._block: bytes | None = None
        self._has_names = True

    @classmethod
    def sound(cls, block: bytes, said: dict[str, list[bytes]], passing: bytes | None = None) -> Fields:
        """What `block()` would give of lines that are known to be sound; `passing`: the same of those that go on."""
        fields = cls((), said)
        fields._block, fields._lines = block, None
        if passing is not None:
            fields._passing = cls.sound(passing, said)
        return fields

    @classmethod
    def of(cls, pairs: Pairs) -> Fields:
        """What a caller sent stays as it came, also where it is no text. Raises ValueError where a name would end early."""
        if isinstance(pairs, Fields):
            return pairs
        if any(":" in name for name, _ in pairs):
            raise ValueError("a name that is none")
        return cls([f"{name}: {value}".encode("utf-8", "surrogateescape") for name, value in pairs])

    @property
    def lines(self) -> Sequence[bytes]:
        """Without their ends."""
        if self._lines is None:
            self._lines = (self._block or b"").split(b"\r\n")[1:]
        return self._lines

    def said(self) -> dict[str, list[bytes]]:
        """What is said of _SAID: every value of each name, without the white space around it."""
        return self._sort()[1] if self._said is None else self._said

    def have_names(self) -> bool:
        """Whether every line begins with a name and a colon, as RFC 9110, 5.1 has it."""
        self.said()
        return self._has_names

    def get(self, name: str, default: str = "") -> str:
        """The first value of a name, which is in small letters."""
        if name in _SAID:
            values = self.said().get(name)
            return values[0].decode("latin-1") if values else default
        return next((value for found, value in self if found.lower() == name), default)

    def is_event_stream(self) -> bool:
        """Whether what follows is one that can be read on its way."""
        kind, coding = self.get("content-type"), self.get("content-encoding", "identity")
        return kind.lower().startswith("text/event-stream") and coding.lower() == "identity"

    def by_name(self) -> dict[str, str]:
        """The first value of each name, in small letters."""
        return {name.lower(): value for name, value in reversed(self)}

    def without(self, *names: str) -> Fields:
        """`names` are in small letters."""
        return Fields([line for line in self.lines if _name_of(line) not in names])

    def passing(self) -> Fields:
        """Those that go on to the caller."""
        passing = self._sort()[0] if self._passing is None else self._passing
        named = self.named_by_connection()
        return passing.without(*named) if named else passing

    def named_by_connection(self) -> set[str]:
        """The headers that are for whoever is at the other end of this very connection, beside those that always are."""
        values = [value for value in self.said().get("connection", ()) if value.lower() != b"keep-alive"]
        return {token.strip().lower().decode("latin-1") for value in values for token in value.split(b",")}

    def block(self) -> bytes:
        """Each line behind a line end. Raises ValueError where one would not be read as it was meant."""
        if self._block is None:
            block = b"".join([b"\r\n" + line for line in self.lines])
            if block.count(b"\n") != len(self.lines) or not _SOUND.fullmatch(block):
                raise ValueError("a header that is none")
            self._block = block
        return self._block

    def _sort(self) -> tuple[Fields, dict[str, list[bytes]]]:
        """One look at every line, on the way of every answer whose shape is not known: what passes, and what is said."""
        passing, said, known = list[bytes](), dict[str, list[bytes]](), _uses
        for line in self.lines:
            name, colon, value = line.partition(b":")
            use = (known.get(name) or use_of(name)) if colon else _NO_NAME
            if use == _PLAIN:
                passing.append(line)
            elif use == _NO_NAME:
                self._has_names = False
            elif use != _DROPPED:
                passes, plain = use
                if passes:
                    passing.append(line)
                said.setdefault(plain, []).append(value.strip(b" \t"))
        self._passing, self._said = Fields(passing, said), said
        return self._passing, said

    def _all(self) -> list[tuple[str, str]]:
        if self._pairs is None:
            self._pairs = [_pair(line) for line in self.lines]
        return self._pairs

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, str]]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, str] | list[tuple[str, str]]:
        return self._all()[index]

    def __eq__(self, other: object) -> bool:
        return self._all() == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Fields {len(self.lines)}>"  # values may be secrets


def passable_up(headers: Iterable[tuple[str, str]]) -> Fields:
    """What of a caller's headers goes upstream. Credentials are `authorization()`'s."""
    pairs = list(headers)
    named = Fields.of(pairs).named_by_connection()
    kept = [pair for pair in pairs if passes_up(plain := pair[0].lower()) and plain not in named]
    return Fields.of([*kept, ("Accept-Encoding", "identity")])


def passable_down(headers: Pairs, *, is_stream: bool = False) -> Fields:
    """What of an upstream's headers goes to the caller."""
    passing = Fields.of(headers).passing()
    if is_stream:  # a proxy in front must not collect a stream; nginx listens to the first, CDNs to the second
        # Without a length: a stream that was cut ends with an event of ours.
        kept = passing.without("x-accel-buffering", "cache-control", "content-length").lines
        return Fields([*kept, b"X-Accel-Buffering: no", b"Cache-Control: no-cache"])
    return passing


def authorization(key: Key) -> Pairs:
    """The headers by which a key shows itself to its upstream."""
    pairs = [("api-key", key.secret)] if key.upstream.auth == "api-key" else [("Authorization", f"Bearer {key.secret}")]
    if key.organization:
        pairs.append(("OpenAI-Organization", key.organization))
    if key.project:
        pairs.append(("OpenAI-Project", key.project))
    return pairs


def redacted(body: bytes, secrets: Sequence[str]) -> bytes:
    """An error body without what it tells about keys and their owners."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may begin with another
        if secret and (plain := secret.encode()) in body:
            body = body.replace(plain, b"[key]")
    return _FRAGMENTS.sub(lambda found: (found[1] or b"sk") + b"-[hidden]", body)


def use_of(name: bytes) -> _Use:
    """Whether lines of this name go on to the caller, and itself in small letters where somebody here reads it."""
    if not _NAME.fullmatch(name):
        return _NO_NAME
    plain = name.lower().decode("latin-1")
    is_said, passes = plain in _SAID, passes_down(plain)
    use = (passes, plain) if is_said else _PLAIN if passes else _DROPPED
    if len(name) <= LONGEST_NAME:
        if len(_uses) >= MOST_NAMES:
            _uses.clear()
        _uses[name] = use
    return use


def _name_of(line: bytes) -> str:
    return line[: line.find(b":")].lower().decode("latin-1").replace("_", "-")


def _pair(line: bytes) -> tuple[str, str]:
    name, _, value = line.partition(b":")
    value = value.strip(b" \t")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return name.decode("latin-1"), text
