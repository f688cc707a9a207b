"""
A picture, and the mark that says a machine drew it. Pure.

Rule 1: what a picture is, its bytes say, never a header; and only a whole one is a picture.
Rule 2: marking adds to the metadata and leaves the image as it is. Content credentials (C2PA) of an upstream stay too, though
        their checksum, which covers the whole file, no longer holds.
Rule 3: a picture that already has such a mark keeps it as it is, whoever made it: nobody may take one out or alter it
        (《人工智能生成合成内容标识办法》 article 10), and marking twice does not pile up.

The mark is the implicit label (隐式标识) that the same rules ask for in a file's metadata since 2025-09-01 (article 5): that
the content is generated, the provider's name or code, and the content's number. Its form stands in GB 45438-2025, annex E: a
JSON object of seven strings; its place in a picture in TC260-PG-20259A: the XMP, property `AIGC` of a namespace of its own.

Certain, since independent implementations quote both texts alike: the seven names and their order, Label "1" for generated
content, the namespace, plain JSON as the property's value, the XMP's place in each kind of file, and that other properties
of the XMP are kept. Less so: that the first to write a label names itself as the propagator, too (annex E, note 1).

Our reading: the operator of the account is the provider (not the upstream, which no subscriber knows); ReservedCode1 and 2,
for a provider's own protection against changes, stay empty; and since annex E asks for printable ASCII, all else in a name
stands in JSON's escapes (\\u4f60), so that every JSON reader still gets the name.
"""

from __future__ import annotations

import base64
import json
import re
from html import escape

from bot.picture_parts import BadPicture, Kind, Part, kind_of, parts_of, with_xmp, xmp_in
from bot.value import value_type

__all__ = ["BadPicture", "Kind", "Picture", "marked", "picture_of"]

NAMESPACE = "http://www.tc260.org.cn/ns/AIGC/1.0/"
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
END_OF_PROPERTIES = b"</rdf:RDF>"
PADDING = re.compile(rb"\s{2,}")  # XMP leaves room to be changed in place
LONGEST_PACKET = 65_502  # bytes; what a JPEG has room for
MOST_PADDED = 4 * LONGEST_PACKET  # no writer leaves more room than that

# Parts that may hold a mark: text, Exif and XMP of a PNG, a JPEG, a WebP; application data and comments of a GIF.
METADATA = frozenset({b"tEXt", b"iTXt", b"eXIf", b"\xe1", b"\xfe", b"EXIF", b"XMP ", b"\xff"})


@value_type
class Picture:
    kind: Kind
    data: bytes

    def __repr__(self) -> str:
        return f"<Picture {self.kind} {len(self.data)} bytes>"

    @property
    def content_type(self) -> str:
        return f"image/{self.kind}"

    def data_url(self) -> str:
        return f"data:{self.content_type};base64,{base64.b64encode(self.data).decode()}"


def picture_of(data: bytes) -> Picture | None:
    """None for what is no picture of a kind that we know, or no whole one."""
    kind = kind_of(data)
    if kind is None:
        return None
    try:
        parts_of(kind, data)
    except BadPicture:
        return None
    return Picture(kind, data)


def marked(picture: Picture, *, producer: str, identity: str) -> Picture:
    """
    `picture` with the mark, unless it has one. Raises BadPicture.

    `producer` is the provider's name or code (编码, of the coding rules for providers), `identity` the number that the provider
    knows this picture by.
    """
    parts = parts_of(picture.kind, picture.data)
    if any(_has_mark(part) for part in parts):
        return picture
    mark = _property(producer, identity)
    packet = _with_property(xmp_in(picture.kind, parts) or PACKET, mark)
    if packet is None or len(packet) > LONGEST_PACKET:
        packet = PACKET.replace(END_OF_PROPERTIES, mark + END_OF_PROPERTIES)
    return Picture(picture.kind, with_xmp(picture.kind, parts, packet))


def _has_mark(part: Part) -> bool:
    """Wherever it stands: other writers put the same JSON into a PNG's text, or an Exif comment."""
    return part.name in METADATA and b"AIGC" in part.body and b"ContentProducer" in part.body


def _property(producer: str, identity: str) -> bytes:
    record = {
        "Label": "1",
        "ContentProducer": producer,
        "ProduceID": identity,
        "ReservedCode1": "",
        "ContentPropagator": producer,
        "PropagateID": identity,
        "ReservedCode2": "",
    }
    value = escape(json.dumps(record, separators=(",", ":")), quote=False)
    return (
        f'<rdf:Description rdf:about="" xmlns:TC260="{NAMESPACE}"><TC260:AIGC>{value}</TC260:AIGC></rdf:Description>'
    ).encode()


def _with_property(packet: bytes, mark: bytes) -> bytes | None:
    """None where `packet` is not written as XMP usually is, and cannot take up one property more."""
    if len(packet) > MOST_PADDED:
        return None
    before, end, after = packet.rpartition(END_OF_PROPERTIES)
    return before + mark + end + PADDING.sub(b"\n", after) if end else None
