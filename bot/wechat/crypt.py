"""
WeChat's signature, and the AES envelope of its safe and compatible modes. Pure: random bytes are handed in.

Rule 1: everything secret is compared in constant time.
Rule 2: whatever is wrong with an envelope, opening it raises the same CannotOpen; check the signature first.
Source: developers.weixin.qq.com/doc/subscription/guide/dev/push/encryption.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher, modes

KEY_BYTES = 32
BLOCK_BYTES = 32  # WeChat pads to 32, not to the 16 of AES: an unpadder for AES fails on half of all messages
RANDOM_BYTES = 16
LENGTH_BYTES = 4


class CannotOpen(Exception):
    """Not sealed for us. `is_for_another_app`: the key fits and the app id does not, a hint for the operator alone."""

    def __init__(self, *, is_for_another_app: bool = False) -> None:
        super().__init__(is_for_another_app)
        self.is_for_another_app = is_for_another_app

    def __str__(self) -> str:
        return "sealed for another app id" if self.is_for_another_app else "not sealed with this key"


def signature_of(*parts: str) -> str:
    """WeChat's signature: SHA-1, in hex, over the parts sorted and put together. The token is one of them."""
    # SHA-1 is WeChat's choice. A lone surrogate, out of a mangled URL, must give a wrong signature and no error.
    joined = "".join(sorted(parts)).encode("utf-8", "surrogatepass")
    return hashlib.sha1(joined, usedforsecurity=False).hexdigest()


def signature_is_valid(claimed: str, token: str, *parts: str) -> bool:
    """Never with an empty token: everybody knows that one."""
    expected = signature_of(token, *parts)
    return bool(token) and hmac.compare_digest(expected.encode(), claimed.encode("utf-8", "surrogatepass"))


class Envelope:
    """
    Seals and opens messages with one EncodingAESKey, for one app id.

    Inside: 16 random bytes, the message's length (4 bytes, big-endian), the message, the app id, padding.
    """

    __slots__ = ("_app_id", "_cipher")

    def __init__(self, encoding_aes_key: str, app_id: str) -> None:
        """ValueError for a key that is none and for an empty app id."""
        # 43 characters carry 258 bits for 256: WeChat's own samples ignore the last two, and so does b64decode.
        key = base64.b64decode(encoding_aes_key + "=", validate=True)
        self._app_id = app_id.encode()
        if len(key) != KEY_BYTES:
            raise ValueError("an EncodingAESKey has 43 characters")
        if not app_id:
            raise ValueError("an envelope needs the app id")
        self._cipher = _cipher_of(key)

    def __repr__(self) -> str:
        return "<Envelope>"

    def open(self, encrypt: str) -> bytes:
        """The message in the text of an `Encrypt` field. Raises CannotOpen."""
        try:
            sealed = base64.b64decode(encrypt, validate=True)
        except ValueError:
            raise CannotOpen from None
        if not sealed or len(sealed) % BLOCK_BYTES:
            raise CannotOpen
        cipher = self._cipher.decryptor()
        padded = cipher.update(sealed) + cipher.finalize()
        padding = padded[-1:] * padded[-1]
        if not 1 <= len(padding) <= BLOCK_BYTES or not padded.endswith(padding):
            raise CannotOpen
        content = padded[RANDOM_BYTES : -len(padding)]
        length = int.from_bytes(content[:LENGTH_BYTES], "big")
        message, app_id = (
            content[LENGTH_BYTES : LENGTH_BYTES + length],
            content[LENGTH_BYTES + length :],
        )
        if len(content) < LENGTH_BYTES or len(message) != length:
            raise CannotOpen
        if not hmac.compare_digest(app_id, self._app_id):
            raise CannotOpen(is_for_another_app=True)
        return message

    def seal(self, message: bytes, random16: bytes) -> str:
        """The text of an `Encrypt` field. `random16`: 16 bytes nobody can guess, fresh for every message."""
        if len(random16) != RANDOM_BYTES:
            raise ValueError(f"expected {RANDOM_BYTES} random bytes, got {len(random16)}")
        content = random16 + len(message).to_bytes(LENGTH_BYTES, "big") + message + self._app_id
        missing = BLOCK_BYTES - len(content) % BLOCK_BYTES
        cipher = self._cipher.encryptor()
        return base64.b64encode(cipher.update(content + bytes([missing]) * missing) + cipher.finalize()).decode()


def _cipher_of(key: bytes) -> Cipher[modes.CBC]:
    # Imported as the first envelope is made, at the start: 7 MB, which without an account in safe mode nobody needs.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    # The key's own first half as the IV is WeChat's choice; the random bytes in front make up for it.
    return Cipher(algorithms.AES(key), modes.CBC(key[:16]))
