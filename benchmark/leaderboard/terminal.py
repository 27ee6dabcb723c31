"""The leaderboard as a person reads it after a run: one table a setting, in percent, 80 columns wide."""

import pandas as pd
from rich.table import Table

from benchmark.leaderboard.layout import empty_table, name_of, parts, percent, with_interval

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
    return [
        _table(f"{' · '.join(map(str, setting[:5]))}: {title}", rows)
        for setting, title, rows in parts(local, published, settings, SETTING)
    ]


def _table(title: str, rows: pd.DataFrame) -> Table:
    table = empty_table(title, ["method"], ["blocks", *HEADLINE.values(), "Gap", "AUC", "cost"])
    _add_references(table, rows)
    for _, row in rows.iterrows():
        table.add_row(*_cells(row))
    return table


def _add_references(table: Table, rows: pd.DataFrame) -> None:
    """What the methods are measured against, from the row with most blocks."""
    complete = rows[rows["standing"] != "incomplete"]  # the others have no means
    row = (complete if len(complete) else rows).sort_values("blocks", ascending=False, kind="stable").iloc[0]
    null = f"{percent(row['avg_gap_null'])} null"
    for label, reference, gap in (("Original", "original", ""), (f"{row['retrains']} Retrains", "retrain", null)):
        values = [percent(row[f"{reference}_{metric}"]) for metric in HEADLINE]
        cells = ["", label, str(row["blocks"]), *(f"{value}  " for value in values), gap]
        table.add_row(*cells, percent(row[f"{reference}_mia_loss_auc"]), "", style="dim")


def _cells(row: pd.Series) -> list[str]:
    return [
        str(int(row["rank"])) if pd.notna(row["rank"]) else SHORT[row["standing"]],
        name_of(row, "method"),
        str(row["blocks"]),
        *(f"{percent(row[metric])} {MARKS.get(row[f'{metric}_verdict'], ' ')}" for metric in HEADLINE),
        with_interval(row, "avg_gap"),
        percent(row["mia_loss_auc"]),
        percent(row["flops_share"], whole_from=0.9995),
    ]
