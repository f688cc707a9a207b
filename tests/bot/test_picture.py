"""A picture is what its bytes say; its mark is added once, and nothing else of it changes."""

from __future__ import annotations

import base64
import json
import xml.etree.ElementTree as ET
import zlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bot.picture import BadPicture, Kind, Picture, marked, picture_of
from bot.picture_parts import MOST_STEPS, Part, parts_of, xmp_in

NAMESPACES = {"rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#", "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/"}


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4)


def png(*more: bytes, after: bytes = b"") -> bytes:
    """One black pixel; `more` stands before the image."""
    head = chunk(b"IHDR", bytes([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(more)
        + chunk(b"IDAT", zlib.compress(b"\0\0"))
        + chunk(b"IEND", b"")
        + after
    )


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
EXIF = segment(0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0")
FRAME = segment(0xC0, b"\x08\0\1\0\1\1\1\x11\0")
SCANS = b"\xff\xda\0\x08\1\1\0\0?\0" + b"\x12\xff\0\x34\xff\xd0\x56\xff\xd9"


def jpeg(*more: bytes, scans: bytes = SCANS) -> bytes:
    return b"\xff\xd8" + b"".join(more) + segment(0xDB, bytes(65)) + FRAME + scans


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(n + len(b).to_bytes(4, "little") + b + b"\0" * (len(b) % 2) for n, b in chunks)
    return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body


LOSSY = base64.b64decode("UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAwA0JaQAA3AA/vuUAAA=")
LOSSLESS = base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
EXTENDED = riff((b"VP8X", bytes([0x08, *bytes(9)])), (b"VP8 ", LOSSY[20:]), (b"EXIF", b"odd"))

GIF_HEAD = b"\1\0\1\0\x80\0\0" + bytes(6)
GIF_IMAGE = b"\x2c\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
REPEAT = b"\x21\xff\x0bNETSCAPE2.0\3\1\0\0\0"
GIF = b"GIF89a" + GIF_HEAD + REPEAT + b"\x21\xf9\4\1\0\0\0\0" + GIF_IMAGE + b"\x3b"
OLD_GIF = b"GIF87a" + GIF_HEAD + GIF_IMAGE + b"\x3b"

WHOLE: list[tuple[Kind, bytes]] = [
    ("png", png()),
    ("png", png(chunk(b"gAMA", b"damaged").replace(b"d", b"\0"), after=b"trailing")),
    ("jpeg", jpeg(JFIF)),
    ("jpeg", jpeg(JFIF, EXIF, segment(0xFE, b"a comment"))),
    ("jpeg", jpeg(b"\xff\xff\xff" + EXIF[1:])),
    ("webp", LOSSY),
    ("webp", LOSSLESS),
    ("webp", EXTENDED),
    ("webp", EXTENDED[:-1]),
    ("gif", GIF),
    ("gif", OLD_GIF),
]
every_kind = pytest.mark.parametrize(("kind", "data"), WHOLE, ids=[f"{kind}{at}" for at, (kind, _) in enumerate(WHOLE)])


def mark_of(picture: Picture) -> dict[str, str]:
    """The record as a reader of XML and JSON gets it."""
    packet = xmp_in(picture.kind, parts_of(picture.kind, picture.data))
    assert packet is not None
    [found] = ET.fromstring(packet).findall("rdf:RDF/rdf:Description/TC260:AIGC", NAMESPACES)
    return dict(json.loads(found.text or ""))


def told(parts: list[Part]) -> list[tuple[bytes, bytes]]:
    """What parts hold, but for the XMP and what announces it."""
    return [(part.name, part.body or part.raw) for part in parts if part.name not in (b"XMP ", b"VP8X", b"RIFF")]


@every_kind
def test_a_picture_is_known_by_its_bytes(kind: Kind, data: bytes) -> None:
    assert picture_of(data) == Picture(kind, data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xd9",
        b"RIFF\x04\0\0\0WEBP",
        b"RIFF\x04\0\0\0WAVE",
        b"GIF89a" + GIF_HEAD + b"\x3b",
        png()[:8] + png()[33:],
        png().replace(chunk(b"IDAT", zlib.compress(b"\0\0")), b""),
        png().replace(b"IDAT", b"IDAU"),
        png(chunk(b"PLTE", b"abc").replace(b"abc", b"abd")),
        jpeg(scans=b""),
        jpeg(scans=SCANS[:-2]),
        jpeg(b"\xff\xd9"),
        jpeg(b"\xff\xe0\0\1"),
        jpeg().replace(FRAME, b""),
        jpeg(b"\xff" * 100 + JFIF[1:]),
        riff((b"VP8X", bytes(10))),
        riff((b"EXIF", b""), (b"VP8 ", LOSSY[20:])),
        riff((b"VP8L", b"/")),
        LOSSY[:4] + b"\x0f" + LOSSY[5:],
        GIF[:-1],
        b"GIF89a" + GIF_HEAD + b"\0" + GIF_IMAGE + b"\x3b",
    ],
)
def test_what_is_no_whole_picture_is_none(data: bytes) -> None:
    assert picture_of(data) is None


@every_kind
def test_no_part_of_a_picture_is_a_picture_unless_it_has_all_of_the_image(kind: Kind, data: bytes) -> None:
    whole = len(data) - len(b"trailing" if data.endswith(b"trailing") else b"") - (kind == "webp")
    assert [length for length in range(whole) if picture_of(data[:length])] == []


@given(st.sampled_from(WHOLE), st.data())
def test_no_bytes_make_it_stumble(sample: tuple[Kind, bytes], draw: st.DataObject) -> None:
    data = bytearray(sample[1])
    for at in draw.draw(st.lists(st.integers(0, len(data) - 1), max_size=8)):
        data[at] = draw.draw(st.integers(0, 255))
    if (picture := picture_of(bytes(data))) is not None:
        try:
            assert picture_of(marked(picture, producer="p", identity="1").data) is not None
        except BadPicture:
            assert picture.kind == "webp", "which tells its size inside the image, where it is needed and may be wrong"


@every_kind
def test_the_mark_says_who_made_it_and_which_it_is(kind: Kind, data: bytes) -> None:
    record = mark_of(marked(Picture(kind, data), producer="posthouse", identity="img-7"))
    assert list(record.items()) == [
        ("Label", "1"),
        ("ContentProducer", "posthouse"),
        ("ProduceID", "img-7"),
        ("ReservedCode1", ""),
        ("ContentPropagator", "posthouse"),
        ("PropagateID", "img-7"),
        ("ReservedCode2", ""),
    ]


@every_kind
@given(producer=st.text(max_size=30), identity=st.text(max_size=30))
def test_a_name_of_any_letters_comes_back(kind: Kind, data: bytes, producer: str, identity: str) -> None:
    picture = marked(Picture(kind, data), producer=producer, identity=identity)
    record = mark_of(picture)
    assert (record["ContentProducer"], record["ProduceID"]) == (producer, identity)
    assert picture_of(picture.data) == picture


@every_kind
def test_all_else_stays_as_it_is_and_where_it_is(kind: Kind, data: bytes) -> None:
    before = told(parts_of(kind, data))
    after = told(parts_of(kind, marked(Picture(kind, data), producer="p", identity="1").data))
    if kind == "gif":
        before[0] = (before[0][0], before[0][1].replace(b"GIF87a", b"GIF89a"))
    rest = iter(after)
    assert all(part in rest for part in before), "in the same order"
    assert len(after) - len(before) == (kind != "webp")


@every_kind
def test_a_marked_picture_is_not_marked_again(kind: Kind, data: bytes) -> None:
    once = marked(Picture(kind, data), producer="first", identity="1")
    assert marked(once, producer="second", identity="2") is once


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("png", png(chunk(b"tEXt", b'AIGC\0{"Label":"1","ContentProducer":"001191"}'))),
        ("jpeg", jpeg(segment(0xE1, b'Exif\0\0...{"AIGC":{"Label":"1","ContentProducer":"001191"}}'))),
    ],
)
def test_the_mark_of_another_is_not_touched(kind: Kind, data: bytes) -> None:
    assert marked(Picture(kind, data), producer="p", identity="1").data == data


