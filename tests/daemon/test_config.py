"""What is wrong with a config is said all at once, by path, and no secret is ever part of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import config, environment
from daemon.reading import settings_of
from daemon.schema import Settings, settings
from daemon.secret import Sources
from daemon.wrong_config import WrongConfig


def parsed(text: str, **environ: str) -> Settings:
    return config.parse_text(text, Sources(environ))


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(WrongConfig) as wrong:
        parsed(text, **environ)
    return str(wrong.value).splitlines()


def test_an_empty_config_has_every_default() -> None:
    empty = parsed("")

    assert empty.server.listen == ("0.0.0.0:8080",)
    assert empty.server.limits.head_bytes == 16384
    assert str(empty.server.timezone) == "Asia/Shanghai"
    assert empty.server.database == Path("posthouse.db")
    assert empty.operator.password is None
    assert empty.upstreams["openai"].base_url == "https://api.openai.com/v1"
    assert empty.keys == ()
    assert empty.proxy.deny == ("/v1/organization/*", "/v1/projects/*", "/v1/dashboard/*")
    assert (empty.bot.model, empty.bot.temperature, empty.bot.max_tokens) == ("", None, None)
    assert empty.bot.label == "（内容由AI生成）"


def test_ten_errors_are_ten_lines_whatever_kind_they_are_of() -> None:
    text = """
        [server]
        listen = ["nowhere"]
        tls_key = "key.pem"
        lsten = []
        [operator]
        password = { env = "NOT_SET" }
        [[keys]]
        name = "bad name"
        secret = { file = "/nowhere/key" }
        upstream = "azure"
        cooldown_seconds = "1h"
        [bot]
        hold = "two"
        [[bot.accounts]]
        id = "gh_1"
        token = "abc"
    """

    lines = problems(text)

    assert len(lines) == 10
    assert {line.partition(":")[0] for line in lines} == {
        *("server.listen[0]", "server.tls_certificate", "server.lsten", "operator.password", "keys[0].name"),
        *("keys[0].secret", "keys[0].upstream", "keys[0].cooldown_seconds", "bot.hold", "bot.model"),
    }


def test_a_mistake_in_the_syntax_is_told_with_line_and_column() -> None:
    [line] = problems('[server]\nlisten = ["a:1"\nx')

    assert line == "posthouse.toml: not TOML: unclosed array (at line 3, column 1)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"server.listen = {'[' * 5000}", "posthouse.toml: lists or tables stand in each other too deep"),
        (
            f"server.limits.connections = {'9' * 5000}",
            "posthouse.toml: a number has more digits than any setting takes",
        ),
        (f"server.listen = 0x{'f' * 5000}", "server.listen: expected a list, got a number beyond all use"),
    ],
    ids=["deep", "long", "long and hexadecimal"],
)
def test_what_no_parser_takes_to_its_end_is_a_problem_and_no_crash(text: str, told: str) -> None:
    """Found by fuzzing: at a SIGHUP such a file was an error of the event loop, and nobody was told what is wrong."""
    assert told in problems(text)


def test_a_file_that_is_not_utf_8_is_wrong_and_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "posthouse.toml"
    path.write_bytes(b'[server]\npublic_url = "\xff"')

    with pytest.raises(WrongConfig, match="expected UTF-8, got something else at byte 23"):
        config.load(path, {})


def test_the_mark_that_windows_editors_write_at_the_front_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "posthouse.toml"
    path.write_bytes(b'\xef\xbb\xbf[bot]\nmodel = "m"\n')

    assert config.load(path, {}).bot.model == "m"


def test_a_config_that_was_named_is_used_even_if_it_is_not_there(tmp_path: Path) -> None:
    explicit, in_variable = tmp_path / "a.toml", tmp_path / "b.toml"

    assert config.find(explicit, {"POSTHOUSE_CONFIG": str(in_variable)}) == explicit
    assert config.find(None, {"POSTHOUSE_CONFIG": str(in_variable)}) == in_variable


def test_without_a_name_the_config_beside_us_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "posthouse.toml").touch()

    assert config.find(None, {"POSTHOUSE_CONFIG": ""}) == Path("posthouse.toml")


def test_the_database_stands_in_the_state_directory_or_beside_the_config(tmp_path: Path) -> None:
    path = tmp_path / "posthouse.toml"
    path.write_text('[server]\ndatabase = "sqlite:data/x.db"')

    assert config.load(path, {}).server.database == tmp_path / "data" / "x.db"
    assert config.load(path, {"STATE_DIRECTORY": "/var/lib/p:/b"}).server.database == Path("/var/lib/p/data/x.db")
    path.write_text('[server]\ndatabase = "sqlite:/srv/x.db"')
    assert config.load(path, {"STATE_DIRECTORY": "/var/lib/p"}).server.database == Path("/srv/x.db")


def test_a_glance_finds_the_database_without_any_secret(tmp_path: Path) -> None:
    path = tmp_path / "posthouse.toml"
    keys = '[[keys]]\nname = "a"\nsecret = { env = "GONE" }\n[[keys]]\nname = "b"\nupstream = "azure"\n'
    path.write_text(
        f'{keys}[operator]\nshow_words = false\npassword = {{ env = "GONE" }}\n[server]\ndatabase = "sqlite:x.db"'
    )

    glance = config.glance(path, {})

    assert (glance.database, glance.show_words) == (tmp_path / "x.db", False)
    assert (glance.upstream_of("a"), glance.upstream_of("b")) == ("openai", "azure")


@pytest.mark.skipif(os.name != "posix", reason="modes are posix's")
@pytest.mark.parametrize(
    ("mode", "secret", "is_doubted"),
    [
        (0o644, '"literal"', True),
        (0o640, '"literal"', True),
        (0o600, '"literal"', False),
        (0o644, '{ env = "A" }', False),
    ],
)
def test_a_file_with_secrets_that_others_can_read_is_doubted(
    tmp_path: Path, mode: int, secret: str, is_doubted: bool
) -> None:
    path = tmp_path / "posthouse.toml"
    path.write_text(f"[operator]\npassword = {secret}")
    path.chmod(mode)

    doubts = [doubt for doubt in config.doubts(path, config.load(path, {"A": "x"})) if "others may read" in doubt]

    assert bool(doubts) is is_doubted
    assert all("chmod 600" in doubt and "literal" not in doubt for doubt in doubts)


WHOLE = """
keys = [{ name = "a", secret = "k" }]
operator.password = "p"
proxy.callers = [{ name = "c", token = "t-0123456789abcdef" }]
bot.model = "m"
bot.accounts = [{ id = "gh_1", token = "letters" }]
"""


@pytest.mark.parametrize(
    ("lines", "doubts"),
    [
        (WHOLE, []),
        (
            "",
            [
                "no key, so nothing can be answered; add [[keys]]",
                "no caller, so /v1 answers 401 to everybody; `ph token NAME` makes a token",
                "no password, so there is no status page; set operator.password",
            ],
        ),
        (
            WHOLE.replace("bot.", "# ") + "[bot]",
            ["no WeChat account, so no subscriber is answered; fill in bot.model and [[bot.accounts]]"],
        ),
        (
            WHOLE.replace("bot.accounts", "# "),
            ["no WeChat account, so no subscriber is answered; fill in [[bot.accounts]]"],
        ),
        (WHOLE.replace("bot.", "# "), []),
        (WHOLE.replace("proxy.callers", "proxy.passthrough = true # "), []),
    ],
    ids=["whole", "empty", "nothing in bot", "no account", "a gateway alone", "passthrough"],
)
def test_what_is_not_filled_in_is_doubted(tmp_path: Path, lines: str, doubts: list[str]) -> None:
    path = tmp_path / "posthouse.toml"
    path.write_text(lines)
    path.chmod(0o600)

    assert list(config.doubts(path, config.load(path, {}), command="ph")) == doubts


def test_without_a_file_the_doubts_name_variables() -> None:
    doubts = " ".join(config.doubts(None, config.parse({}, Sources())))

    assert all(variable in doubts for variable in ("OPENAI_API_KEY", "POSTHOUSE_TOKEN", "POSTHOUSE_PASSWORD"))


@pytest.mark.parametrize("environ", [{}, {"PORT": "80"}])
def test_with_neither_a_file_nor_settings_the_first_doubt_says_where_a_file_was_looked_for(
    environ: dict[str, str],
) -> None:
    first, *_ = config.doubts(None, environment.settings(environ), command="ph")

    assert first == (
        "no config file ($POSTHOUSE_CONFIG, posthouse.toml, /etc/posthouse/posthouse.toml) "
        "and no settings in the environment; `ph init` writes a file"
    )


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "POSTHOUSE_TOKEN", "POSTHOUSE_PASSWORD", "OPENAI_BASE_URL"])
def test_an_environment_that_says_something_needs_no_file(variable: str) -> None:
    settings = environment.settings({variable: "https://a-word-of-enough-letters.test"})

    assert not any("no config file" in doubt for doubt in config.doubts(None, settings))


# TOML of any shape: whatever it says, the answer is settings or lines, never another exception.

VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["x", "sqlite:x", "main"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(sorted({part for s in settings() for part in s.path.split(".")})), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(
    document=st.dictionaries(
        st.sampled_from([*Settings.fields, "sever"]),
        VALUES,
        max_size=4,
    )
)
def test_a_document_of_any_shape_gives_settings_or_problems(document: dict[str, Any]) -> None:
    try:
        config.parse(document, Sources())
        lines: list[str] = []
    except WrongConfig as wrong:
        lines = str(wrong).splitlines()

    assert len({line.partition(": ")[0] for line in lines}) == len(lines)


@pytest.mark.parametrize("given", ["", "127.0.0.2", "203.0.113.7", "::1", "2001:db8::7"])
def test_a_source_address_is_an_address_or_the_system_s_choice(given: str) -> None:
    assert parsed(f'[upstreams.openai]\nsource_address = "{given}"').upstreams["openai"].source_address == given


@pytest.mark.parametrize(
    "given", ["eth0", "localhost", "0.0.0.0", "::", "10.0.0.0/8", "10.0.0.1:80", "fe80::1%eth0", "224.0.0.1"]
)
def test_what_is_no_address_of_one_machine_is_no_source_address(given: str) -> None:
    [line] = problems(f'[upstreams.openai]\nsource_address = "{given}"')
    assert line.startswith('upstreams.openai.source_address: expected an IP address of this server, or ""')


def test_no_repr_of_settings_shows_a_secret() -> None:
    """A repr may end in a log."""
    settings = parsed(WHOLE)

    assert "letters" not in repr([settings, *settings.bot.accounts, *settings.keys, vars(settings.bot.accounts[0])])


def test_without_a_file_the_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(config.VARIABLE, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")

    path, settings = settings_of(None)

    assert (path, settings.keys[0].name) == (None, "key-1")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        settings_of(tmp_path / "gone.toml")

    assert caught.value.filename in (tmp_path / "gone.toml", str(tmp_path / "gone.toml"))


def test_problems_come_in_the_order_of_the_schema_and_unknown_names_in_that_of_the_file() -> None:
    assert problems('[bot]\nhold = "two"\nzeta = 1\nholdd = 2\napi = "x"\n[server]\nlisten = []') == [
        "server.listen: expected at least one, got an empty list",
        'bot.api: expected "chat", "responses" or "completions", got "x"',
        'bot.hold: expected "three" or "one", got "two"',
        "bot.zeta: unknown setting",
        "bot.holdd: unknown setting; did you mean hold?",
    ]


@pytest.mark.parametrize("name", ["server.limits.connections", "bot.memory.exchanges", "bot.keep_days"])
def test_a_whole_number_is_one_that_everything_behind_it_can_hold(name: str) -> None:
    """With more than the database holds the daemon started, and answered no question."""
    parsed(f"{name} = {2**53}")
    [line] = problems(f"{name} = {2**63}")
    assert line.startswith(f"{name}: expected a ")


@pytest.mark.parametrize(
    "wordy", ['prefix = "%s"' % ("x" * 1_100), 'label = "%s"' % ("书" * 400), 'texts.more_pages = "%s"' % ("x" * 1_100)]
)
def test_what_stands_around_an_answer_leaves_room_for_it(wordy: str) -> None:
    """The check found it well, and the start ended with a traceback."""
    [line] = problems(f"bot.{wordy}")
    assert line.startswith("bot: expected fewer words around an answer: prefix, label, ")


def test_a_socket_s_name_that_no_system_takes_is_told_before_the_start() -> None:
    assert problems('server.listen = ["unix:/run/a\\u0000b"]') == [
        'server.listen[0]: expected "host:port", "[::]:80" or "unix:/path", got "unix:/run/a\\u0000b"'
    ]


def test_a_line_about_a_file_s_name_moves_no_cursor() -> None:
    [line] = problems('operator.password = { file = "/x\\u001b[2J\\n" }')
    assert "/x\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER} (no such file" in line


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("true", "expected a positive number, got true"),
        ("inf", "expected a positive number, got inf"),
        ("nan", "expected a positive number, got nan"),
        ("0", "expected a positive number, got 0"),
        (f"1{'0' * 400}", "expected a positive number, got a number beyond all use"),
    ],
)
def test_only_a_number_is_a_duration(given: str, told: str) -> None:
    assert problems(f"bot.answer_seconds = {given}") == [f"bot.answer_seconds: {told}"]


def test_a_moment_is_no_day() -> None:
    [line] = problems('proxy.callers = [{ name = "c", token = "t-0123456789abcdef", expires = 2027-01-01T00:00:00Z }]')

    assert line.startswith("proxy.callers[0].expires: expected a date such as 2027-01-01, got ")
