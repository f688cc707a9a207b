"""
The commands about what is kept, and the one that asks a question. The rules are those of `daemon.cli`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli import FAILED, config_option, json_option, posthouse

if TYPE_CHECKING:
    from daemon.config import Glance
    from daemon.sqlite.reader import Kept

account_option = click.option("--account", metavar="gh_…", help="Of this account alone; default: of all.")


@posthouse.command()
@click.argument("question")
@config_option
@click.option("--model", metavar="NAME", help="Default: bot.model.")
@click.option("--system", metavar="TEXT", help="What the model is told first; default: bot.system_prompt.")
def ask(question: str, named: Path | None, model: str | None, system: str | None) -> None:
    """Ask one QUESTION through the pool, streamed as it is answered; "-" reads it from standard input."""
    from daemon import asking, log
    from daemon.reading import settings_of
    from daemon.secret import secrets_in

    _, settings = settings_of(named)
    log.configure("error", secrets_in(settings))
    if not (model := model or settings.bot.model):
        raise click.UsageError(
            "no model: name one with --model, or set bot.model; BASE_URL/models of the upstream lists them"
        )
    words = sys.stdin.read() if question == "-" else question
    if not words.strip():
        raise click.UsageError("no question")
    prompt = settings.bot.system_prompt if system is None else system
    try:
        asking.ask(settings, words, model=model, system_prompt=prompt, say=lambda piece: click.echo(piece, nl=False))
    except asking.NoAnswer as failure:
        click.echo(f"\nposthouse: {failure}", err=True)
        click.get_current_context().exit(FAILED)
    click.echo()


@posthouse.command()
@click.argument("openid")
@config_option
@account_option
@click.option("--output", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
def export(openid: str, named: Path | None, account: str | None, output: Path | None) -> None:
    """Everything that is kept about the subscriber OPENID, as JSON."""
    from daemon.subscriber_data import document

    seen, kept, accounts = _kept(named, openid, account)
    text = json.dumps(document(openid, kept, accounts, seen.timezone), ensure_ascii=False, indent=2)
    if output is None:
        click.echo(text)
        return
    with os.fdopen(os.open(output, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
    click.echo(f"wrote {output}, which only you can read", err=True)


@posthouse.command()
@click.argument("openid")
@config_option
@account_option
@click.option("--yes", is_flag=True, help="Ask nothing.")
def forget(openid: str, named: Path | None, account: str | None, yes: bool) -> None:
    """Delete everything that is kept about the subscriber OPENID, also while the daemon runs."""
    from daemon import subscriber_data
    from daemon.wiring import gallery_folder_of

    seen, kept, accounts = _kept(named, openid, account)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("nobody can be asked here; say --yes to delete")
        click.confirm(
            f"Delete {len(kept.exchanges)} questions and answers of {', '.join(accounts)}?", abort=True, err=True
        )
    count = subscriber_data.forget(seen.database, gallery_folder_of(seen.database), openid, accounts)
    click.echo(f"deleted: {count} questions and answers; backups made before still have them")


@posthouse.command()
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@json_option
def backup(file: Path, named: Path | None, as_json: bool) -> None:
    """Save the database to FILE, also while the daemon runs. Drawn pictures, which last some days, are not in it."""
    from rich.console import Console
    from rich.progress import Progress

    from daemon import config
    from daemon.sqlite.backup import back_up

    database = config.glance(config.find(named)).database
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("copying", total=None)
        count = back_up(database, file, lambda done, every: progress.update(task, completed=done, total=every))
    size = file.stat().st_size
    if as_json:
        click.echo(json.dumps({"file": str(file), "bytes": size, "questions": count}))
    else:
        click.echo(f"{file}: {size} bytes, {count} questions and answers; whole, as checked")


def _kept(named: Path | None, openid: str, account: str | None) -> tuple[Glance, Kept, list[str]]:
    from daemon import config
    from daemon.sqlite.reader import read_subscriber

    seen = config.glance(config.find(named))
    kept = read_subscriber(seen.database, openid)
    accounts = [each for each in kept.accounts if account in (None, each)]
    if not accounts:
        click.echo(f"posthouse: nothing is kept about {openid}" + (f" of {account}" if account else ""), err=True)
        click.get_current_context().exit(FAILED)
    return seen, kept, accounts