def test_words_like_those_of_a_mark_inside_the_image_are_none() -> None:
    image = chunk(b"IDAT", b"AIGC ContentProducer")
    assert mark_of(marked(Picture("png", png(image)), producer="p", identity="1"))


CHUNKS = st.tuples(st.sampled_from([b"tEXt", b"iTXt", b"tIME", b"prVt", b"caBX", b"IDAT"]), st.binary(max_size=40))


@given(st.lists(CHUNKS, max_size=8), st.binary(max_size=9))
def test_marking_any_png_adds_one_chunk_before_its_image(more: list[tuple[bytes, bytes]], after: bytes) -> None:
    data = png(*(chunk(*one) for one in more), after=after)
    assume(xmp_in("png", parts_of("png", data)) is None)
    picture = marked(Picture("png", data), producer="p", identity="1")
    added = parts_of("png", picture.data)[2].raw
    assert picture.data.replace(added, b"", 1) == data
    assert picture.data.index(added) < picture.data.index(b"IDAT")


def test_a_jpeg_begins_as_its_readers_expect() -> None:
    parts = parts_of("jpeg", marked(Picture("jpeg", jpeg(JFIF, EXIF)), producer="p", identity="1").data)
    assert [part.name[0] for part in parts[:4]] == [0xD8, 0xE0, 0xE1, 0xE1]
    assert [part.body[:4] for part in parts[1:4]] == [b"JFIF", b"Exif", b"http"]


