"""
The commands of `posthouse`: what they take, what they print, and how they end.

Rule 1: 0 is well, 1 failed, 2 wrong usage or config. A failure is one sentence on standard error, never a traceback.
Rule 2: what a command needs is imported when it runs, so that --help and --version answer at once.
Rule 3: results go to standard output, everything about them to standard error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from daemon import __version__

if TYPE_CHECKING:
    from daemon.listing import Row
    from daemon.schema import Settings

FAILED, WRONG = 1, 2
PIPE_COLUMNS = 200  # where no terminal says how wide it is
LOG_LEVELS = ("debug", "info", "warning", "error")


class Posthouse(click.Group):
    """The group that says a failure in one sentence, whichever command met it."""

    def invoke(self, ctx: click.Context) -> Any:
        from daemon.wrong_config import WrongConfig

        try:
            return super().invoke(ctx)
        except WrongConfig as wrong:
            click.echo(str(wrong), err=True)
            ctx.exit(WRONG)
        except BrokenPipeError:  # `posthouse keys | head`: click knows what to do
            raise
        except OSError as error:
            click.echo(f"posthouse: {_in_words(error)}", err=True)
            ctx.exit(FAILED)
        except _refusals() as refusal:
            click.echo(f"posthouse: {refusal}", err=True)
            ctx.exit(FAILED)


def _refusals() -> tuple[type[Exception], ...]:
    """Evaluated only when something was raised, so that its imports cost no command anything."""
    from daemon.listeners import CannotListen
    from daemon.process import OtherParser
    from daemon.sqlite import DatabaseRefused
    from daemon.word_file import BadWordFile

    return OtherParser, CannotListen, DatabaseRefused, BadWordFile


def _in_words(error: OSError) -> str:
    words = (error.strerror or str(error) or type(error).__name__).lower()
    place = error.filename2 or error.filename  # of two, the second is where something was to be made
    return f"{place}: {words}" if place else words


config_option: Callable[[Any], Any] = click.option(
    "--config",
    "named",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Default: $POSTHOUSE_CONFIG, ./posthouse.toml, /etc/posthouse/posthouse.toml.",
)
level_option: Callable[[Any], Any] = click.option(
    "--log-level", type=click.Choice(LOG_LEVELS), default="info", show_default=True
)
json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


@click.group(cls=Posthouse, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="posthouse %(version)s")
def posthouse() -> None:
    """An OpenAI-compatible gateway with a pool of keys, and a WeChat Official Account bot, in one process."""


@posthouse.command()
@config_option
@level_option
def serve(named: Path | None, log_level: str) -> None:
    """Run the daemon. Without a config file, the environment says what is needed."""
    from daemon import config, footprint
    from daemon.reading import settings_of
    from daemon.secret import leave_no_core, secrets_in

    footprint.rush()
    leave_no_core()
    path, settings = settings_of(named)
    footprint.import_structlog()
    footprint.import_aiohttp()
    import asyncio

    import structlog

    from daemon import log, process

    log.configure(log_level, secrets_in(settings))
    for doubt in config.doubts(path, settings, command=_called()):
        structlog.get_logger().warning("config.doubted", why=doubt)

    async def reread() -> Settings:
        _, changed = await asyncio.to_thread(settings_of, path)  # a file may be long in coming
        log.configure(log_level, secrets_in(changed))
        return changed

    process.leave(process.serve(settings, reread))


@posthouse.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in a browser.")
@level_option
def demo(port: int, open_browser: bool, log_level: str) -> None:
    """The whole product on this machine alone: no config, no key, no network."""
    from daemon import log
    from daemon.demo.run import run

    log.configure(log_level)
    click.get_current_context().exit(run(port=port, open_browser=open_browser, log_level=log_level))


@posthouse.command()
@config_option
def check(named: Path | None) -> None:
    """Say everything that is wrong with the config at once."""
    from daemon import certificate, config
    from daemon.reading import settings_of

    path, settings = settings_of(named)
    server = settings.server
    if server.tls_certificate and server.tls_key:
        certificate.read_pair(server.tls_certificate, server.tls_key, time.time())
    for doubt in config.doubts(path, settings, command=_called()):
        click.echo(f"warning: {doubt}", err=True)
    click.echo(f"{path or 'the environment'}: well: {_summary(settings)}")


@posthouse.command()
@click.option("--config", "named", type=click.Path(path_type=Path), metavar="FILE", help="Where to write it.")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.option("--listen", metavar="HOST:PORT", help="Where the daemon listens.")
@click.option("--base-url", metavar="URL", help="The upstream's API.")
@click.option("--model", metavar="NAME", help="The model that answers subscribers.")
@click.option("--account", metavar="gh_…", help="The WeChat account's original id.")
@click.option("--app-id", metavar="wx…", help="Its AppID, for safe mode.")
def init(named: Path | None, yes: bool, **flags: str | None) -> None:
    """Write a config with fresh secrets. An existing one is never touched."""
    from daemon import config, interview
    from daemon.init import Fresh, config_text, create

    path = named or Path(os.environ.get(config.VARIABLE) or config.NAME)
    if path.exists() or path.is_symlink():
        raise FileExistsError(0, "there is one already, which stays as it is", str(path))
    answers = interview.hold(flags, asks=not yes, environ=os.environ)
    fresh = Fresh()
    text = config_text(answers, fresh, _called())
    interview.refuse_what_is_wrong(text, os.environ)
    create(path, text)
    click.echo(f"wrote {path}, which only you can read; after a change:  {_called()} check", err=True)
    for gap in interview.gaps(answers, _called()):
        click.echo(gap, err=True)
    click.echo(f"caller's token, shown this once:   {fresh.caller_token}")
    click.echo(f"password of the status page:       {fresh.password}")
    if answers.account_id:
        click.echo(f"WeChat's console, Token:           {fresh.wechat_token}")
    if answers.app_id:
        click.echo(f"WeChat's console, EncodingAESKey:  {fresh.aes_key}")


@posthouse.command()
@click.argument("name")
def token(name: str) -> None:
    """A new token for the caller NAME, printed once, and the lines for the config."""
    import re

    from daemon.init import caller_lines, new_token

    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", name):
        raise click.BadParameter("expected 1 to 64 letters, digits, dots, hyphens or underscores", param_hint="NAME")
    fresh = new_token()
    click.echo(
        f"{fresh}\n\n# The token is not kept anywhere. Add to the config:\n{caller_lines(name, fresh)}", nl=False
    )


@posthouse.command()
@config_option
@json_option
def keys(named: Path | None, as_json: bool) -> None:
    """How the running daemon's keys are."""
    from daemon import config
    from daemon.listing import key_rows
    from daemon.sqlite.reader import read_health

    seen = config.glance(config.find(named))
    _print(key_rows(read_health(seen.database), time.time(), seen.upstream_of), as_json=as_json)


