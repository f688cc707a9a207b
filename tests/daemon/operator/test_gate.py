from __future__ import annotations

import base64
import contextlib
import re
import sqlite3
from pathlib import Path

import pytest
from aiohttp import ClientSession, DummyCookieJar
from structlog.testing import capture_logs

from daemon import app, config
from daemon.operator.gate import FORM, SESSION
from daemon.operator.sign_in import GUESS_SECONDS, SESSION_SECONDS, TICKET_SECONDS, Seal
from daemon.secret import Sources
from tests.daemon.operator.house import PASSWORD, Visit, Visitor


async def test_the_password_opens_the_page_and_sign_out_closes_it(visit: Visit) -> None:
    visitor = await visit()
    signed_in = await visitor.sign_in()
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/status")
    assert (await visitor.get("/status")).status == 200
    token = await visitor.form_token("/status")
    signed_out = await visitor.post("/status/sign-out", data={"form_token": token})
    assert (signed_out.status, signed_out.headers["Location"]) == (303, "/status/sign-in")
    assert (await visitor.get("/status")).status == 303


async def test_a_stranger_is_sent_to_the_sign_in_and_learns_nothing(visit: Visit) -> None:
    visitor = await visit()
    sent = await visitor.get("/status?lang=zh&next=//evil.example")
    assert (sent.status, sent.headers["Location"]) == (303, "/status/sign-in?lang=zh")
    assert await sent.read() == b""


@pytest.mark.parametrize(
    "query",
    [*("?next=//evil.example", "?lang=//evil.example", "?lang=%0d%0aSet-Cookie:x"), "?page=//evil.example", "?page=0"],
)
async def test_no_redirect_leads_anywhere_else(visit: Visit, query: str) -> None:
    visitor = await visit()
    assert (await visitor.get("/status" + query)).headers["Location"] == "/status/sign-in"
    fields = {"form_token": await visitor.form_token("/status/sign-in"), "password": PASSWORD}
    assert (await visitor.post("/status/sign-in" + query, data=fields)).headers["Location"] == "/status"


async def test_the_session_is_a_careful_cookie(visit: Visit) -> None:
    for is_https in (False, True):
        visitor = await visit(is_https=is_https)
        cookie = (await visitor.get(visitor.house.operator.one_time_ticket())).cookies[SESSION]
        assert cookie["httponly"]
        assert cookie["samesite"] == "Lax"
        assert cookie["max-age"] == str(SESSION_SECONDS)
        assert bool(cookie["secure"]) is is_https


async def test_a_session_reaches_the_json_too(visit: Visit) -> None:
    visitor = await visit()
    await visitor.sign_in()
    assert (await visitor.get("/status.json")).status == 200


async def test_twenty_wrong_passwords_are_five_guesses_and_a_wait(visit: Visit) -> None:
    visitor = await visit()
    answers = [await visitor.sign_in(f"guess {number}") for number in range(20)]
    assert [answer.status for answer in answers] == [403] * 5 + [429] * 15
    assert answers[-1].headers["Retry-After"] == str(GUESS_SECONDS)
    assert "Too many wrong passwords" in await answers[-1].text()
    assert (await visitor.sign_in()).status == 429
    assert (await visitor.sign_in(headers={"X-Test-Address": "192.0.2.2"})).status == 303
    visitor.http.session.cookie_jar.clear()
    visitor.house.time[0] += GUESS_SECONDS
    assert (await visitor.sign_in()).status == 303