def test_an_animation_still_says_first_how_often_it_repeats() -> None:
    assert marked(Picture("gif", GIF), producer="p", identity="1").data[13 + 6 :].startswith(REPEAT)


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (LOSSY, bytes([0x04, *bytes(9)])),
        (LOSSLESS, bytes([0x14, *bytes(9)])),
        (EXTENDED, bytes([0x0C, *bytes(9)])),
        (riff((b"VP8L", b"\x2f" + (299 | 199 << 14).to_bytes(4, "little"))), bytes([4, 0, 0, 0, 43, 1, 0, 199, 0, 0])),
    ],
)
def test_a_webp_announces_its_size_its_transparency_and_the_xmp(data: bytes, head: bytes) -> None:
    picture = marked(Picture("webp", data), producer="p", identity="1")
    parts = parts_of("webp", picture.data)
    assert (parts[1].name, parts[1].body) == (b"VP8X", head)
    assert [part.name for part in parts][-2:] == [b"XMP ", b""]
    assert int.from_bytes(picture.data[4:8], "little") == len(picture.data) - 8


FOREIGN = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:source>画</dc:source></rdf:Description>'
    f"</rdf:RDF></x:xmpmeta>{' ' * 2000}"
).encode()


def with_foreign(packet: bytes) -> list[tuple[Kind, bytes]]:
    closing = bytes([1, *range(255, -1, -1), 0])
    return [
        ("png", png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))),
        ("jpeg", jpeg(JFIF, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet))),
        ("webp", riff((b"VP8X", bytes([4, *bytes(9)])), (b"VP8 ", LOSSY[20:]), (b"XMP ", packet))),
        ("gif", b"GIF89a" + GIF_HEAD + b"\x21\xff\x0bXMP DataXMP" + packet + closing + GIF_IMAGE + b"\x3b"),
    ]


@pytest.mark.parametrize(("kind", "data"), with_foreign(FOREIGN))
def test_other_properties_of_a_picture_stay_beside_the_mark(kind: Kind, data: bytes) -> None:
    picture = marked(Picture(kind, data), producer="p", identity="1")
    assert mark_of(picture)["ProduceID"] == "1"
    assert "<dc:source>画</dc:source>".encode() in picture.data
    assert len(parts_of(kind, picture.data)) == len(parts_of(kind, data)), "in the packet that was there"


@pytest.mark.parametrize("packet", [b"", b"no XML", FOREIGN.decode().encode("utf-16"), b"x" * 65_300 + b"</rdf:RDF>"])
def test_a_packet_that_cannot_take_up_the_mark_gives_way_to_it(packet: bytes) -> None:
    for kind, data in with_foreign(packet)[:3]:
        assert mark_of(marked(Picture(kind, data), producer="p", identity="1"))["Label"] == "1"


def test_a_packet_larger_than_any_writer_makes_is_not_searched() -> None:
    packet = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + FOREIGN + b" " * 300_000)
    picture = marked(Picture("png", png(packet)), producer="p", identity="1")
    assert mark_of(picture)["Label"] == "1"
    assert b"dc:source" not in picture.data


@pytest.mark.parametrize(
    ("kind", "data"), [("png", png()[:-1]), ("png", GIF), ("jpeg", b""), ("gif", GIF[:20]), ("webp", LOSSY[:-4])]
)
def test_a_broken_picture_is_not_marked(kind: Kind, data: bytes) -> None:
    with pytest.raises(BadPicture, match="not a whole picture: "):
        marked(Picture(kind, data), producer="p", identity="1")


def test_a_name_too_long_for_a_jpeg_is_refused() -> None:
    with pytest.raises(BadPicture, match="no room"):
        marked(Picture("jpeg", jpeg(JFIF)), producer="p" * 40_000, identity="1")


def test_a_picture_cut_into_too_many_pieces_is_none() -> None:
    assert picture_of(b"GIF89a" + GIF_HEAD + b"\x21\xfe" + b"\1x" * MOST_STEPS + b"\0" + GIF_IMAGE + b"\x3b") is None


def test_a_large_picture_of_ordinary_pieces_is_one() -> None:
    image = GIF_IMAGE[:-1] + (b"\xff" + bytes(255)) * 40_000 + b"\0"
    assert picture_of(b"GIF89a" + GIF_HEAD + image + b"\x3b") is not None


def test_a_picture_shows_itself_only_where_it_is_asked_to() -> None:
    picture = Picture("jpeg", b"secret")
    assert repr(picture) == "<Picture jpeg 6 bytes>"
    assert "secret" not in repr(Part(b"IDAT", b"secret"))
    assert picture.content_type == "image/jpeg"
    assert picture.data_url() == "data:image/jpeg;base64,c2VjcmV0"
