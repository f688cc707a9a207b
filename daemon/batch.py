"""Lines of the log that wait for the end of the event loop's turn, to be written together."""

from __future__ import annotations

import asyncio
from typing import TextIO


class Batch:
    """A text stream, as far as structlog needs one, before which finished lines may wait for the end of the loop's turn."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._waiting = stream, list[str]()

    def later(self, line: str) -> None:
        self._waiting.append(line)
        if len(self._waiting) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:  # nobody's turn would end
                self.flush()

    def write(self, text: str) -> int:
        self._waiting.append(text)
        return len(text)

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._stream.write("".join(waiting))
        self._stream.flush()