def basic(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


async def test_basic_auth_spends_the_same_guesses(visit: Visit) -> None:
    visitor = await visit()
    answers = [await visitor.get("/status.json", headers=basic("wrong")) for _ in range(6)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    assert (await visitor.sign_in()).status == 429


def bearer(password: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {password}"}


@pytest.mark.parametrize("headers", [basic(PASSWORD), bearer(PASSWORD), {"Authorization": f"bearer  {PASSWORD} "}])
async def test_the_metrics_take_the_password_in_either_header(visit: Visit, headers: dict[str, str]) -> None:
    answer = await (await visit()).get("/metrics", headers={**headers, "Accept": "x"})
    assert answer.status == 200
    assert (await answer.text()).startswith("x {'queued': 0,")


@pytest.mark.parametrize("headers", [{}, basic("wrong"), bearer("wrong"), bearer(""), {"Authorization": PASSWORD}])
async def test_the_metrics_are_nobody_elses(visit: Visit, headers: dict[str, str]) -> None:
    answer = await (await visit()).get("/metrics", headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


async def test_a_bearer_spends_the_same_guesses(visit: Visit) -> None:
    visitor = await visit()
    answers = [await visitor.get("/metrics", headers=bearer("wrong")) for _ in range(6)]
    assert [answer.status for answer in answers] == [401] * 5 + [429]
    assert (await visitor.get("/metrics", headers=bearer(PASSWORD))).status == 429
    assert (await visitor.sign_in()).status == 429


async def test_guessing_does_not_disturb_who_is_inside(visit: Visit) -> None:
    visitor = await visit()
    await visitor.sign_in()
    session = session_of(visitor)
    visitor.http.session.cookie_jar.clear()
    for _ in range(6):
        await visitor.sign_in("wrong")
    assert (await visitor.sign_in()).status == 429
    assert (await carrying(visitor, session).get("/status")).status == 200


@pytest.mark.parametrize("password", ["密码 with spaces", "ü:colon"])
async def test_a_program_signs_in_with_the_password_alone(visit: Visit, password: str) -> None:
    visitor = await visit(password=password)
    answer = await visitor.get("/status.json", headers=basic(password))
    assert answer.status == 200
    assert answer.content_type == "application/json"


@pytest.mark.parametrize(
    "authorization", ["", "Basic", "Basic %%%", "Bearer open the gate", "Basic b3Blbg==", "Basic /w=="]
)
async def test_a_program_without_the_password_is_asked_for_it(visit: Visit, authorization: str) -> None:
    answer = await (await visit()).get("/status.json", headers={"Authorization": authorization})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def carrying(visitor: Visitor, cookie: str) -> Visitor:
    visitor.http.session.cookie_jar.update_cookies({SESSION: cookie}, visitor.http.make_url("/"))
    return visitor


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        "1000000",
        "..",
        "9999999999.nonce." + "0" * 64,
        Seal(b"another" * 5, PASSWORD).session("nonce", 1_000_000.0),
        Seal(b"s" * 32, "the old password").session("nonce", 1_000_000.0),
        Seal(b"s" * 32, PASSWORD).session("nonce", 1_000_000.0 - SESSION_SECONDS),
    ],
)
async def test_a_forged_or_stale_cookie_opens_nothing(visit: Visit, cookie: str) -> None:
    visitor = carrying(await visit(), cookie)
    assert (await visitor.get("/status")).status == 303
    assert (await visitor.get("/status.json")).status == 401


def session_of(visitor: Visitor) -> str:
    return visitor.http.session.cookie_jar.filter_cookies(visitor.http.make_url("/status"))[SESSION].value


async def test_a_copied_session_ends_with_the_sign_out_and_stays_so_after_a_restart(visit: Visit) -> None:
    visitor, elsewhere = await visit(), await visit()
    await visitor.sign_in()
    copied = session_of(visitor)
    await visitor.post("/status/sign-out", data={"form_token": await visitor.form_token("/status")})
    assert (await carrying(visitor, copied).get("/status")).status == 303
    assert (await visitor.get("/status.json")).status == 401
    assert (await carrying(elsewhere, copied).get("/status")).status == 200  # as long as nobody was told
    restarted = await visit(signed_out=visitor.house.saved_sign_outs)
    assert (await carrying(restarted, copied).get("/status")).status == 303


@pytest.mark.parametrize("is_locked", [False, True])
async def test_a_daemon_remembers_sign_outs_in_its_database_also_of_a_moment_in_which_it_was_locked(
    tmp_path: Path, is_locked: bool
) -> None:
    """Nobody tried again, and the copied cookie came back to life with the next start."""
    document = {
        "server": {"listen": ["127.0.0.1:0"], "database": "sqlite:posthouse.db"},
        "operator": {"password": PASSWORD},
    }
    settings = config.parse(document, Sources({}, tmp_path))
    async with ClientSession(cookie_jar=DummyCookieJar()) as session:

        async def status(url: str, cookie: str) -> int:
            async with session.get(url, headers={"Cookie": f"{SESSION}={cookie}"}, allow_redirects=False) as answer:
                return answer.status

        async with app.running(settings) as daemon:
            cookies = []
            for _ in range(2):
                ticket = daemon.url + daemon.operator.one_time_ticket()
                async with session.get(ticket, allow_redirects=False) as answer:
                    cookies.append(answer.cookies[SESSION].value)
            headers = {"Cookie": f"{SESSION}={cookies[0]}"}
            async with session.get(f"{daemon.url}/status", headers=headers) as answer:
                token = re.findall(r'name="form_token" value="(\w+)"', await answer.text())[0]
            with contextlib.closing(sqlite3.connect(settings.server.database, isolation_level=None)) as another:
                if is_locked:
                    another.execute("BEGIN IMMEDIATE")
                url = f"{daemon.url}/status/sign-out"
                async with session.post(
                    url, data={"form_token": token}, headers=headers, allow_redirects=False
                ) as left:
                    assert left.headers["Location"] == "/status/sign-in"
        async with app.running(settings) as daemon:
            assert [await status(f"{daemon.url}/status", cookie) for cookie in cookies] == [303, 200]


async def test_signing_out_ends_no_other_session(visit: Visit) -> None:
    visitor = await visit()
    await visitor.sign_in()
    desk = session_of(visitor)
    visitor.http.session.cookie_jar.clear()
    await visitor.sign_in()
    await visitor.post("/status/sign-out", data={"form_token": await visitor.form_token("/status")})
    assert (await carrying(visitor, desk).get("/status")).status == 200


async def test_a_stranger_cannot_make_us_remember_what_they_like(visit: Visit) -> None:
    """A form's token is to be had for any text that comes as the cookie of the sign-in form."""
    visitor = await visit()
    invented = "1000000.invented.mac"
    visitor.http.session.cookie_jar.update_cookies({FORM: invented}, visitor.http.make_url("/"))
    token = await visitor.form_token("/status/sign-in")
    answer = await carrying(visitor, invented).post("/status/sign-out", data={"form_token": token})
    assert answer.status == 303
    assert visitor.house.saved_sign_outs == {}


@pytest.mark.parametrize("token", [None, "", "0" * 64, "字"])
async def test_a_sign_in_without_the_forms_token_is_refused(visit: Visit, token: str | None) -> None:
    visitor = await visit()
    await visitor.form_token("/status/sign-in")
    fields = {"password": PASSWORD} if token is None else {"password": PASSWORD, "form_token": token}
    refused = await visitor.post("/status/sign-in", data=fields)
    assert refused.status == 403
    assert SESSION not in refused.cookies
    assert "gone stale" in await refused.text()


async def test_a_token_without_its_cookie_is_refused(visit: Visit) -> None:
    visitor = await visit()
    token = await visitor.form_token("/status/sign-in")
    visitor.http.session.cookie_jar.clear()
    assert (await visitor.post("/status/sign-in", data={"password": PASSWORD, "form_token": token})).status == 403


@pytest.mark.parametrize("fields", [{}, {"form_token": "0" * 64}])
async def test_nobody_else_can_sign_the_operator_out(visit: Visit, fields: dict[str, str]) -> None:
    visitor = await visit()
    await visitor.sign_in()
    assert (await visitor.post("/status/sign-out", data=fields)).status == 403
    assert (await visitor.get("/status")).status == 200


async def test_who_is_not_inside_cannot_leave(visit: Visit) -> None:
    assert (await (await visit()).post("/status/sign-out", data={"form_token": "0" * 64})).status == 403


async def test_a_second_tab_does_not_spoil_the_first_ones_form(visit: Visit) -> None:
    visitor = await visit()
    first, second = await visitor.form_token("/status/sign-in"), await visitor.form_token("/status/sign-in")
    assert first == second
    assert (await visitor.post("/status/sign-in", data={"password": PASSWORD, "form_token": first})).status == 303


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * 5_000, 413),
        (b"&".join(b"f%d=x" % number for number in range(20)), 403),
        (b"\xff\xfe=\x00&%ff", 403),
    ],
)
async def test_a_body_that_is_no_form_of_ours_is_refused(visit: Visit, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await (await visit()).post("/status/sign-in", data=body, headers=headers)).status == status


