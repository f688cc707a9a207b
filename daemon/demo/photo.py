"""
The photo that a visitor of the demo sends: the sun over the dunes, as a PNG. Pure.

Source of the format: www.w3.org/TR/png.
"""

from __future__ import annotations

import struct
import zlib
from math import hypot, sin

WIDTH, HEIGHT = 360, 240
SKY = [(250 - row // 6, 190 + row // 4, 120 + row // 2) for row in range(160)]  # from the top down
SUN = (255, 244, 214)
DUNES = ((216, 152, 92), (184, 112, 66), (138, 78, 50))  # the farthest first


def _dunes(x: int) -> tuple[float, float, float]:
    """The crest of each, in rows from the top."""
    return (
        128 + 14 * sin(x / 47) + 5 * sin(x / 19),
        158 + 20 * sin(x / 71 + 2),
        204 + 17 * sin(x / 53 + 4),
    )


def _colour(x: int, y: int, crests: tuple[float, float, float]) -> tuple[int, int, int]:
    for crest, colour in reversed(list(zip(crests, DUNES, strict=True))):
        if y >= crest:
            return colour
    return SUN if hypot(x - 250, y - 84) < 30 else SKY[y]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png() -> bytes:
    crests = [_dunes(x) for x in range(WIDTH)]
    rows = (b"\0" + bytes(c for x in range(WIDTH) for c in _colour(x, y, crests[x])) for y in range(HEIGHT))
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)  # eight bits a colour, red, green and blue
    parts = {b"IHDR": head, b"IDAT": zlib.compress(b"".join(rows)), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts.items())
