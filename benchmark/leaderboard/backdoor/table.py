"""Records -> `backdoor.csv` and `backdoor_long.csv`."""

from collections.abc import Collection, Iterable

import pandas as pd

from benchmark.leaderboard.backdoor import columns, long
from benchmark.leaderboard.backdoor.duels import CORE_ATTACKS, Duel
from benchmark.leaderboard.backdoor.rows import Place, Row, families
from benchmark.store.records import Record

FAMILY_COLUMNS = {
    "rank": "place among the ranked rows of the same setting and power: by core_cured, then by residual; both are over "
    f"{' and '.join(CORE_ATTACKS)} in their published form, as far as they pass the gate",
    "standing": "ranked; or exploratory (too few blocks, or no core attack), unpaired (other core attacks or blocks "
    "than most rows), incomplete (a block failed under a core attack), superseded (there is a newer version of the "
    "defence), custom, reference, control, apart (no attack that is counted), attack failed (every core attack did)",
}
LONG_FAMILY_COLUMNS = {
    "rank": "place of the defence over the core attacks, as in `backdoor.csv`; empty under any other attack",
    "standing": "that of the row in `backdoor.csv`; or, for this attack alone: attack failed, incomplete, control, "
    "exploratory (no core attack), custom (attack with the user's own hyper-parameters), superseded (there is a newer "
    "version of the attack), apart (another preset, all-to-all, or more than half of the target class poisoned)",
    "power": "what the defender may do: post-training, data-free or in-training; ranked apart",
}
OF_THE_CORE = ("ranked", "unpaired", "incomplete", "attack failed")
"""Standings that come from the core attacks alone."""
PLACEHOLDER = "<attack>"
"""Stands for an attack's short name in the documentation."""


def leaderboard(records: Iterable[Record]) -> pd.DataFrame:
    """One row per setting x defence x preset: the means over attacks, and a few columns for each attack."""
    placed = [item for family in families(records) for item in family]
    wanted = columns.columns(_attacks(row for row, _ in placed))
    rows = [
        {"rank": place.rank, "standing": place.standing, **{column.name: column.produce(row) for column in wanted}}
        for row, place in placed
    ]
    return pd.DataFrame(rows, columns=[*FAMILY_COLUMNS, *(column.name for column in wanted)])


def long_leaderboard(records: Iterable[Record], runs: Collection[str] | None = None) -> pd.DataFrame:
    """One row per setting x defence x preset x attack, with everything; in the order of the defences.

    Args:
        records: all that there are: names, gates and ranks follow from all of them together.
        runs: only the rows that one of these records is part of, by id.
    """
    wanted = long.columns()
    rows = [
        {**_position(duel, row, place), **{column.name: column.produce(duel) for column in wanted}}
        for family in families(records)
        for row, place in family
        for duel in row.duels
        if runs is None or any(record["id"] in runs for record in duel.records)
    ]
    return pd.DataFrame(rows, columns=[*LONG_FAMILY_COLUMNS, *(column.name for column in wanted)])


def described() -> dict[str, list[tuple[str, str]]]:
    """File -> what each of its columns means."""
    wide, whole = columns.columns([PLACEHOLDER]), long.columns()
    return {
        "backdoor.csv": [*FAMILY_COLUMNS.items(), *((column.name, column.description) for column in wide)],
        "backdoor_long.csv": [*LONG_FAMILY_COLUMNS.items(), *((column.name, column.description) for column in whole)],
    }


def _attacks(rows: Iterable[Row]) -> list[str]:
    """Labels of the attacks, in order: those that rank, those that are counted, the others."""
    weights: dict[str, int] = {}
    for duel in (duel for row in rows for duel in row.duels if duel.goal != "none"):
        weights[duel.label] = max(weights.get(duel.label, 0), duel.counts + duel.core)
    return sorted(weights, key=lambda label: (-weights[label], label))


def _position(duel: Duel, row: Row, place: Place) -> dict[str, str | int | None]:
    if duel.failed:
        standing = "attack failed"
    elif not duel.complete:
        standing = "incomplete"
    elif duel.goal == "none":
        standing = "control"
    elif duel.apart is None and not duel.core and place.standing in OF_THE_CORE:
        standing = "exploratory"
    else:
        standing = duel.apart or place.standing
    return {"rank": place.rank if standing == "ranked" else None, "standing": standing, "power": row.power}
