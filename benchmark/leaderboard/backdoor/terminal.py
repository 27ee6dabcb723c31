"""The backdoor leaderboard as a person reads it: a table for each attack, or one of all attacks, 80 columns wide."""

import re
from collections.abc import Iterator

import pandas as pd
from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from benchmark.leaderboard.backdoor.duels import CORE_ATTACKS
from benchmark.leaderboard.layout import empty_table, name_of, parts, percent, with_interval

SETTING = ["dataset", "architecture", "recipe", "augmentation", "pool", "power", "non_member_share", "grouped"]
REFERENCES = {"clean": "clean model", "backdoored": "backdoored", "oracle": "oracle"}
ATTACKS_A_TABLE = 5
LONGEST_NAME = 24
DEFENSE = ["defense", "preset", "version", "hyperparameters"]
OF_A_MATRIX = [
    *DEFENSE, "attack", "rank", "standing", "statuses", "blocks", "asr", "der", "cured_blocks", "backdoored_asr",
    "oracle_asr",
]  # fmt: skip
"""The columns that one is made from: pandas takes time for every further one."""
HEAD_WIDTH = 11
"""Letters of an attack's name on one line."""
HAVE_NO_POOL = ("data-free", "in-training")
ODD = ("apart", "superseded", "control", "attack failed")
"""Standings of one attack, which say nothing of the defence's row."""
SHORT = {
    "exploratory": "expl.",
    "incomplete": "fail",
    "custom": "cust.",
    "reference": "ref.",
    "unpaired": "unp.",
    "control": "ctrl.",
    "apart": "apart",
    "superseded": "old",
    "attack failed": "-",
}
LEGEND = """\
In percent. ACC: accuracy on clean test images; ASR: stamped images of other classes that are taken for the target, ±
its 95 % interval over blocks of one fixed split; RA: the same images, answered rightly. Each is best where the oracle
is, which was retrained without the poison. cured: blocks in which ASR is at most 5 points above the oracle's, ACC and
RA at most 5 below; ✓: all. DER never ranks. Cost: FLOPs over the clean model's training. Rank: over CORE alone, by
attacks cured, then by what is left. An attack below 80 % ASR, or that costs more than 5 points of ACC, or whose stamp
leaves over 1 % of the images as they are, failed, and counts for no defence. Not ranked: expl., too few blocks, or
another attack; unp., other blocks or attacks than most; fail, a block failed, perhaps under another attack; cust., the
user's own hyper-parameters; apart, another preset of the attack, all-to-all, or more than half of the target class
poisoned; old, a superseded version; ref., nothing was done; ctrl., a clean model or no non-members.""".replace(
    "\n", " "
).replace("CORE", " and ".join(CORE_ATTACKS))


def tables(local: pd.DataFrame, published: pd.DataFrame, settings: pd.DataFrame) -> list[Group]:
    """For each setting and attack of `settings` a table of the own rows and one of the published ones.

    Args:
        local: own rows, as of `long_leaderboard`.
        published: rows to stand beside them.
        settings: rows whose settings and attacks are wanted.
    """
    return [
        _of_attack(_title(setting, str(setting[-1]), title), rows)
        for setting, title, rows in parts(local, published, settings, [*SETTING, "attack"])
    ]


def overviews(local: pd.DataFrame, published: pd.DataFrame) -> list[Group]:
    """Each setting of the own rows at a glance: ASR of defences by attacks; a whole table where there is one attack."""
    return [
        piece
        for setting, title, rows in parts(local, published, local, SETTING)
        for piece in _at_a_glance(setting, title, rows)
    ]


def _at_a_glance(setting: tuple[object, ...], title: str, rows: pd.DataFrame) -> Iterator[Group]:
    attacks = _attacks(rows)
    if len(attacks) < 2:
        for attack, part in rows.groupby("attack", sort=False):
            yield _of_attack(_title(setting, str(attack), title), part)
        return
    for portion in _portions(attacks):
        yield _matrix(_title(setting, "ASR", title), rows[OF_A_MATRIX], portion)


def _attacks(rows: pd.DataFrame) -> list[str]:
    """Labels of the attacks: those that rank, the other published ones, other presets."""
    found = rows[rows["goal"] != "none"].drop_duplicates("attack")
    weights = {"other": ~found["attack"].isin(CORE_ATTACKS), "odd": found["attack_preset"] != "published"}
    return list(found.assign(**weights).sort_values(["other", "odd", "attack"])["attack"])


def _portions(attacks: list[str]) -> list[list[str]]:
    """What fits one table; where that is not all, those that rank stand in the first one: most defences meet them."""
    if len(attacks) <= ATTACKS_A_TABLE:
        return [attacks]
    core = [attack for attack in attacks if attack in CORE_ATTACKS]
    others = attacks[len(core) :]
    rest = [others[first : first + ATTACKS_A_TABLE] for first in range(0, len(others), ATTACKS_A_TABLE)]
    return [core, *rest] if core else rest


