"""What the terminal tables of every track share: which rows stand together, and how a number looks in percent."""

from collections.abc import Iterator, Sequence

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

Setting = tuple[object, ...]


def parts(
    local: pd.DataFrame, published: pd.DataFrame, shown: pd.DataFrame, by: Sequence[str]
) -> Iterator[tuple[Setting, str, pd.DataFrame]]:
    """The rows of each table: for each setting of `shown` the own ones and the published ones, as far as there are any.

    Args:
        local: own rows.
        published: rows to stand beside them.
        shown: rows whose settings are wanted.
        by: the columns that name a setting.

    Yields:
        The setting, the end of the title, and the rows: several times where rows look alike but do not compete (other
        data, versions, number of Retrains).
    """
    for setting in dict.fromkeys(shown[list(by)].itertuples(index=False, name=None)):
        for title, rows in (("own runs", local), ("published", published)):
            same = rows[(rows[list(by)] == list(setting)).all(axis=1)]
            competing = [part for _, part in same.groupby("setting", sort=False)]
            for part in competing:
                yield setting, f"{title} (setting {part['setting'].iloc[0]})" if competing[1:] else title, part


def empty_table(title: str | None, left: Sequence[str], right: Sequence[str]) -> Table:
    """A table with a column for places, columns of text that may be folded, and columns of numbers."""
    table = Table(
        title=title and escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0,
        show_edge=False,
    )  # fmt: skip
    table.add_column("rank", justify="right", no_wrap=True)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def name_of(row: pd.Series, column: str) -> str:
    """A method with its preset, and with its statuses where one of these blocks failed."""
    preset = "" if row["preset"] == "published" else f" ({row['preset']})"
    only_ok = row["statuses"].startswith("ok") and " " not in row["statuses"]  # it failed under another attack then
    statuses = f"\n{row['statuses']}" if row["standing"] == "incomplete" and not only_ok else ""
    return escape(f"{row[column]}{preset}{statuses}")


def with_interval(row: pd.Series, name: str) -> str:
    """A mean with half the width of its interval."""
    if pd.isna(row[name]) or pd.isna(row[f"{name}_high"]):
        return percent(row[name])
    return f"{percent(row[name])} ±{100 * (row[f'{name}_high'] - row[name]):.1f}"


def percent(value: float, whole_from: float = 1.1) -> str:
    """Tenths of a percent, but for large values, whose digits would cost the method's name its place."""
    if pd.isna(value):
        return "-"
    return f"{100 * value:.1f}" if value < whole_from else f"{100 * value:.0f}"
