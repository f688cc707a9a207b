"""
The files under `/static/`: read once at start, known by name, never looked up on the disk for a visitor.

Rule 1: a name that was not read is 404, so no path a visitor writes ever reaches the file system.
Rule 2: a page names a file with its digest, and such a URL may be kept for ever; without it, the browser must ask again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from proxy.value import value_type

TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_DAEMON = Path(__file__).resolve().parents[1]


@value_type
class Asset:
    content: bytes
    content_type: str
    digest: str


class Assets:
    def __init__(self, files: Mapping[str, Asset]) -> None:
        self._files = files

    def url(self, name: str) -> str:
        """For templates. A name that does not exist is a KeyError: a page never links to nothing."""
        return f"/static/{name}?v={self._files[name].digest}"

    async def get(self, request: web.Request) -> web.Response:
        asset = self._files.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound(text="not found\n")
        headers = {
            "Content-Type": asset.content_type,
            "ETag": f'"{asset.digest}"',
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'",  # an SVG opened by itself runs nothing
        }
        if request.query.get("v") == asset.digest:
            headers["Cache-Control"] = "public, max-age=31536000, immutable"
        if any(each.value in (asset.digest, "*") for each in request.if_none_match or ()):
            del headers["Content-Type"]
            return web.Response(status=304, headers=headers)
        return web.Response(body=asset.content, headers=headers)


def read_assets() -> Assets:
    """A wheel has the files inside the package; a checkout has them beside it."""
    packaged = _DAEMON / "static"
    folder = packaged if packaged.is_dir() else _DAEMON.parent / "static"
    found = (path for path in sorted(folder.iterdir()) if path.suffix in TYPES)
    return Assets({path.name: _asset(path) for path in found})


def _asset(path: Path) -> Asset:
    content = path.read_bytes()
    return Asset(content, TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:12])