def _title(setting: tuple[object, ...], about: str, end: str) -> str:
    *where, pool, power = setting[:6]
    defender = power if power in HAVE_NO_POOL else pool if power == "post-training" else f"{pool} · {power}"
    return f"{' · '.join(map(str, [*where, defender, about]))}: {end}"


def _of_attack(title: str, rows: pd.DataFrame) -> Group:
    """The defences against one attack; a line where it failed."""
    best = _fullest(rows)
    if best["standing"] == "attack failed":
        asr = f" (mean ASR {percent(best['backdoored_asr'])})" if pd.notna(best["backdoored_asr"]) else ""
        return _headed(title, Text(f" attack failed{asr}: {best['gate']}"))
    table = empty_table(None, ["defence"], ["blocks", "ACC", "ASR", "RA", "cured", "DER", "cost"])
    for reference, words in REFERENCES.items():
        rates = [percent(best[f"{reference}_{name}"]) for name in ("acc", "asr", "recovery")]
        table.add_row("", words, str(best["blocks"]), *rates, "", "", "", style="dim")
    for _, row in rows.iterrows():
        table.add_row(*_cells(row))
    return _headed(title, table)


def _fullest(rows: pd.DataFrame) -> pd.Series:
    """The row with most blocks: the scores of the reference models are taken from it."""
    known = rows.assign(known=rows["backdoored_asr"].notna())
    return known.sort_values(["blocks", "known"], ascending=False, kind="stable").iloc[0]


def _cells(row: pd.Series) -> list[str]:
    judged = pd.notna(row["der"])
    return [
        _place(row),
        name_of(row, "defense"),
        str(row["blocks"]),
        percent(row["acc"]),
        with_interval(row, "asr"),
        percent(row["recovery"]),
        f"{row['cured_blocks']}/{row['blocks']}" if judged else "-",
        percent(row["der"]),
        percent(row["flops_share"], whole_from=0.9995),
    ]


def _matrix(title: str, rows: pd.DataFrame, attacks: list[str]) -> Group:
    """Defences by attacks: ASR, with a mark where every block is cured."""
    table = empty_table(None, ["defence"], [])
    for attack in attacks:
        table.add_column(escape(_folded(attack)), justify="right", overflow="fold")
    fullest = {attack: _fullest(rows[rows["attack"] == attack]) for attack in attacks}
    for reference in ("backdoored", "oracle"):
        rates = [percent(fullest[attack][f"{reference}_asr"]) for attack in attacks]
        table.add_row("", REFERENCES[reference], *(f"{rate}  " for rate in rates), style="dim")
    names = [REFERENCES["backdoored"]]
    for _, own in rows.groupby(DEFENSE, sort=False):
        results = {row["attack"]: _result(row) for _, row in own[own["attack"].isin(attacks)].iterrows()}
        if results:
            usual = _usual(own)
            names.append(name_of(usual, "defense"))
            table.add_row(_place(usual), names[-1], *(results.get(attack, "") for attack in attacks))
    table.columns[1].min_width = min(LONGEST_NAME, max(map(len, names)))
    return _headed(title, table)


def _usual(own: pd.DataFrame) -> pd.Series:
    """The defence's row under the attack that says most of its place: one that ranks, if possible."""
    weights = own.assign(odd=own["standing"].isin(ODD), other=~own["attack"].isin(CORE_ATTACKS))
    return weights.sort_values(["rank", "odd", "other"], kind="stable").iloc[0]


def _folded(label: str) -> str:
    """An attack's label on several lines: its name, parted at underscores, and below it what is behind a hyphen."""
    name, hyphen, variant = label.partition("-")
    lines = [*_lines(re.findall(r"[^_]*_|[^_]+", name)), *_lines(re.findall(r"-[^-]*", hyphen + variant))]
    return "\n".join(lines)


def _lines(parts_of_name: list[str]) -> list[str]:
    lines = parts_of_name[:1]
    for part in parts_of_name[1:]:
        if len(lines[-1] + part) > HEAD_WIDTH:
            lines.append(part)
        else:
            lines[-1] += part
    return lines


def _headed(title: str, content: Table | Text) -> Group:
    """A title that may be wider than what stands below it."""
    return Group(Text(title, style="bold"), content)


def _result(row: pd.Series) -> str:
    if row["standing"] == "attack failed":
        return "failed"
    if pd.isna(row["asr"]):
        return SHORT["incomplete"]
    cured = pd.notna(row["der"]) and row["cured_blocks"] == row["blocks"]
    return f"{percent(row['asr'])} {'✓' if cured else ' '}"


def _place(row: pd.Series) -> str:
    return str(int(row["rank"])) if pd.notna(row["rank"]) else SHORT[row["standing"]]
