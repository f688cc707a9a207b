"""
The kinds of secret. Their errors are of the type "secret", which never shows what was given.

Rule 1: a caller's token is kept as its SHA-256 digest only.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from daemon.secret import Secret, SecretMissing, Sources, resolve


def sources_of(info: ValidationInfo) -> Sources:
    return info.context if isinstance(info.context, Sources) else Sources()


def wrong(words: str) -> PydanticCustomError:
    return PydanticCustomError("secret", "{words}", {"words": words})


@dataclass(frozen=True, slots=True)
class SecretKind:
    """A secret setting: what it is in `words`, and the `pattern` of its whole value. An optional one may be ""."""

    words: str
    pattern: str = r"(?s).+"
    is_optional: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.parse)

    def parse(self, given: object, info: ValidationInfo) -> Secret | None:
        return None if self.is_optional and given == "" else self.require(given, info)

    def require(self, given: object, info: ValidationInfo) -> Secret:
        try:
            secret = resolve(given, sources_of(info))
        except SecretMissing as missing:
            raise wrong(missing.wanted) from None
        if not re.fullmatch(self.pattern, secret.reveal()):
            raise wrong(self.words)
        return secret


class TokenKind(SecretKind):
    """A caller's token, given as its hash or as a secret; either way only the digest is kept."""

    def parse(self, given: object, info: ValidationInfo) -> Any:
        token = self.require(given, info).reveal()
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