@posthouse.command()
@config_option
@json_option
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
def pending(named: Path | None, as_json: bool, limit: int) -> None:
    """Questions that subscribers still wait for, oldest first."""
    from daemon import config
    from daemon.listing import pending_rows
    from daemon.sqlite.reader import read_pending

    seen = config.glance(config.find(named))
    exchanges = read_pending(seen.database, limit=limit)
    _print(pending_rows(exchanges, time.time(), show_words=seen.show_words), as_json=as_json)


@posthouse.command()
@config_option
@json_option
@click.option("--days", type=click.IntRange(1, 10_000), default=7, show_default=True, help="Days with any use.")
def usage(named: Path | None, as_json: bool, days: int) -> None:
    """Tokens used, by day, caller, key and model, newest day first."""
    from daemon import config
    from daemon.listing import usage_rows
    from daemon.sqlite.reader import read_usage

    _print(usage_rows(read_usage(config.glance(config.find(named)).database, days=days)), as_json=as_json)


def _called() -> str:
    """As the user called it: in a checkout there is no `posthouse`, but `python -m daemon`."""
    return str(click.get_current_context().find_root().info_name)


def _summary(settings: Settings) -> str:
    counts = (
        (len(settings.keys), "key"),
        (len(settings.proxy.callers), "caller"),
        (len(settings.bot.accounts), "WeChat account"),
    )
    listed = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)
    return f"{listed}; listens on {', '.join(settings.server.listen)}"


def _print(rows: list[Row], *, as_json: bool) -> None:
    import json

    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not rows:
        click.echo("none", err=True)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from daemon.operator.figures import printable

    table = Table(box=None, header_style="bold")
    for name in rows[0]:
        table.add_column(name.replace("_", " "))
    for row in rows:
        # Upstreams' words end here: nothing may move the cursor, and brackets in a reason are no markup.
        table.add_row(*(Text(printable(_text_of(value))) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS).print(table)


def _text_of(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(" ".join(_text_of(part) for part in item.values() if part is not None) for item in value)
    return "" if value is None else str(value)


from daemon import cli_data, cli_doctor  # noqa: E402, F401 - their commands join the group, which must stand before
