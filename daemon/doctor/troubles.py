"""
What went wrong on the network, in a few words of ours.

Rule: an exception's own text goes no further: it names URLs, and those may carry a token.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Mapping

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ConnectionTimeoutError,
)

FAILED = (ClientError, OSError, TimeoutError)

# Source: openssl's x509_vfy.h.
OF_CERTIFICATE: Mapping[int, str] = {
    7: "its certificate's signature is wrong",
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "its certificate's chain ends in one that is not trusted here",
    20: "its certificate's chain is not whole, or ends in one that is not trusted here",
    21: "its certificate's chain is not whole",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}
OF_CONNECTION: Mapping[int, str] = {
    errno.ECONNREFUSED: "the connection is refused, so nothing listens there",
    errno.ECONNRESET: "the connection is reset",
    errno.EHOSTUNREACH: "no way leads there",
    errno.ENETUNREACH: "no way leads there from this machine",
    errno.EADDRNOTAVAIL: "the source address is none of this machine's",
    errno.EACCES: "not permitted",
    errno.ENOENT: "there is no such socket, so nothing listens there",
}
NUMBER = re.compile(r"\[Errno (\d+)\]")


def in_words(failure: BaseException) -> str:
    match failure:
        case ClientConnectorCertificateError():
            return in_words(failure.certificate_error)
        case ClientConnectorDNSError() | socket.gaierror():
            return "its name is not found"
        case ClientConnectorError():
            return in_words(failure.os_error)
        case ssl.SSLCertVerificationError():
            return OF_CERTIFICATE.get(failure.verify_code, "its certificate is refused")
        case ssl.SSLError():
            return "it does not speak TLS there, or none that is spoken here"
        case ConnectionTimeoutError():
            return "no connection in time"
        case TimeoutError():
            return "no answer in time"
        case OSError():
            return OF_CONNECTION.get(_number(failure), "no connection")
    return "the connection broke"


def _number(failure: OSError) -> int:
    """Of several addresses that failed, asyncio puts the errors into one text; the first stands for them."""
    found = NUMBER.search(str(failure))
    return failure.errno or (int(found[1]) if found else 0)
