from __future__ import annotations

import pytest

from daemon.operator.assets import read_assets
from tests.daemon.operator.house import Visit


@pytest.mark.parametrize(
    ("name", "content_type"),
    [("status.css", "text/css"), ("status.js", "text/javascript"), ("logo.svg", "image/svg+xml")],
)
async def test_a_file_is_served_with_its_type(visit: Visit, name: str, content_type: str) -> None:
    visitor = await visit()
    answer = await visitor.get(visitor.house.assets.url(name))
    assert (answer.status, answer.content_type) == (200, content_type)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("query", ["", "?v=", "?v=0123456789ab"])
async def test_a_url_without_the_files_digest_is_not_kept_for_ever(visit: Visit, query: str) -> None:
    assert (await (await visit()).get("/static/status.css" + query)).headers["Cache-Control"] == "no-cache"


async def test_a_file_the_browser_has_is_not_sent_again(visit: Visit) -> None:
    visitor = await visit()
    etag = (await visitor.get("/static/status.css")).headers["ETag"]
    again = await visitor.get("/static/status.css", headers={"If-None-Match": f'"other", {etag}'})
    assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
    assert (await visitor.get("/static/status.css", headers={"If-None-Match": '"other"'})).status == 200


@pytest.mark.parametrize(
    "path", ["/static/", "/static/none.css", "/static/..%2fpyproject.toml", "/static/%2e%2e/Makefile", "/static/a/b"]
)
async def test_a_name_that_was_not_read_at_start_does_not_exist(visit: Visit, path: str) -> None:
    assert (await (await visit()).get(path)).status == 404


def test_a_page_that_names_a_missing_file_fails_at_once() -> None:
    with pytest.raises(KeyError):
        read_assets().url("none.css")
