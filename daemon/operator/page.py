"""
How a page leaves the house: the template environment, and the headers every page carries.

Rule 1: everything a template prints is escaped, and a name it does not know is an error, never an empty string.
Rule 2: a page loads nothing but our own `/static/`, and runs nothing that stands inside it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from aiohttp import web

from daemon.operator.assets import Assets
from daemon.operator.words import WORDS, Language, language

if TYPE_CHECKING:
    import jinja2

PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

TURN_SECONDS = 0.002  # of the event loop, at a stretch

_PAGE = re.compile(r"[1-9][0-9]{0,5}")


class Templates:
    """Every page's. Jinja, which is 2 MB, comes with the first page: most daemons show none for days."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets

    @cached_property
    def environment(self) -> jinja2.Environment:
        """The one there is. Templates name a static file as `{{ asset('status.css') }}`."""
        import jinja2

        from daemon.operator.unindented import Unindented

        made = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).resolve().parents[1] / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            extensions=[Unindented],
        )
        made.globals["asset"] = self._assets.url
        return made

    def get_template(self, name: str) -> jinja2.Template:
        return self.environment.get_template(name)


TEMPLATES = web.AppKey("templates", Templates)


def setup_templates(app: web.Application, assets: Assets) -> Templates:
    app[TEMPLATES] = templates = Templates(assets)
    return templates


def rendered(request: web.Request, template: str, context: Any, status: int = 200) -> web.Response:
    """`context` is a dataclass; the template sees its fields."""
    import aiohttp_jinja2

    response = aiohttp_jinja2.render_template(
        template,
        request,
        _values(context),
        app_key=TEMPLATES,  # type: ignore[arg-type] # of an environment it wants get_template alone
        status=status,
    )
    response.headers.update(PAGE_HEADERS)
    return response


async def laid_out(templates: Templates, template: str, context: Any) -> str:
    """The same without a request, for what all may see; a long page lets requests have their turn meanwhile."""
    pieces, now = [], asyncio.get_running_loop().time
    turn_ends_at = now() + TURN_SECONDS
    for piece in templates.get_template(template).generate(_values(context)):
        pieces.append(piece)
        if now() > turn_ends_at:
            await asyncio.sleep(0)
            turn_ends_at = now() + TURN_SECONDS
    return "".join(pieces)


def _values(context: Any) -> dict[str, Any]:
    return {field.name: getattr(context, field.name) for field in fields(context)}


def asked_language(request: web.Request) -> Language:
    return language(request.query.get("lang", ""), request.headers.get("Accept-Language", ""))


def asked_page(request: web.Request) -> int:
    """Which page of what waits, from 1. What is no number of a page is the first."""
    page = request.query.get("page", "")
    return int(page) if _PAGE.fullmatch(page) else 1


def same_view(request: web.Request) -> str:
    """The query that leads to the same view: its language and page, where they were asked for and known."""
    asked = {}
    if request.query.get("lang") in WORDS:
        asked["lang"] = request.query["lang"]
    if (page := asked_page(request)) > 1:
        asked["page"] = str(page)
    return f"?{urlencode(asked)}" if asked else ""
