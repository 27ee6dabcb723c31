"""The leaderboard as a person reads it after a run: one table a setting, in percent, 80 columns wide."""

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

SETTING = ["dataset", "architecture", "recipe", "augmentation", "scenario", "non_member_share", "grouped", "original"]
MARKS = {"matches": "=", "differs": "≠", "undetermined": "?"}
HEADLINE = {"ua": "UA", "ra": "RA", "ta": "TA", "mia_svc": "MIA"}
SHORT = {
    "exploratory": "expl.",
    "incomplete": "fail",
    "custom": "cust.",
    "reference": "ref.",
    "unpaired": "unp.",
    "control": "ctrl.",
}
LEGEND = """\
In percent. UA: error on the forgotten images; RA, TA: accuracy on the retained and the test images; MIA: share of the
forgotten that an attack calls never trained on. Each is best where Retrain is: = matches within 2 points, ≠ differs,
? undetermined. Gap: mean distance to Retrain over these four, ± its 95 % interval over blocks of one fixed split; lower
is better, and chance alone gives the null. AUC: loss attack; above Retrain's, forgotten images still look trained-on,
below it they were forgotten too much. Cost: FLOPs over the Original's training. Not ranked: expl., too few blocks;
unp., other blocks than the rest; fail, a block failed; cust., the user's own hyper-parameters or Original; ref., not a
competitor; ctrl., without non-members.""".replace("\n", " ")


def tables(local: pd.DataFrame, published: pd.DataFrame, settings: pd.DataFrame) -> list[Table]:
    """For each setting of `settings` the tables of the own rows and of the published ones, as far as there are any."""
    wanted = [tuple(setting) for setting in settings[SETTING].drop_duplicates().itertuples(index=False)]
    pairs = [(setting, title, _rows_of(rows, setting)) for setting in wanted for title, rows in
             (("own runs", local), ("published", published))]  # fmt: skip
    return [
        table
        for setting, title, rows in pairs
        for table in _tables(f"{' · '.join(map(str, setting[:5]))}: {title}", rows)
    ]


def _rows_of(rows: pd.DataFrame, setting: tuple[object, ...]) -> pd.DataFrame:
    return rows[(rows[SETTING] == list(setting)).all(axis=1)]


def _tables(title: str, rows: pd.DataFrame) -> list[Table]:
    """One table, or several where rows look alike but do not compete: other data, versions, number of Retrains."""
    parts = [part for _, part in rows.groupby("setting", sort=False)]
    return [_table(f"{title} (setting {part['setting'].iloc[0]})" if parts[1:] else title, part) for part in parts]


def _table(title: str, rows: pd.DataFrame) -> Table:
    table = Table(
        title=escape(title), title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=0, show_edge=False
    )
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("method", overflow="fold")
    for name in ("blocks", *HEADLINE.values(), "Gap", "AUC", "cost"):
        table.add_column(name, justify="right", no_wrap=True)
    _add_references(table, rows)
    for _, row in rows.iterrows():
        table.add_row(*_cells(row))
    return table


def _add_references(table: Table, rows: pd.DataFrame) -> None:
    """What the methods are measured against, from the row with most blocks."""
    complete = rows[rows["standing"] != "incomplete"]  # the others have no means
    row = (complete if len(complete) else rows).sort_values("blocks", ascending=False, kind="stable").iloc[0]
    null = f"{_percent(row['avg_gap_null'])} null"
    for label, reference, gap in (("Original", "original", ""), (f"{row['retrains']} Retrains", "retrain", null)):
        values = [_percent(row[f"{reference}_{metric}"]) for metric in HEADLINE]
        cells = ["", label, str(row["blocks"]), *(f"{value}  " for value in values), gap]
        table.add_row(*cells, _percent(row[f"{reference}_mia_loss_auc"]), "", style="dim")


def _cells(row: pd.Series) -> list[str]:
    preset = "" if row["preset"] == "published" else f" ({row['preset']})"
    statuses = f"\n{row['statuses']}" if row["standing"] == "incomplete" else ""
    return [
        str(int(row["rank"])) if pd.notna(row["rank"]) else SHORT[row["standing"]],
        escape(f"{row['method']}{preset}{statuses}"),
        str(row["blocks"]),
        *(f"{_percent(row[metric])} {MARKS.get(row[f'{metric}_verdict'], ' ')}" for metric in HEADLINE),
        _with_interval(row, "avg_gap"),
        _percent(row["mia_loss_auc"]),
        _percent(row["flops_share"], whole_from=0.9995),
    ]


def _with_interval(row: pd.Series, name: str) -> str:
    if pd.isna(row[name]) or pd.isna(row[f"{name}_high"]):
        return _percent(row[name])
    return f"{_percent(row[name])} ±{100 * (row[f'{name}_high'] - row[name]):.1f}"


def _percent(value: float, whole_from: float = 1.1) -> str:
    """Tenths of a percent, but for large values, whose digits would cost the method's name its place."""
    if pd.isna(value):
        return "-"
    return f"{100 * value:.1f}" if value < whole_from else f"{100 * value:.0f}"
