"""`medsafe doctor`."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from benchmark.cli.app import OWN, Results, app, console, path_option

if TYPE_CHECKING:
    from benchmark.doctor import Finding

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@app.command()
def doctor(
    data_root: Annotated[Path | None, path_option("The only folder in which data sets are looked for.")] = None,
    results: Results = OWN,
) -> None:
    """Check device, versions, data, cache, results and sandbox, and say what to do about what is wrong."""
    from benchmark.doctor import examine
    from benchmark.store.artifacts import default_cache

    levels: Counter[str] = Counter()
    for finding in examine(results, default_cache(), data_root):
        levels[finding.level] += 1
        console.print(_shown(finding), soft_wrap=True)
    console.print(f"problems: {levels['problem']}, warnings: {levels['warning']}")
    if levels["problem"]:
        raise typer.Exit(1)


def _shown(finding: "Finding") -> Text:
    """One line, and a second that says what to do."""
    line = Text.assemble((f"{finding.level:8}", STYLES[finding.level]), f"{finding.subject:15} {finding.what}")
    return line.append(f"\n{'':8}{'':15} -> {finding.remedy}" if finding.remedy else "")
