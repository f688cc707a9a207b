"""The log, set up by a test as a process of its own would set it up, and left to others as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from daemon.request_log import request_log


@contextmanager
def log_as_before() -> Iterator[None]:
    """All that `daemon.log.configure` sets is put back at the end."""
    kept, level = logging.root.handlers[:], logging.root.level
    try:
        yield
    finally:
        structlog.reset_defaults()
        request_log.configure(None, str)
        logging.root.handlers[:] = kept
        logging.root.setLevel(level)
