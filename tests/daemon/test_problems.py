"""What is wrong with a setting is one line: its path, what was expected, what it got."""

from __future__ import annotations

import pytest

from daemon import config
from daemon.secret import Sources
from daemon.wrong_config import WrongConfig

ACCOUNT = '[bot]\nmodel = "m"\n[[bot.accounts]]\nid = "gh_0123456789ab"\n'
KEY = '[[keys]]\nname = "main"\nsecret = "a-key"\n'


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(WrongConfig) as wrong:
        config.parse_text(text, Sources(environ))
    return str(wrong.value).splitlines()


WRONG = [
    ('cooldown_seconds = "1h"', 'keys[0].cooldown_seconds: expected a positive number, got "1h"'),
    ("cooldown_seconds = -1", "keys[0].cooldown_seconds: expected a positive number, got -1"),
    ("cooldown_seconds = nan", "keys[0].cooldown_seconds: expected a positive number, got nan"),
    ("weight = 0", "keys[0].weight: expected a positive number, got 0"),
    ("weight = true", "keys[0].weight: expected a positive number, got true"),
    ("tier = 1.5", "keys[0].tier: expected a whole number, 0 or more, got 1.5"),
    ("uses = []", "keys[0].uses: expected at least one, got an empty list"),
    ('uses = ["prox"]', 'keys[0].uses[0]: expected "proxy" or "bot", got "prox"'),
    ('uses = "bot"', 'keys[0].uses: expected a list, got "bot"'),
    ('models = ["a b"]', 'keys[0].models[0]: expected the name of a model or a pattern such as "gpt-*", got "a b"'),
    ('upstream = "opanai"', 'keys[0].upstream: expected one of: openai; got "opanai"'),
    ('organization = "o\\r\\nx: y"', 'keys[0].organization: expected a string without spaces, got "o\\r\\nx: y"'),
    ('wieght = "2"', "keys[0].wieght: unknown setting; did you mean weight?"),
    ("zzz = 1", "keys[0].zzz: unknown setting"),
    ('[server]\nlsten = ["x"]', "server.lsten: unknown setting; did you mean listen?"),
    ("[sever]", "sever: unknown setting; did you mean server?"),
    ("[server.limits]\nhead_bites = 1", "server.limits.head_bites: unknown setting; did you mean head_bytes?"),
    ('[server]\nlisten = ["8080"]', 'server.listen[0]: expected "host:port", "[::]:80" or "unix:/path", got "8080"'),
    (
        '[server]\nlisten = ["::1:80"]',
        'server.listen[0]: expected "host:port", "[::]:80" or "unix:/path", got "::1:80"',
    ),
    (
        '[server]\nlisten = ["a:99999"]',
        'server.listen[0]: expected a port from 0 to 65535, got "a:99999"',
    ),
    ("server = 3", "server: expected a table, got 3"),
    (
        '[server]\ntimezone = "Asia/Peking"',
        'server.timezone: expected a time zone such as "Asia/Shanghai", got "Asia/Peking"',
    ),
    ('[server]\ntimezone = "Asia"', 'server.timezone: expected a time zone such as "Asia/Shanghai", got "Asia"'),
    (
        '[server]\ndatabase = "postgres://db"',
        'server.database: expected "sqlite:" and a file name; no other database is available yet, got "postgres://db"',
    ),
    (
        '[server]\ntrusted_proxies = ["10.0.0.0/33"]',
        'server.trusted_proxies[0]: expected a network such as "10.0.0.0/8", got "10.0.0.0/33"',
    ),
    ("[operator]\nshow_words = 1", "operator.show_words: expected true or false, got 1"),
    (
        '[upstreams."a b"]\nbase_url = "https://x.test"',
        'upstreams."a b": expected a name of 1 to 64 letters, digits, dots, hyphens or underscores, got "a b"',
    ),
    ("[upstreams.azure]", "upstreams.azure.base_url: expected a value, got none"),
    (
        '[upstreams.openai]\nbase_url = "http://a.test"',
        'upstreams.openai.base_url: expected an https:// URL (http:// to this machine only), without a query, got "http://a.test"',
    ),
    ('[upstreams.openai]\nauth = "basic"', 'upstreams.openai.auth: expected "bearer" or "api-key", got "basic"'),
    ('[proxy]\ndeny = ["files"]', 'proxy.deny[0]: expected a path such as "/v1/files/*", got "files"'),
    (
        '[[proxy.callers]]\nname = "a"\ntoken = "12345678"\nexpires = "2027"',
        'proxy.callers[0].expires: expected a date such as 2027-01-01, got "2027"',
    ),
    (
        "[bot]\nhold_seconds = 5",
        "bot.hold_seconds: expected a number above 0 and below 5, because WeChat waits five seconds, got 5",
    ),
    ('[bot.texts]\nwelcom = "x"', 'bot.texts.welcom: no such text; did you mean "welcome"?'),
    ("[bot.texts]\nwelcome = 1", "bot.texts.welcome: expected a string, got 1"),
    (
        "[bot.cloudrun]\nenabled = true\n[bot]\nmodel = 'm'",
        "bot.cloudrun.secret: expected a secret, because anybody can forge these pushes without one",
    ),
    (
        '[bot.images]\nmodel = "painter"',
        "server.public_url: expected the address that links to pictures begin with, got none",
    ),
    (
        '[bot.personas]\n" a" = "x"',
        'bot.personas." a": expected a name of 1 to 20 characters, no space around it',
    ),
    ("[bot.words]\nfile = 1", 'bot.words.file: expected the name of a file, or "", got 1'),
]


