"""
Findings as a person reads them: by area, in colours, with what to do under what is the matter; and as rows for programs.

Rule: names and headers of strangers end here, so what is shown is printable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from daemon.doctor.finding import Finding, Verdict
from daemon.operator.figures import printable

STYLES: Mapping[Verdict, str] = {Verdict.WELL: "green", Verdict.DOUBT: "bold yellow", Verdict.ILL: "bold red"}
NAMES: Mapping[Verdict, str] = {Verdict.ILL: "ill", Verdict.DOUBT: "in doubt", Verdict.WELL: "well"}
SUBJECT_COLUMNS = 22  # at most; a longer one is folded
VERDICT_COLUMNS = max(map(len, Verdict))


def rows(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [{name: printable(str(value)) for name, value in asdict(finding).items()} for finding in findings]


def show(findings: Sequence[Finding], console: Console) -> None:
    subject_columns = min(SUBJECT_COLUMNS, max((len(finding.subject) for finding in findings), default=0))
    for area, group in groupby(findings, key=lambda finding: finding.area):
        console.print(Text(area, style="bold underline"))
        console.print(_table(list(group), subject_columns))
        console.print()
    console.print(_summary(findings))


def _table(findings: Sequence[Finding], subject_columns: int) -> Table:
    """Of one area; its columns stand under those of the others."""
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=VERDICT_COLUMNS + 2)
    table.add_column(width=subject_columns, overflow="fold")
    table.add_column(ratio=1, overflow="fold")
    before = ""
    for finding in findings:
        verdict = Text(f"  {finding.verdict}", style=STYLES[finding.verdict])
        subject = "" if finding.subject == before else finding.subject
        table.add_row(verdict, Text(printable(subject)), _said(finding))
        before = finding.subject
    return table


def _said(finding: Finding) -> RenderableType:
    what = Text(printable(finding.what))
    return Group(what, _advice(finding.to_do)) if finding.to_do else what


def _advice(text: str) -> Table:
    """Hangs behind its arrow, so that the arrows can be found by eye."""
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_row(Text("→", style="bold"), Text(printable(text), style="bold"))
    return table


def _summary(findings: Sequence[Finding]) -> Text:
    counts = Counter(finding.verdict for finding in findings)
    parts = [Text(f"{counts[verdict]} {name}", STYLES[verdict]) for verdict, name in NAMES.items() if counts[verdict]]
    return Text(", ").join(parts)
