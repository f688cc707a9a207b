"""A setting that would do nothing is refused, not ignored."""

from __future__ import annotations

import pytest

from daemon import config
from daemon.not_yet import NOT_YET
from daemon.problems import WrongConfig
from daemon.schema import settings
from daemon.secret import Sources

# For every row a config that sets something of it to another value than the default.
CALLER = '[[proxy.callers]]\nname = "a"\ntoken = "12345678"\n'
ACCOUNT = '[bot]\nmodel = "m"\n[[bot.accounts]]\nid = "gh_0123456789ab"\ntoken = "abc"\n'
SET_OTHERWISE = {
    "proxy.queue_seconds": "proxy.queue_seconds = 9",
    "proxy.callers[].see_all": f"{CALLER}see_all = true",
    "bot.api": 'bot.api = "responses"',
    "bot.queue_seconds": "bot.queue_seconds = 9",
    "bot.limits": 'bot.limits.block = ["o1"]',
    "bot.images": 'bot.images.keyword = "draw"',
    "bot.words": 'bot.words.file = "words.txt"',
    "bot.accounts[].app_secret": f'{ACCOUNT}app_secret = "x"',
    "bot.accounts[].customer_service": f'{ACCOUNT}customer_service = "never"',
    "bot.accounts[].administrators": f'{ACCOUNT}administrators = ["o1"]',
    "bot.accounts[].limits": f"{ACCOUNT}limits.images_per_day = 3",
    "bot.personas": 'bot.personas.teacher = "x"',
    "bot.menu": 'bot.menu.key = "x"',
}


@pytest.mark.parametrize("row", NOT_YET)
def test_a_setting_whose_feature_is_not_built_is_refused_with_its_name(row: str) -> None:
    with pytest.raises(WrongConfig) as wrong:
        config.parse_text(SET_OTHERWISE[row], Sources())

    [line] = str(wrong.value).splitlines()
    assert line.startswith(row.replace("[]", "[0]").replace("*", "openai"))
    assert line.endswith(f": not available yet ({NOT_YET[row]})")


def test_every_row_of_what_is_not_built_names_a_setting() -> None:
    known = [setting.path for setting in settings()]

    for row in NOT_YET:
        assert [path for path in known if path == row or path.startswith((f"{row}.", f"{row}["))], row


def test_a_setting_whose_feature_is_not_built_may_be_set_to_its_default() -> None:
    text = "[server]\nfast_lane = true\n[server.limits]\nmemory_bytes = 0\n[proxy]\nqueue_seconds = 8.0\n"

    assert config.parse_text(text, Sources()) == config.parse_text("", Sources())
