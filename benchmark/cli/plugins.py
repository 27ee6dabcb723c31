"""Commands for who brings a method: a file to begin with, and the checks."""

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text as Cell

from benchmark.cli.app import Text, app, console, option, path_option, progress, say, set_threads

if TYPE_CHECKING:
    from benchmark.conformance.findings import Finding, Outcome
    from benchmark.isolation.client import AnyPlugin

OUTCOMES: dict["Outcome", str] = {"pass": "green", "warning": "yellow", "fail": "bold red", "skipped": "dim"}
"""What a check may come to, and how it is shown."""
LIMIT_SECONDS = 600.0
"""After which the process of a plugin that does not come to its end is killed."""


@app.command("new-method")
def new_method(
    name: Annotated[str, typer.Argument(help="What the method is called: lower-case letters, digits and _.")],
    kind: Annotated[str, option("unlearning, defense, training-defense or attack.")] = "unlearning",
    output: Annotated[Path, path_option("Folder of the new file.")] = Path(),
) -> None:
    """Write a documented template of a method: it works as it stands, and is yours to change."""
    from benchmark.templates import write_template

    path = write_template(kind, name, output)
    medsafe = "medsafe" if shutil.which("medsafe") else shlex.quote(sys.argv[0])
    file = shlex.quote(str(path))
    say(f"wrote {path}")
    if kind == "attack":
        say(f"run it:    {medsafe} run --method none --attack {name} --attack-plugin {file}")
        return
    attack = "" if kind == "unlearning" else " --attack badnets"
    say(f"check it:  {medsafe} check-method --method {name} --plugin {file}")
    say(f"run it:    {medsafe} run --method {name} --plugin {file}{attack}")


@app.command("check-method")
def check_method(
    method: Annotated[str, option("Name of the method.")],
    plugin: Annotated[Path | None, path_option("A .py file that holds it.")] = None,
    kind: Annotated[Text, option("unlearning or defense, where there is one of each.")] = None,
    threads: Annotated[int, option("CPU threads; images as small as these gain nothing from more.")] = 1,
) -> None:
    """Find out in under a minute whether a method keeps the contract; exit code 1 if not."""
    from benchmark.isolation.client import kind_of, look_up
    from benchmark.isolation.origin import Isolation
    from benchmark.isolation.process import Limits
    from benchmark.templates import kind_named

    set_threads(threads)
    isolation = Isolation(Limits(LIMIT_SECONDS))
    wanted = kind_named(kind) if kind else kind_of(method, plugin, isolation)
    found = look_up(wanted, method, plugin, isolation)
    findings = list(progress(_findings(found), f"checking {method}"))
    _show(findings)
    counts = Counter(finding.outcome for finding in findings)
    say(f"{method}: " + ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome]))
    if counts["fail"]:
        raise typer.Exit(1)


def _findings(plugin: "AnyPlugin") -> Iterator["Finding"]:
    """Here for what comes with the suite, else from a process of its own."""
    from pydantic import TypeAdapter, ValidationError

    from benchmark.checks import BrokenMethod
    from benchmark.conformance import Finding, check_method
    from benchmark.isolation.process import TimedOut
    from benchmark.registry import Plugin

    if isinstance(plugin, Plugin):
        yield from check_method(plugin)
        return
    try:
        yield from map(TypeAdapter(Finding).validate_json, plugin.findings())
    except (BrokenMethod, TimedOut, ValidationError) as error:
        yield Finding("comes_to_an_end", "fail", f"its process {error}")


def _show(findings: list["Finding"]) -> None:
    """A table, and below it what the checks that failed ask for."""
    from benchmark.conformance import CHECKS

    table = Table("check", "outcome", "why", box=None, pad_edge=False)
    for finding in findings:
        outcome = Cell(finding.outcome, OUTCOMES[finding.outcome])
        table.add_row(_printable(finding.name.replace("_", " ")), outcome, _printable(finding.why))
    console.print(table)
    failed = {finding.name for finding in findings if finding.outcome == "fail"}
    for check in CHECKS:
        if check.name in failed:
            say(f"{check.name.replace('_', ' ')}: {check.asks}")


def _printable(text: str) -> Cell:
    """Without markup and control characters: a plugin's process may have written it."""
    return Cell("".join(filter(str.isprintable, text)))
