"""`python -m benchmark.perf`: measure, and write the figures of this machine."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from benchmark.errors import MedsafeError, unknown
from benchmark.perf.comparisons import epoch, overhead, saliency, sau
from benchmark.perf.experiment import EVERY, experiment, leaderboard
from benchmark.perf.machine import circumstances, describe_machine
from benchmark.perf.measure import Comparison, measure
from benchmark.perf.report import as_json, insert, rows, save, tables

Opened = Callable[[], AbstractContextManager[Comparison]]
COMPARISONS: dict[str, Opened] = {
    "epoch-cnn-small": partial(epoch, "cnn-small", 2400, required=1.5),
    "epoch-resnet18-quarter": partial(epoch, "resnet18-quarter", 960, required=1.2),
    "epoch-resnet18": partial(epoch, "resnet18", 128, required=None),
    "experiment": partial(experiment, 1, 1, EVERY, required=None),
    "overhead": overhead,
    "sau": sau,
    "saliency": saliency,
    "leaderboard": leaderboard,
}
WHOLE: dict[str, Opened] = {"experiment-whole": partial(experiment, 3, 2, 1, required=2.0, once=True)}


def run(
    output: Annotated[Path, typer.Option(help="Folder of the figures, one file for each machine.")],
    only: Annotated[list[str] | None, typer.Option(help="Name of a comparison; may be given again.")] = None,
    repeats: Annotated[int, typer.Option(help="How often each way is timed.")] = 5,
    whole: Annotated[bool, typer.Option("--whole", help="Also the whole experiment, once: takes minutes.")] = False,
    readme: Annotated[Path | None, typer.Option(help="A Markdown file whose table between markers is renewed.")] = None,
) -> None:
    """Measure the suite beside what one would have written instead, in turns."""
    if repeats < 1:
        raise MedsafeError(f"repeats {repeats}: at least 1 is needed, and 5 for figures to publish")
    known = COMPARISONS | WHOLE
    for name in only or []:
        if name not in known:
            raise unknown("comparison", name, known)
    if readme is not None:
        insert(readme.read_text(), "")  # a missing marker is found out before minutes are spent
    for name in [*(only or COMPARISONS), *(WHOLE if whole else ())]:
        conditions, machine = circumstances(), describe_machine()
        with known[name]() as comparison:
            figures = as_json(measure(comparison, repeats), conditions)
        path = save(output, machine, name, figures)
        for row in rows(figures):
            typer.echo(row)
    typer.echo(f"figures: {path}")
    if readme is not None:
        readme.write_text(insert(readme.read_text(), tables(output)))


def main() -> None:
    """Run the command; a user's error is one line on standard error and exit code 2."""
    try:
        typer.run(run)
    except MedsafeError as error:
        typer.echo(f"medsafe perf: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        typer.echo(f"medsafe perf: {error.filename or 'file system'}: {error.strerror or error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
