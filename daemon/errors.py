"""
What a caller is told when a request fails in a way no handler foresaw.

Rule 1: an unforeseen exception is one log event with its type and place. Its text stays out: it may hold a user's words.
Rule 2: under /v1, and where a client forgot it, every error is OpenAI's envelope; elsewhere it is one short line.
Rule 3: after the first byte of an answer nothing is added to it: the connection breaks, so that the caller notices.
"""

from __future__ import annotations

import secrets
import traceback
from pathlib import Path

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

log = structlog.get_logger()

ROOT = Path(__file__).parent.parent
ROOMS = frozenset({"proxy", "bot", "daemon"})
# Where a client asks whose base URL lacks its /v1, the commonest mistake there is.
WITHOUT_V1 = frozenset({"/chat/completions", "/completions", "/responses", "/models", "/embeddings"})
CODES = {400: "invalid_request", 413: "request_too_large"}  # the public contract has no code for the others


class BodyStalled(TimeoutError):
    """The caller stopped sending in the middle of a request's body."""

    def __str__(self) -> str:
        return "the request's body stopped coming"


@web.middleware
async def error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Belongs first in the application's list, so that it stands around all others."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        if refusal.status == 404 and request.path in WITHOUT_V1:
            return answer(request, 404, "No such path. The base URL of this gateway ends in /v1.")
        if refusal.status < 400 or not _speaks_openai(request) or refusal.content_type == "application/json":
            raise
        return answer(request, refusal.status, refusal.reason)
    # One of the three places that catch everything: whatever breaks in a handler must not take the process with it.
    except Exception as error:  # noqa: BLE001 - told by one log event, without the text
        return answer_to(error, request)


def answer_to(error: BaseException, request: web.BaseRequest) -> web.Response:
    """The answer to an exception that left a handler. Raises it again where no answer can be given any more."""
    is_known = isinstance(error, (BodyStalled, web.RequestPayloadError))
    has_left = isinstance(error, ConnectionError) and _is_gone(request)
    request_id = "" if is_known or has_left else crashed(error)
    if not can_answer(request):
        raise error
    if isinstance(error, BodyStalled):
        return answer(request, 408, str(error))
    if is_known:
        return answer(request, 400, "the request's body is malformed")
    return answer(request, 500, "internal error", request_id)


def crashed(error: BaseException) -> str:
    """One event for it; the id that it has in the log."""
    request_id = secrets.token_hex(8)
    log.error("request.crashed", request=request_id, error=type(error).__name__, where=where(error))
    return request_id


def can_answer(request: web.BaseRequest) -> bool:
    """Whether no byte of an answer was written, and somebody is there to read one."""
    return request.writer.output_size == 0 and not _is_gone(request)


def answer(request: web.BaseRequest, status: int, message: str, request_id: str = "") -> web.Response:
    """A whole error answer; the connection closes after it, since the request's body may not have been read."""
    if _speaks_openai(request):
        kind = "invalid_request_error" if status < 500 else "server_error"
        error = {"message": message, "type": kind, "param": None, "code": CODES.get(status)}
        response = web.json_response({"error": error}, status=status)
        response.headers["x-posthouse-request"] = request_id or secrets.token_hex(8)
    else:
        response = web.Response(status=status, text=f"{status}: {message}\n")
    response.force_close()
    return response


def where(error: BaseException) -> str:
    """The innermost frame of our own code that `error` came through, as "proxy/forward.py:120"; empty if there is none."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and (own := path.relative_to(ROOT)).parts[0] in ROOMS:
            place = f"{own.as_posix()}:{line}"
    return place


def _speaks_openai(request: web.BaseRequest) -> bool:
    return request.path.startswith("/v1/") or request.path in WITHOUT_V1


def _is_gone(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()
