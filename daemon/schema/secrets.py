"""
The kinds of secret. Their errors never show what was given.

Rule 1: a caller's token is kept as its SHA-256 digest only.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from daemon.schema.kinds import Kind, Unexpected
from daemon.secret import Secret, SecretMissing, Sources, resolve


class SecretKind(Kind):
    """A secret setting: what it is in `words`, and the `pattern` of its whole value. An optional one may be ""."""

    is_secret = True

    def __init__(self, words: str, pattern: str = r"(?s).+", *, is_optional: bool = False) -> None:
        super().__init__(words)
        self._pattern, self._is_optional = pattern, is_optional

    def parse(self, given: object, sources: Sources) -> object:
        return None if self._is_optional and given == "" else self.require(given, sources)

    def require(self, given: object, sources: Sources) -> Secret:
        try:
            secret = resolve(given, sources)
        except SecretMissing as missing:
            raise Unexpected(missing.wanted) from None
        if not re.fullmatch(self._pattern, secret.reveal()):
            raise ValueError
        return secret


class TokenKind(SecretKind):
    """A caller's token, given as its hash or as a secret; either way only the digest is kept."""

    def parse(self, given: object, sources: Sources) -> bytes:
        token = self.require(given, sources).reveal()
        if token.startswith("sha256:"):
            return bytes.fromhex(token.removeprefix("sha256:"))
        return hashlib.sha256(token.encode()).digest()


ApiKey = Annotated[Secret, SecretKind("an API key without spaces or line breaks", r"[!-~]+")]
Password = Annotated[Secret | None, SecretKind("a password", is_optional=True)]
WeChatToken = Annotated[Secret, SecretKind("a WeChat Token of 3 to 32 letters and digits", r"[A-Za-z0-9]{3,32}")]
AesKey = Annotated[
    Secret | None, SecretKind("an EncodingAESKey of 43 letters and digits", r"[A-Za-z0-9]{43}", is_optional=True)
]
AppSecret = Annotated[
    Secret | None, SecretKind("an AppSecret of letters and digits", r"[A-Za-z0-9]+", is_optional=True)
]
PathSecret = Annotated[
    Secret | None,
    SecretKind("a secret of letters, digits, hyphens and underscores", r"[A-Za-z0-9_-]+", is_optional=True),
]
TokenDigest = Annotated[
    bytes,
    TokenKind(
        '"sha256:" and 64 hexadecimal digits, as posthouse token NAME makes it, or a token of 8 or more characters',
        r"sha256:[0-9a-fA-F]{64}|(?!sha256:)[!-~]{8,}",
    ),
]
