"""
Which key a conversation used last, so that the upstream's prompt cache is met again. A wish, never a duty. Pure.

Rule 1: a conversation is known by a keyed hash of how it begins; its words are not kept, and the hash says nothing about
        them to whoever has not this process's salt.
Rule 2: after ten minutes without a request the wish ends. Source: developers.openai.com/docs/guides/prompt-caching: a
        cached prefix stays for 5 to 10 minutes of inactivity, and caches are not shared between organizations.
Rule 3: whether the key may serve, and is not too busy for it, is the pool's to say.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

WARM_SECONDS = 600.0
MOST_CONVERSATIONS = 10_000  # about 2 MB


class SoftAffinity:
    def __init__(self, salt: bytes, *, most: int = MOST_CONVERSATIONS) -> None:
        """`salt`: random bytes, at most 64, made anew by each process."""
        self._salt, self._most = salt, most
        self._last: OrderedDict[bytes, tuple[str, float]] = OrderedDict()  # longest unused first

    def soft_key(self, model: str, opening: str) -> bytes | None:
        """The hash by which the conversation is known; None for a request that belongs to none."""
        if not opening:
            return None
        text = f"{model}\0{opening}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16, key=self._salt).digest()

    def preferred(self, soft_key: bytes | None, now: float) -> str:
        """The fingerprint of the key that served it last, "" where none did lately. `now` is on a monotonic clock."""
        found = self._last.get(soft_key) if soft_key else None
        return found[0] if found and now - found[1] < WARM_SECONDS else ""

    def remember(self, soft_key: bytes | None, key: str, now: float) -> None:
        """The key of fingerprint `key` serves it now."""
        if not soft_key:
            return
        self._last[soft_key] = (key, now)
        self._last.move_to_end(soft_key)
        if len(self._last) > self._most:
            self._last.popitem(last=False)
