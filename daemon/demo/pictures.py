"""
Pictures that the scripted upstream draws: a true PNG of the size that was asked for, another one for every prompt. Pure.

Source of the format: www.w3.org/TR/png. With one bit a pixel, a picture of any usual size has a few hundred bytes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zlib

CELLS = 8  # across and down
MOST_PIXELS = 4096  # to a side; the largest that are sold have 3840
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")
_PATH = re.compile(r"/pictures/([0-9a-z]+)/([0-9a-f]{64})\.png")


def png(prompt: str, size: str) -> bytes:
    """`size` as in "1024x1024"; another one is taken for that."""
    return _drawn(_seed(prompt), size)


def base64_of(prompt: str, size: str) -> str:
    return base64.b64encode(png(prompt, size)).decode()


def path_of(prompt: str, size: str) -> str:
    """Where the picture can be fetched: everything about it is in its path."""
    return f"/pictures/{size}/{_seed(prompt).hex()}.png"


def at(path: str) -> bytes | None:
    """The picture of a path that `path_of` gave."""
    found = _PATH.fullmatch(path)
    return _drawn(bytes.fromhex(found[2]), found[1]) if found else None


def size_in_bytes(url: str) -> int:
    """Of the picture in a data URL; 0 for any other."""
    data = url.partition(";base64,")[2]
    try:
        return len(base64.b64decode(data, validate=True))
    except ValueError:
        return 0


def _seed(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode("utf-8", "replace")).digest()


def _drawn(seed: bytes, size: str) -> bytes:
    width, height = _pixels(size)
    bands = [b"\0" + _row(f"{byte:0{CELLS}b}", width) for byte in seed[:CELLS]]  # 0: no filter
    rows = b"".join(bands[y * CELLS // height] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)  # one bit a pixel, into a palette of two
    parts = {b"IHDR": head, b"PLTE": seed[CELLS : CELLS + 6], b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts.items())


def _pixels(size: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(size)
    width, height = (int(found[1]), int(found[2])) if found else (1024, 1024)
    return (width, height) if 0 < width <= MOST_PIXELS and 0 < height <= MOST_PIXELS else (1024, 1024)


def _row(cells: str, width: int) -> bytes:
    bits = "".join(cells[x * CELLS // width] for x in range(width))
    packed = -(-width // 8)
    return int(bits.ljust(packed * 8, "0"), 2).to_bytes(packed, "big")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
