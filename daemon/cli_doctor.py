"""
`posthouse doctor`. The rules are those of `daemon.cli`; 1 is when something is ill.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from daemon.cli import FAILED, PIPE_COLUMNS, config_option, json_option, posthouse
from daemon.doctor.finding import Area, is_ill


@posthouse.command()
@config_option
@json_option
@click.option(
    "--only",
    "named_areas",
    type=click.Choice([area.value for area in Area]),
    multiple=True,
    metavar="AREA",
    help=f"This area alone; may be repeated. Areas: {', '.join(Area)}.",
)
def doctor(named: Path | None, as_json: bool, named_areas: tuple[str, ...]) -> None:
    """Look at what can be wrong around the daemon, whether it runs or not, and say what to do."""
    import asyncio

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    from daemon import config, log
    from daemon.doctor import report
    from daemon.doctor.examination import examine
    from daemon.doctor.findings import findings
    from daemon.reading import settings_of
    from daemon.secret import secrets_in

    path, settings = settings_of(named)
    log.configure("critical", secrets_in(settings))
    areas = [Area(area) for area in named_areas] or list(Area)
    console = Console(stderr=True)
    columns = SpinnerColumn(), BarColumn(20), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        def tell(waited_for: str, done: int, planned: int) -> None:
            progress.update(task, description=waited_for, completed=done, total=planned)

        facts = asyncio.run(examine(settings, areas=areas, tell=tell))
    called = str(click.get_current_context().find_root().info_name)
    found = findings(
        facts,
        settings,
        areas=areas,
        source=str(path or "the environment"),
        doubts=config.doubts(path, settings, command=called),
        now=time.time(),
    )
    if as_json:
        click.echo(json.dumps(report.rows(found), ensure_ascii=False, indent=2))
    else:
        report.show(found, Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS))
    if is_ill(found):
        click.get_current_context().exit(FAILED)
