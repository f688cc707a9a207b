"""
An answer's plain text. Pure.

Rule 1: how is in `markdown`, which is imported at the first answer: compiling its patterns is a twentieth of a start.
"""

from __future__ import annotations


def plain(text: str) -> str:
    """`text` without Markdown's marks, and without the thoughts before it. What has neither comes back as it is."""
    from bot.wechat import markdown

    return markdown.plain(text)
