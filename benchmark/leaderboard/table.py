"""Records -> `unlearning.csv`; and all the files of a folder of leaderboards, with their documentation."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.leaderboard import audits
from benchmark.leaderboard.backdoor import table as backdoor
from benchmark.leaderboard.blocks import Floats
from benchmark.leaderboard.cells import Cell
from benchmark.leaderboard.columns import columns
from benchmark.leaderboard.groups import Group, families, group_records
from benchmark.leaderboard.spreadsheet import csv_of
from benchmark.store.files import remove_leftovers, write_atomically
from benchmark.store.records import Record, RecordStore
from metrics.intervals import holm, paired_t

FAMILY_COLUMNS = {
    "rank": "place by avg_gap among the ranked rows of the same setting",
    "p_vs_finetune": "paired t-test of avg_gap against finetune over blocks, "
    "Holm-adjusted over all ranked rows of the data set and scenario (PROTOCOL 3.3)",
}


def leaderboard(records: Iterable[Record]) -> pd.DataFrame:
    """One row per data set x architecture x recipe x scenario x method x preset; rates are fractions.

    Rows of one setting stand together, ranked ones first and by avg_gap.
    """
    settings = families(group_records(records, "unlearning"))
    p_values = _tests(settings)
    names = [*FAMILY_COLUMNS, *(column.name for column in columns())]
    rows = [row for family in settings for row in _family(family, p_values)]
    return pd.DataFrame(rows, columns=names)


@dataclass(frozen=True, eq=False)
class Leaderboards:
    """Records and their tables, each made once, when it is first asked for."""

    records: Sequence[Record]

    @cached_property
    def unlearning(self) -> pd.DataFrame:
        """A row for each method in each setting."""
        return leaderboard(self.records)

    @cached_property
    def audits(self) -> pd.DataFrame:
        """A row for each audited method in each setting."""
        return audits.audits(self.records)

    @cached_property
    def backdoor(self) -> pd.DataFrame:
        """A row for each defence in each setting."""
        return backdoor.leaderboard(self.records)

    @cached_property
    def backdoor_long(self) -> pd.DataFrame:
        """A row for each defence and attack in each setting."""
        return backdoor.long_leaderboard(self.records)


def write_leaderboard(results: Path, tables: Leaderboards | None = None) -> list[Path]:
    """Rebuild a results folder's leaderboards from its records alone; returns the CSV files that there are now.

    `unlearning.csv` is always one of them; any other table without rows leaves no file.

    Args:
        results: the folder.
        tables: those of its records, where somebody has made them already.
    """
    made = tables or Leaderboards(list(RecordStore(results)))
    folder = results / "leaderboards"
    frames = {
        "unlearning.csv": made.unlearning,
        "backdoor.csv": made.backdoor,
        "backdoor_long.csv": made.backdoor_long,
        audits.FILE: made.audits,
    }
    for name, frame in frames.items():
        if len(frame) or name == "unlearning.csv":
            write_atomically(folder / name, csv_of(frame))
        else:
            (folder / name).unlink(missing_ok=True)
    write_atomically(folder / "README.md", documentation().encode())
    remove_leftovers(folder)
    return [folder / name for name in frames if (folder / name).exists()]


ABOUT = {
    "unlearning.csv": "one row per data set, architecture, recipe, scenario, method and preset",
    "backdoor.csv": "one row per data set, architecture, recipe, defender's pool, defence and preset, with means "
    f"over the core attacks; each attack has its own columns, in place of `{backdoor.PLACEHOLDER}`",
    "backdoor_long.csv": "the same with one row for each attack, and with everything that is known of it; there only "
    "where there are backdoor runs, as `backdoor.csv`",
    audits.FILE: "one row per data set, architecture, recipe, scenario, number of shadows, method and preset; blocks "
    "are audit targets; there only where there are audits",
}


def documentation() -> str:
    """What every column of every file means, from the declarations themselves."""
    return "\n".join(_described(name, meanings) for name, meanings in described().items())


def described() -> dict[str, list[tuple[str, str]]]:
    """File -> what each of its columns means."""
    own = [*FAMILY_COLUMNS.items(), *((column.name, column.description) for column in columns())]
    audited = [(column.name, column.description) for column in audits.audit_columns()]
    return {"unlearning.csv": own} | backdoor.described() | {audits.FILE: audited}


def _described(file: str, meanings: Iterable[tuple[str, str]]) -> str:
    rows = "\n".join(f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in meanings)
    return (
        f"# Columns of `{file}`\n\nGenerated by `medsafe leaderboard`; {ABOUT[file]}. Rates are fractions. An empty "
        "cell is a number that does not exist: unresolved by the sample, or no block was scored.\n\n"
        f"| column | meaning |\n|---|---|\n{rows}\n"
    )


def _family(groups: list[Group], p_values: Mapping[Group, float]) -> list[dict[str, Cell]]:
    """The rows of one setting in order; those that may be ranked and have the same blocks get their place."""
    wanted = columns()
    rows = [{column.name: column.produce(group) for column in wanted} for group in groups]
    paired = _paired(groups)
    for row, group in zip(rows, groups, strict=True):
        row["p_vs_finetune"] = p_values.get(group)
        if row["standing"] == "ranked" and group not in paired:
            row["standing"] = "unpaired"
    rows.sort(key=lambda row: (row["standing"] != "ranked", _sortable(row["avg_gap"]), row["method"]))
    gaps = [round(_sortable(row["avg_gap"]), 6) for row in rows if row["standing"] == "ranked"]
    for row, gap in zip(rows, gaps, strict=False):  # the ranked rows come first
        row["rank"] = 1 + gaps.index(gap)  # equal gaps share a place
    return rows


def _paired(groups: list[Group]) -> list[Group]:
    """The rows that may be ranked and share the blocks that most of these have: only they compare (PROTOCOL 1.1)."""
    ranked = [group for group in groups if group.standing == "ranked"]
    counts = Counter(tuple(group.blocks) for group in ranked)
    best = max(counts, key=lambda blocks: (counts[blocks], len(blocks))) if counts else ()
    return [group for group in ranked if tuple(group.blocks) == best]


def _tests(settings: list[list[Group]]) -> dict[Group, float]:
    """Adjusted p-values against `finetune`, one family per data set x scenario (PROTOCOL 3.3)."""
    tests = defaultdict(list)
    for groups in settings:
        ranked = _paired(groups)
        base = max((g for g in ranked if _is_base(g)), key=lambda g: int(g.spec["method"]["version"]), default=None)
        for group in ranked:
            if base is not None and group is not base and group.headline == base.headline:
                p_value = paired_t(_gap_of(group), _gap_of(base))
                tests[group.spec["data"]["sha256"], group.spec["scenario"]].append((group, p_value))
    families_of_tests = [(zip(*tested, strict=True)) for tested in tests.values()]
    return {group: float(p) for members, raw in families_of_tests for group, p in zip(members, holm(raw), strict=True)}


def _is_base(group: Group) -> bool:
    method = group.spec["method"]
    built_in = str(method["version"]).isdigit()
    return built_in and (method["name"], method["preset"]) == ("finetune", "published")


def _gap_of(group: Group) -> Floats:
    return np.zeros(0) if group.average_gap is None else group.average_gap


def _sortable(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.inf
