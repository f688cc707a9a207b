"""
The files of pictures as the parts they are made of, and where each kind of file keeps its XMP. Pure.

Rule 1: the parts joined again are the file, byte for byte: who changes one part leaves the picture itself as it was.
Rule 2: only what is whole has parts: what ends too early, has no picture in it, or breaks its own order is a BadPicture.
Rule 3: the time is linear in the file, and its pieces are counted: no file is cut finer than MOST_STEPS.

Sources: PNG, w3.org/TR/png-3; JPEG, ITU-T T.81 annex B; WebP, RFC 9649; GIF, w3.org/Graphics/GIF/spec-gif89a.txt; where XMP
stands in each, Adobe's XMP specification, part 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal
from zlib import crc32

from bot.value import value_type

Kind = Literal["png", "jpeg", "gif", "webp"]

MOST_STEPS = 120_000  # a GIF of 10 MiB takes 80,000; one made of nothing but steps holds the event loop up for 0.2 s
MOST_FILL = 16  # bytes of 0xFF before a JPEG's marker; the standard sets no limit, and nobody writes any
LONGEST_SEGMENT = 65_533  # bytes in a JPEG's segment after its length
WITH_XMP, WITH_ALPHA = 0x04, 0x10  # flags of a WebP's VP8X
SIZED = {b"VP8 ": 10, b"VP8L": 5, b"VP8X": 10}  # a WebP's chunks that tell its size, within so many bytes

SOI, EOI, SOS, APP0, APP1 = (bytes([code]) for code in (0xD8, 0xD9, 0xDA, 0xE0, 0xE1))
FRAMES = frozenset(bytes([code]) for code in range(0xC0, 0xD0)) - {b"\xc4", b"\xc8", b"\xcc"}
NO_SEGMENTS = frozenset(bytes([code]) for code in (0x00, 0x01, *range(0xD0, 0xDA), 0xFF))


class BadPicture(Exception):
    """`wrong` says what, without a byte of the picture."""

    def __init__(self, wrong: str) -> None:
        super().__init__(wrong)
        self.wrong = wrong

    def __str__(self) -> str:
        return f"not a whole picture: {self.wrong}"


@value_type
class Part:
    """`raw` is how it stands in the file, `body` what it holds where that is of use. The first and the last frame the rest."""

    name: bytes
    raw: bytes
    body: bytes = b""

    def __repr__(self) -> str:
        return f"<Part {self.name!r} {len(self.raw)} bytes>"


@value_type
class Form:
    """How a kind of file falls into parts and is joined again, and which part holds XMP, between `opening` and `closing`."""

    read: Callable[[_Reader], list[Part]]
    part: Callable[[bytes, bytes], Part]
    place: Callable[[list[Part]], int]
    join: Callable[[list[Part]], bytes]
    name: bytes
    opening: bytes
    closing: bytes = b""


def kind_of(data: bytes) -> Kind | None:
    """By the first bytes alone."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    return "webp" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else None


def parts_of(kind: Kind, data: bytes) -> list[Part]:
    """Raises BadPicture."""
    _demand(kind_of(data) == kind, "it does not begin as its kind does")
    return FORMS[kind].read(_Reader(data))


def xmp_in(kind: Kind, parts: list[Part]) -> bytes | None:
    """The packet of the first part that holds one. A compressed one (of a PNG) is not looked into."""
    form = FORMS[kind]
    found = _holder(form, parts)
    return None if found is None else parts[found].body[len(form.opening) : -len(form.closing) or None]


def with_xmp(kind: Kind, parts: list[Part], packet: bytes) -> bytes:
    """The file with `packet` in place of the one it has, or where its kind of file keeps one. Raises BadPicture."""
    form = FORMS[kind]
    part = form.part(form.name, form.opening + packet + form.closing)
    found = _holder(form, parts)
    at, until = (form.place(parts),) * 2 if found is None else (found, found + 1)
    return form.join([*parts[:at], part, *parts[until:]])


