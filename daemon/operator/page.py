"""
How a page leaves the house: the template environment, and the headers every page carries.

Rule 1: everything a template prints is escaped, and a name it does not know is an error, never an empty string.
Rule 2: a page loads nothing but our own `/static/`, and runs nothing that stands inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web

from daemon.operator.assets import Assets
from daemon.operator.words import Language, language

PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def setup_templates(app: web.Application, assets: Assets) -> jinja2.Environment:
    """The one environment of every page. Templates name a static file as `{{ asset('status.css') }}`."""
    env = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(Path(__file__).resolve().parents[1] / "templates"),
        default_helpers=False,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.globals["asset"] = assets.url
    return env


def rendered(request: web.Request, template: str, context: Any, status: int = 200) -> web.Response:
    """`context` is a dataclass; the template sees its fields."""
    values = {field.name: getattr(context, field.name) for field in fields(context)}
    response = aiohttp_jinja2.render_template(template, request, values, status=status)
    response.headers.update(PAGE_HEADERS)
    return response


def asked_language(request: web.Request) -> Language:
    return language(request.query.get("lang", ""), request.headers.get("Accept-Language", ""))
