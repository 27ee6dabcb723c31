"""Commands on data sets: `medsafe data audit`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmark.cli.app import app, console, option, path_option, say, set_threads

data = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at data sets.")
app.add_typer(data, name="data")


@data.command()
def audit(
    dataset: Annotated[str, typer.Argument(help="Name of a data set, or an .npz file.")],
    data_root: Annotated[Path | None, path_option("Folder with MedMNIST's files.")] = None,
    output: Annotated[Path, path_option("Folder for the CSV and the page with pictures.")] = Path("duplicates"),
    near: Annotated[float, option("Similarity from which on two images are near duplicates, between 0 and 1.")] = 0.9,
    threads: Annotated[int | None, option("CPU threads.")] = None,
) -> None:
    """Find exact and near duplicates within and across splits, and those whose labels differ."""
    from benchmark.data.audit import KINDS, audit, counts, csv_of
    from benchmark.data.audit_page import GROUPS, audit_page
    from benchmark.data.datasets import load_dataset
    from benchmark.store.files import write_atomically

    set_threads(threads)
    loaded = load_dataset(dataset, data_root)
    groups = audit(loaded, near)
    train, val, test = loaded.sizes
    say(f"{loaded.name}: {train} train, {val} val and {test} test images")
    console.print(_summary({kind: counts(groups, kind) for kind in KINDS}))
    page = output / f"{loaded.name}.html"
    write_atomically(page.with_suffix(".csv"), csv_of(groups).encode())
    write_atomically(page, audit_page(loaded, groups, near).encode())
    say(f"every image of every group: {page.with_suffix('.csv')}")
    say(f"pictures of {min(len(groups), GROUPS)} of {len(groups)} groups: {page}")
    say("near duplicates are for people to look at: no split changes, and runs keep only exact copies together")


def _summary(counts: Mapping[str, dict[str, int]]) -> Table:
    """A line for each count, a column for each kind."""
    table = Table("", box=SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for kind in counts:
        table.add_column(kind, justify="right")
    for what, *numbers in zip(next(iter(counts.values())), *(found.values() for found in counts.values()), strict=True):
        table.add_row(what, *map(str, numbers))
    return table