def _holder(form: Form, parts: list[Part]) -> int | None:
    holds = (at for at, part in enumerate(parts) if part.name == form.name and part.body.startswith(form.opening))
    return next(holds, None)


def _demand(claim: bool, wrong: str) -> None:
    if not claim:
        raise BadPicture(wrong)


class _Reader:
    """Goes through a file from its beginning to its end, once."""

    def __init__(self, data: bytes) -> None:
        self.size = len(data)
        self._data = data
        self._at = 0
        self._steps = 0

    def take(self, size: int) -> bytes:
        begun = self._at
        self._at += size
        self._steps += 1
        if self._at > self.size:  # no `_demand` here: nothing else is called as often
            raise BadPicture("it ends too early")
        if self._steps > MOST_STEPS:
            raise BadPicture("it is cut into too many pieces")
        return self._data[begun : self._at]

    def rest(self) -> bytes:
        return self.take(self.left)

    @property
    def left(self) -> int:
        return self.size - self._at


def _joined(parts: list[Part]) -> bytes:
    return b"".join(part.raw for part in parts)


def _read_png(file: _Reader) -> list[Part]:
    parts = [Part(b"", file.take(8))]
    while parts[-1].name != b"IEND":
        size, name = file.take(4), file.take(4)
        body, check = file.take(int.from_bytes(size)), file.take(4)
        # A reader may pass over a chunk with a small first letter, and so do damages in it.
        _demand(not name[:1].isupper() or crc32(name + body) == int.from_bytes(check), "a checksum is wrong")
        parts.append(Part(name, size + name + body + check, body))
    _demand(parts[1].name == b"IHDR" and len(parts[1].body) == 13, "it does not say its size first")
    _demand(any(part.name == b"IDAT" for part in parts), "there is no image in it")
    return [*parts, Part(b"", file.rest())]


def _png_chunk(name: bytes, body: bytes) -> Part:
    return Part(name, len(body).to_bytes(4) + name + body + crc32(name + body).to_bytes(4), body)


def _read_jpeg(file: _Reader) -> list[Part]:
    parts = [Part(SOI, file.take(2))]
    while parts[-1].name != SOS:
        lead, marker = file.take(1), file.take(1)
        _demand(lead == b"\xff", "a marker is missing")
        while marker == b"\xff" and len(lead) < MOST_FILL:
            lead, marker = lead + marker, file.take(1)
        _demand(marker not in NO_SEGMENTS, "it ends before its image")
        size = file.take(2)
        _demand(int.from_bytes(size) >= 2, "a segment is shorter than its own length")
        body = file.take(int.from_bytes(size) - 2)
        parts.append(Part(marker, lead + marker + size + body, body))
    _demand(any(part.name in FRAMES for part in parts), "there is no image in it")
    scans = file.rest()
    _demand(b"\xff" + EOI in scans, "it ends too early")
    return [*parts, Part(b"", scans)]


def _jpeg_segment(name: bytes, body: bytes) -> Part:
    _demand(len(body) <= LONGEST_SEGMENT, "it has no room for what is to be written into it")
    return Part(name, b"\xff" + name + (len(body) + 2).to_bytes(2) + body, body)


def _after_jfif_and_exif(parts: list[Part]) -> int:
    """Each of the two wants to stand first."""
    at = 1
    while parts[at].name == APP0 or (parts[at].name == APP1 and parts[at].body.startswith(b"Exif\0")):
        at += 1
    return at


def _read_webp(file: _Reader) -> list[Part]:
    parts = [Part(b"RIFF", file.take(12))]
    left = int.from_bytes(parts[0].raw[4:8], "little") - 4
    while left > 0:
        name, size = file.take(4), file.take(4)
        body = file.take(int.from_bytes(size, "little"))
        even = file.take(min(len(body) % 2, file.left))  # some writers leave this byte out at the end
        parts.append(Part(name, name + size + body + even, body))
        left -= 8 + len(body) + len(body) % 2
    _demand(left in (0, -1), "its parts are longer than the whole")
    _demand(any(part.name in (b"VP8 ", b"VP8L", b"ANMF") for part in parts), "there is no image in it")
    _demand(len(parts[1].body) >= SIZED.get(parts[1].name, file.size), "it does not say its size first")
    return [*parts, Part(b"", file.rest())]