@pytest.mark.parametrize(("text", "line"), WRONG)
def test_a_wrong_setting_is_one_line_with_its_path_and_what_was_expected(text: str, line: str) -> None:
    assert problems(f"{KEY}{text}" if line.startswith("keys") else text) == [line]


WRONG_ACCOUNTS = [
    ('token = ""', "bot.accounts[0].token: expected a WeChat Token of 3 to 32 letters and digits"),
    ('token = "a-b-c"', "bot.accounts[0].token: expected a WeChat Token of 3 to 32 letters and digits"),
    ("", "bot.accounts[0].token: expected a value, got none"),
    (
        'token = "abc"\napp_id = "wx1"\nencoding_aes_key = "short"',
        "bot.accounts[0].encoding_aes_key: expected an EncodingAESKey of 43 letters and digits",
    ),
    (
        f'token = "abc"\nencoding_aes_key = "{"a" * 43}"',
        "bot.accounts[0].app_id: expected a value, because encrypted pushes are checked against it, got none",
    ),
    ('token = "abc"\napp_secret = "abc"', "bot.accounts[0].app_id: expected a value beside app_secret, got none"),
    ('token = "abc"\napp_id = "gh_1"', 'bot.accounts[0].app_id: expected an AppID such as "wx…", got "gh_1"'),
    (
        'token = "abc"\n[[bot.accounts]]\nid = "gh_2"\ntoken = "abc"',
        'bot.accounts[1].path: expected one of its own, got "/wechat" like bot.accounts[0]',
    ),
    (
        'token = "abc"\n[[bot.accounts]]\nid = "gh_0123456789ab"\npath = "/two"\ntoken = "abc"',
        'bot.accounts[1].id: expected one of its own, got "gh_0123456789ab" like bot.accounts[0]',
    ),
]


@pytest.mark.parametrize(("text", "line"), WRONG_ACCOUNTS)
def test_a_wrong_account_is_one_line_too(text: str, line: str) -> None:
    assert problems(ACCOUNT + text) == [line]


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/x", "/status", "/status.json", "/message/post", "/", "x", "/a//b", "/a/../v1"]
)
def test_an_account_cannot_take_a_path_of_ours_or_a_crooked_one(path: str) -> None:
    [line] = problems(f'{ACCOUNT}token = "abc"\npath = "{path}"')

    assert line.startswith(
        'bot.accounts[0].path: expected a path such as "/wechat" that does not begin with one of ours'
    )


def test_an_account_without_a_model_is_told_where_to_find_one() -> None:
    [line] = problems('[[bot.accounts]]\nid = "gh_1"\ntoken = "abc"')

    assert line.startswith("bot.model: expected the name of a model")
    assert "/models" in line


def test_an_account_may_bring_its_own_model() -> None:
    assert (
        config.parse_text('[[bot.accounts]]\nid = "gh_1"\ntoken = "abc"\nmodel = "m"', Sources()).bot.accounts[0].model
        == "m"
    )
