"""Leaderboards, figures and method cards -> one HTML file that works from a folder, without any network."""

import base64
import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmark.leaderboard.page.columns import ColumnFacts, facts
from benchmark.leaderboard.page.views import VIEWS, View
from benchmark.leaderboard.table import described
from benchmark.store.files import write_atomically

if TYPE_CHECKING:
    from benchmark.describe import Description
    from benchmark.leaderboard.figures import Figure

PACKAGE = "benchmark.leaderboard.page"
SCRIPTS = ("csv.js", "cells.js", "rows.js", "table.js", "page.js")
LEVELS = (0.02, 0.05, 0.15)
"""Distances to the target at which a cell's colour changes: within the first, PROTOCOL 3.3 calls two models equal."""
KINDS = {"unlearning": "Unlearning methods", "defenses": "Backdoor defences", "attacks": "Backdoor attacks"}


@dataclass(frozen=True)
class Table:
    """One tab with rows."""

    view: View
    text: str
    """The CSV file, as it lies on the disk."""
    columns: Sequence[ColumnFacts]
    rows: int
    groups: int
    protocols: Sequence[str]

    @property
    def definition(self) -> dict[str, object]:
        """What the script has to know."""
        return asdict(self.view) | {"columns": [asdict(column) for column in self.columns], "levels": LEVELS}


def write_page(
    results: Path,
    descriptions: Sequence["Description"] = (),
    figures: Sequence["Figure"] = (),
    left_out: Mapping[str, int] = MappingProxyType({}),
) -> Path:
    """Write `index.html` of a results folder from its CSV files; the same files give the same bytes.

    Args:
        results: the folder; `triggers.png` is shown where there is one.
        descriptions: the methods that get a card.
        figures: drawn from the same records, each shown below its track's table.
        left_out: track -> number of settings without figures.
    """
    path = results / "index.html"
    html = _render(
        tables=list(_tables(results / "leaderboards")),
        cards=[(kind, title, [card for card in descriptions if card.kind == kind]) for kind, title in KINDS.items()],
        figures=_by_track(figures),
        left_out=left_out,
        triggers=_data_uri(results / "triggers.png"),
    )
    write_atomically(path, html.encode())
    return path


def _render(tables: Sequence[Table], **content: object) -> str:
    environment = Environment(
        loader=PackageLoader(PACKAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script = "\n".join(_template(name) for name in SCRIPTS)
    return environment.get_template("index.html").render(
        tables=tables,
        tabs=[*((table.view.key, table.view.title) for table in tables), ("methods", "Methods")],
        protocols=sorted({protocol for table in tables for protocol in table.protocols}),
        levels=LEVELS,
        style=_template("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **content,
    )


def _tables(folder: Path) -> Iterator[Table]:
    """The tables that have rows."""
    for view in VIEWS:
        path = folder / view.file
        table = _table(view, path.read_bytes().decode()) if path.exists() else None
        if table and table.rows:
            yield table


def _table(view: View, text: str) -> Table:
    names = next(csv.reader(StringIO(text)))
    frame = pd.read_csv(StringIO(text), usecols=[*view.group, "protocol_version"], dtype=str)
    return Table(
        view,
        text,
        facts(view.file, names, dict(described()[view.file])),
        rows=len(frame),
        groups=len(frame.drop_duplicates(list(view.group))),
        protocols=sorted(frame["protocol_version"].unique()),
    )


def _by_track(figures: Sequence["Figure"]) -> dict[str, dict[str, list["Figure"]]]:
    """Track -> setting -> figures, in the order given."""
    found: dict[str, dict[str, list[Figure]]] = {}
    for figure in figures:
        found.setdefault(figure.track, {}).setdefault(figure.setting, []).append(figure)
    return found


def _data_uri(path: Path) -> str | None:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}" if path.exists() else None


def _template(name: str) -> str:
    return (files(PACKAGE) / "templates" / name).read_text(encoding="utf-8")