async def test_a_body_of_unknown_size_is_not_read(visit: Visit) -> None:
    async def pieces() -> object:
        yield b"password="

    assert (await (await visit()).post("/status/sign-in", data=pieces())).status == 413


async def test_a_ticket_signs_in_once(visit: Visit) -> None:
    visitor = await visit()
    link = visitor.house.operator.one_time_ticket()
    assert (await visitor.http.head(link)).status == 405
    opened = await visitor.get(link)
    assert (opened.status, opened.headers["Location"]) == (303, "/status")
    assert (await visitor.get("/status")).status == 200
    visitor.http.session.cookie_jar.clear()
    spent = await visitor.get(link)
    assert spent.status == 200
    assert "used already" in await spent.text()
    assert (await visitor.get("/status")).status == 303


async def test_a_ticket_of_yesterday_is_worth_nothing(visit: Visit) -> None:
    visitor = await visit()
    link = visitor.house.operator.one_time_ticket()
    visitor.house.time[0] += TICKET_SECONDS
    assert (await visitor.get(link)).status == 200
    assert (await visitor.get("/status")).status == 303


async def test_who_is_inside_is_not_asked_again(visit: Visit) -> None:
    visitor = await visit()
    await visitor.sign_in()
    assert (await visitor.get("/status/sign-in")).headers["Location"] == "/status"


@pytest.mark.parametrize(
    "path", ["/status", "/status.json", "/status/sign-in", "/status/sign-out", "/status/x", "/metrics"]
)
@pytest.mark.parametrize("password", [None, ""])
async def test_without_a_password_there_is_no_page(visit: Visit, path: str, password: str | None) -> None:
    visitor = await visit(password=password)
    assert (await visitor.get(path)).status == 404
    assert (await visitor.post(path)).status == 404


async def test_without_a_password_there_is_no_ticket(visit: Visit) -> None:
    with pytest.raises(LookupError, match="without a password"):
        (await visit(password=None)).house.operator.one_time_ticket()


async def test_the_log_tells_of_sign_ins_without_passwords(visit: Visit) -> None:
    visitor = await visit()
    with capture_logs() as events:
        await visitor.sign_in("a wrong guess")
        await visitor.sign_in()
    assert [event["event"] for event in events] == ["operator.sign_in_refused", "operator.signed_in"]
    assert not re.search("guess|gate", repr(events))


async def test_the_form_cookie_goes_to_the_sign_in_alone(visit: Visit) -> None:
    asked = await (await visit()).get("/status/sign-in")
    assert asked.cookies[FORM]["path"] == "/status/sign-in"
    assert asked.cookies[FORM]["httponly"]
