"""
Who comes in to the operator's page: the sign-in form, its POST, one-time links, basic auth for programs, and the way out.

Rule 1: nothing about the daemon is told before sign-in.
Rule 2: the way leads to fixed URLs; of a request only a known language and the number of a page go into a redirect.
Rule 3: a wrong password costs a guess of its address, in the form and in a header alike; a session costs none.
Rule 4: who signs out takes every copy of the session along, also over a restart.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from urllib.parse import parse_qs

import structlog
from aiohttp import web

from daemon.operator.page import PAGE_HEADERS, asked_language, rendered, same_view
from daemon.operator.sign_in import SESSION_SECONDS, Guesses, Seal, SignedOut, Tickets
from daemon.operator.words import WORDS, Language, Words
from proxy.value import value_type

log = structlog.get_logger()

SESSION = "posthouse_session"
FORM = "posthouse_form"
FORM_BYTES = 4_096


@value_type
class SignInPage:
    """The whole context of `sign_in.html`. `problem` is a sentence, or "" where there is none."""

    language: Language
    other_language: Language
    words: Words
    problem: str
    form_token: str


class Gate:
    def __init__(
        self,
        seal: Seal,
        *,
        clock: Callable[[], float],
        is_https: Callable[[web.Request], bool],
        address: Callable[[web.Request], str],
        signed_out: SignedOut,
        on_sign_out: Callable[[], None],
    ) -> None:
        self._seal, self._clock, self._is_https, self._address = seal, clock, is_https, address
        self._signed_out, self._on_sign_out = signed_out, on_sign_out
        self._guesses, self._tickets = Guesses(), Tickets()

    def one_time_ticket(self) -> str:
        ticket = secrets.token_urlsafe(32)
        self._tickets.issue(ticket, self._clock())
        return f"/status/sign-in?ticket={ticket}"

    def is_open(self, request: web.Request) -> bool:
        session = request.cookies.get(SESSION, "")
        return self._seal.is_session(session, self._clock()) and session not in self._signed_out

    def to_sign_in(self, request: web.Request) -> web.Response:
        return redirect(request, "/status/sign-in")

    def form_token(self, request: web.Request) -> str:
        """For the forms of a page behind the gate; `is_ours` asks for it."""
        return self._seal.form_token(request.cookies.get(SESSION, ""))

    async def is_ours(self, request: web.Request) -> bool:
        """Whether the POST comes from a form of our page: another site can send the session, but not the form's token."""
        token = (await _fields(request)).get("form_token", "")
        return self._seal.is_form_token(token, request.cookies.get(SESSION, ""))

    async def form(self, request: web.Request) -> web.Response:
        """GET. A ticket is spent by this alone: the route takes no HEAD, which a chat's link preview would send."""
        ticket = request.query.get("ticket")
        if ticket is not None and self._tickets.redeem(ticket, self._clock()):
            log.info("operator.signed_in", by="ticket")
            return self._let_in(request)
        if self.is_open(request):
            return redirect(request, "/status")
        return self._ask(request, "" if ticket is None else _words(request).stale_ticket)

    async def sign_in(self, request: web.Request) -> web.Response:
        words, fields = _words(request), await _fields(request)
        if not self._seal.is_form_token(fields.get("form_token", ""), request.cookies.get(FORM, "")):
            return self._ask(request, words.stale_form, status=403)
        address, now = self._address(request), self._clock()
        if wait := self._guesses.wait_seconds(address, now):
            response = self._ask(request, words.try_later(wait), status=429)
            response.headers["Retry-After"] = str(wait)
            return response
        if not self._seal.is_password(fields.get("password", "")):
            self._was_wrong(address, now)
            return self._ask(request, words.wrong_password, status=403)
        log.info("operator.signed_in", by="password")
        return self._let_in(request)

    async def sign_out(self, request: web.Request) -> web.Response:
        if not await self.is_ours(request):
            return web.Response(status=403, text="this form has gone stale\n", headers=PAGE_HEADERS)
        if self.is_open(request):  # else it is no session, and a stranger could make us remember what they like
            self._signed_out.note(request.cookies[SESSION], self._clock())
            self._on_sign_out()
        response = redirect(request, "/status/sign-in")
        response.del_cookie(SESSION, path="/")
        return response

    def refusal(self, request: web.Request, *, takes_bearer: bool = False) -> web.Response | None:
        """For programs: None where the session or the password that the header gives is right, else the answer to give."""
        if self.is_open(request):
            return None
        address, now = self._address(request), self._clock()
        if wait := self._guesses.wait_seconds(address, now):
            return web.json_response(
                {"error": "too many wrong passwords"}, status=429, headers={**PAGE_HEADERS, "Retry-After": str(wait)}
            )
        given = _password(request.headers.get("Authorization", ""), takes_bearer=takes_bearer)
        if given is not None:
            if self._seal.is_password(given):
                return None
            self._was_wrong(address, now)
        challenge = {"WWW-Authenticate": 'Basic realm="posthouse", charset="UTF-8"'}
        return web.json_response({"error": "sign in first"}, status=401, headers={**PAGE_HEADERS, **challenge})

    def _was_wrong(self, address: str, now: float) -> None:
        self._guesses.was_wrong(address, now)
        log.warning("operator.sign_in_refused", address=address)

    def _let_in(self, request: web.Request) -> web.Response:
        response = redirect(request, "/status")
        session = self._seal.session(secrets.token_hex(16), self._clock())
        # The path is "/" because a cookie for /status is not sent to /status.json (RFC 6265 §5.1.4).
        self._set(request, response, SESSION, session, path="/", max_age=SESSION_SECONDS)
        return response

    def _ask(self, request: web.Request, problem: str, status: int = 200) -> web.Response:
        known = request.cookies.get(FORM, "")  # kept, or a second tab would spoil the form in the first
        mark = known or secrets.token_hex(16)
        spoken = asked_language(request)
        page = SignInPage(
            language=spoken,
            other_language="en" if spoken == "zh" else "zh",
            words=WORDS[spoken],
            problem=problem,
            form_token=self._seal.form_token(mark),
        )
        response = rendered(request, "sign_in.html", page, status)
        if not known:
            self._set(request, response, FORM, mark, path="/status/sign-in", max_age=None)
        return response

    def _set(
        self, request: web.Request, response: web.Response, name: str, value: str, *, path: str, max_age: int | None
    ) -> None:
        response.set_cookie(
            name, value, path=path, max_age=max_age, httponly=True, samesite="Lax", secure=self._is_https(request)
        )


def _words(request: web.Request) -> Words:
    return WORDS[asked_language(request)]


def _password(authorization: str, *, takes_bearer: bool) -> str | None:
    """The password of basic auth, whatever the name before it; None where there is none. UTF-8, as our challenge asks."""
    scheme, _, credentials = authorization.partition(" ")
    if takes_bearer and scheme.lower() == "bearer":
        return credentials.strip() or None
    if scheme.lower() != "basic":
        return None
    try:
        _, colon, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:
        return None
    return password if colon else None


def redirect(request: web.Request, path: str) -> web.Response:
    return web.Response(status=303, headers={**PAGE_HEADERS, "Location": path + same_view(request)})


async def _fields(request: web.Request) -> dict[str, str]:
    """The form's fields. Small and of known size before a byte is read: the gateway's limit for bodies is far too wide."""
    if request.content_length is None or request.content_length > FORM_BYTES:
        raise web.HTTPRequestEntityTooLarge(FORM_BYTES, request.content_length or 0)
    text = (await request.read()).decode("utf-8", "replace")
    try:
        return {name: values[0] for name, values in parse_qs(text, max_num_fields=8).items()}
    except ValueError:  # more fields than any form of ours has
        return {}
