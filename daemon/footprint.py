"""
What the process weighs, and what is done about it beside not importing what nobody needs.

Rule 1: the collector's settings are made here and nowhere else.
"""

from __future__ import annotations

import gc
import ssl
import sys

COMPANIONS = ("rich", "greenlet")
YOUNG_MIDDLE_OLD = (10_000, 20, 50)  # the collector's thresholds


def import_structlog() -> None:
    """
    Alone, for all who import it after. It takes rich along wherever that is installed: 4 MB, and 60 ms of a start, for
    tracebacks in colour that we never have it write; and greenlet, for programs made of its threads. A command that prints
    tables finds rich as ever.
    """
    hidden = [name for name in COMPANIONS if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment] # Python's own word for "there is no such module"
    try:
        import structlog  # noqa: F401
    finally:
        for name in hidden:
            del sys.modules[name]


def import_aiohttp() -> None:
    """
    As it is imported, it makes two contexts for TLS and reads all authorities of the system into each: 50 ms of a start. We use
    neither, since `daemon.session` has its own; should anybody, they would trust no server at all.
    """
    ssl.SSLContext.set_default_verify_paths = _read_nothing  # type: ignore[method-assign, assignment]
    try:
        import aiohttp  # noqa: F401
    finally:
        del ssl.SSLContext.set_default_verify_paths  # what it inherits is there again


def _read_nothing(_: ssl.SSLContext) -> None:
    pass


def rush() -> None:
    """
    Until it serves, the process collects nothing: nearly all that an import makes stays, and the collector would go through it
    a dozen times, for a twentieth of a start. What is garbage of it, a megabyte, stays too.
    """
    gc.disable()


def settle() -> None:
    """
    When everything is open: the 80,000 objects that stand now stay to the end, and the collector looks at them no more. A full
    collection, in which every stream would stand still, took 13 ms with them and takes none without.

    It looks at the young less often than Python has it: a push makes many objects that are gone by themselves within
    moments, and each look in between finds them alive. With 10,000 for 700 a push takes a quarter less time
    (`bench/pushes`); requests, starts and memory do not feel it.
    """
    gc.freeze()
    gc.set_threshold(*YOUNG_MIDDLE_OLD)
    gc.enable()
