from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from daemon.operator.gate import SESSION
from daemon.operator.sign_in import Seal
from tests.daemon.operator.house import PASSWORD, Visit, Visitor, a_key

JSON = {"Accept": "application/json"}
EVERY = pytest.mark.parametrize("action", ["check", "clear", "enable", "disable"])


async def pressing(visitor: Visitor) -> dict[str, str]:
    """The fields of a form of the page, after a sign-in."""
    await visitor.sign_in()
    return {"form_token": await visitor.form_token("/status")}


@EVERY
async def test_a_button_moves_its_key_and_leads_back_to_the_page(visit: Visit, action: str) -> None:
    visitor = await visit(keys=[a_key(name="main"), a_key(name="a.b-C_1")])
    fields = await pressing(visitor)
    pressed = await visitor.post(f"/status/keys/a.b-C_1/{action}?lang=zh&page=2&next=//evil.example", data=fields)
    assert (pressed.status, pressed.headers["Location"]) == (303, "/status?lang=zh&page=2")
    assert visitor.house.operated == [(action, "a.b-C_1")]


@EVERY
async def test_a_program_is_told_what_the_key_is_then(visit: Visit, action: str) -> None:
    visitor = await visit(keys=[a_key(name="main", state="cooling")])
    answer = await visitor.post(f"/status/keys/main/{action}", data=await pressing(visitor), headers=JSON)
    assert answer.status == 200
    assert await answer.json() == {"key": "main", "action": action, "state": "cooling"}


async def test_the_log_tells_who_was_moved_and_how(visit: Visit) -> None:
    visitor = await visit(keys=[a_key(name="main")])
    fields = await pressing(visitor)
    with capture_logs() as logs:
        await visitor.post("/status/keys/main/disable", data=fields)
        await visitor.post("/status/keys/gone/disable", data=fields)
    assert logs == [{"event": "key.operated", "action": "disable", "key": "main", "log_level": "info"}]


@pytest.mark.parametrize(
    ("query", "words"), [("lang=en", "There is no such key any more."), ("lang=zh", "这把密钥已不存在")]
)
async def test_a_key_that_is_gone_is_said_in_words(visit: Visit, query: str, words: str) -> None:
    visitor = await visit()
    fields = await pressing(visitor)
    answer = await visitor.post(f"/status/keys/gone/clear?{query}", data=fields)
    assert answer.status == 404
    assert words in await answer.text()
    told = await visitor.post(f"/status/keys/gone/clear?{query}", data=fields, headers=JSON)
    assert told.status == 404
    assert words in (await told.json())["error"]


@pytest.mark.parametrize("token", [None, "", "0" * 64, "字"])
@pytest.mark.parametrize("headers", [{}, JSON])
async def test_a_form_that_is_not_ours_moves_nothing(visit: Visit, token: str | None, headers: dict[str, str]) -> None:
    visitor = await visit(keys=[a_key(name="main")])
    await visitor.sign_in()
    fields = {} if token is None else {"form_token": token}
    refused = await visitor.post("/status/keys/main/disable?lang=en", data=fields, headers=headers)
    assert refused.status == 403
    assert "nothing was changed" in await refused.text()
    assert visitor.house.operated == []


@pytest.mark.parametrize(
    "cookie", ["", "1000000", Seal(b"another" * 5, PASSWORD).session("nonce", 1_000_000.0), "..", "9.n." + "0" * 64]
)
async def test_a_forged_or_stale_session_is_sent_to_the_sign_in(visit: Visit, cookie: str) -> None:
    visitor = await visit(keys=[a_key(name="main")])
    visitor.http.session.cookie_jar.update_cookies({SESSION: cookie}, visitor.http.make_url("/"))
    fields = {"form_token": Seal(b"s" * 32, PASSWORD).form_token(cookie)}
    sent = await visitor.post("/status/keys/main/disable?lang=zh", data=fields)
    assert (sent.status, sent.headers["Location"]) == (303, "/status/sign-in?lang=zh")
    told = await visitor.post("/status/keys/main/disable", data=fields, headers=JSON)
    assert told.status == 401
    assert visitor.house.operated == []


async def test_the_password_alone_presses_no_button(visit: Visit) -> None:
    """Basic auth is sent by a browser to whatever another site makes it ask for, and has no form's token beside it."""
    visitor = await visit(keys=[a_key(name="main")])
    headers = {"Authorization": "Basic Om9wZW4gdGhlIGdhdGU="}
    assert (await visitor.get("/status.json", headers=headers)).status == 200
    assert (await visitor.post("/status/keys/main/disable", headers=headers)).status == 303
    assert visitor.house.operated == []


@pytest.mark.parametrize(
    "path",
    [
        "main/destroy",
        f"{'x' * 65}/check",
        "a%2Fb/check",
        "a%0Ab/check",
        "a b/check",
        "/check",
        "main/check/",
        "密/check",
    ],
)
async def test_what_is_no_button_is_not_there(visit: Visit, path: str) -> None:
    visitor = await visit(keys=[a_key(name="main")])
    assert (await visitor.post(f"/status/keys/{path}", data=await pressing(visitor))).status == 404
    assert visitor.house.operated == []


@EVERY
async def test_a_button_is_no_link(visit: Visit, action: str) -> None:
    visitor = await visit(keys=[a_key(name="main")])
    await visitor.sign_in()
    assert (await visitor.get(f"/status/keys/main/{action}")).status == 405
    assert visitor.house.operated == []


async def test_without_a_password_there_are_no_buttons(visit: Visit) -> None:
    visitor = await visit(password=None, keys=[a_key(name="main")])
    assert (await visitor.post("/status/keys/main/disable", data={"form_token": "0" * 64})).status == 404
