"""Templates are indented for those who read them; the pages are not: a third of their bytes would be blanks. Pure."""

from __future__ import annotations

import re

from jinja2.ext import Extension

INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)


class Unindented(Extension):
    """Works on a template's source, once, and never on what a page shows. Nothing of ours is preformatted."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return INDENTATION.sub("", source)