def _webp_chunk(name: bytes, body: bytes) -> Part:
    return Part(name, name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2), body)


def _join_webp(parts: list[Part]) -> bytes:
    """With the head and the length that a file with XMP has; a simple file gets that head."""
    first, is_simple = parts[1], parts[1].name != b"VP8X"
    head = _webp_head(first) if is_simple else first.body
    chunks = [_webp_chunk(part.name, part.body) for part in parts[1 if is_simple else 2 : -1]]
    chunks.insert(0, _webp_chunk(b"VP8X", bytes([head[0] | WITH_XMP]) + head[1:]))
    length = 4 + sum(len(chunk.raw) for chunk in chunks)
    return b"RIFF" + length.to_bytes(4, "little") + b"WEBP" + _joined([*chunks, parts[-1]])


def _webp_head(image: Part) -> bytes:
    if image.name == b"VP8 ":
        _demand(image.body[3:6] == b"\x9d\x01\x2a", "it does not say its size")
        width, height = (int.from_bytes(image.body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        _demand(width > 0 and height > 0, "it has no size")
        return bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    _demand(image.body[:1] == b"\x2f", "it does not say its size")
    bits = int.from_bytes(image.body[1:5], "little")
    sides = ((bits & 0x3FFF).to_bytes(3, "little"), (bits >> 14 & 0x3FFF).to_bytes(3, "little"))
    return bytes([WITH_ALPHA * (bits >> 28 & 1), 0, 0, 0]) + b"".join(sides)


def _read_gif(file: _Reader) -> list[Part]:
    head = file.take(13)
    parts = [Part(b"GIF", head + file.take(_colours(head[10])))]
    while (name := file.take(1)) != b";":
        if name == b"!":
            label, blocks = file.take(1), _blocks(file)
            parts.append(Part(label, name + label + blocks, blocks))
        else:
            _demand(name == b",", "there is something else where a part begins")
            place = file.take(9)
            parts.append(Part(name, name + place + file.take(_colours(place[8]) + 1) + _blocks(file)))
    _demand(any(part.name == b"," for part in parts), "there is no image in it")
    return [*parts, Part(b"", name + file.rest())]


def _colours(flags: int) -> int:
    """The length of the table of colours that `flags` announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _blocks(file: _Reader) -> bytes:
    pieces = []
    while (size := file.take(1)) != b"\0":
        pieces += [size, file.take(size[0])]
    return b"".join([*pieces, size])


def _gif_extension(name: bytes, body: bytes) -> Part:
    return Part(name, b"!" + name + body, body)


def _before_images(parts: list[Part]) -> int:
    """After what players look for at the beginning, such as how often to repeat."""
    return next(at for at, part in enumerate(parts) if part.name in (b",", b"\xf9"))


def _join_gif(parts: list[Part]) -> bytes:
    return b"GIF89a" + _joined(parts)[6:]  # the older version knows no extensions


FORMS: Mapping[Kind, Form] = {
    "png": Form(_read_png, _png_chunk, lambda parts: 2, _joined, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0"),
    "jpeg": Form(_read_jpeg, _jpeg_segment, _after_jfif_and_exif, _joined, APP1, b"http://ns.adobe.com/xap/1.0/\0"),
    "webp": Form(_read_webp, _webp_chunk, lambda parts: len(parts) - 1, _join_webp, b"XMP ", b""),
    # The packet is not cut into blocks, but a reader who takes it for blocks lands in the closing, and from there at its end.
    "gif": Form(
        *(_read_gif, _gif_extension, _before_images, _join_gif, b"\xff", b"\x0bXMP DataXMP"),
        closing=bytes([1, *range(255, -1, -1), 0]),
    ),
}
