"""The columns of `backdoor.csv`, each declared once; those that `backdoor_long.csv` shares stand first."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

from benchmark.leaderboard.backdoor.duels import CORE_ATTACKS, Duel
from benchmark.leaderboard.backdoor.rows import Row
from benchmark.leaderboard.cells import (
    Cell,
    Column,
    counts,
    devices,
    interval,
    mean,
    mean_cost,
    named,
    notes,
    short_name,
)
from benchmark.submission.verification import VERIFIED, count_verified
from metrics.backdoor import METRICS

GAPS = ("acc_gap", "asr_gap", "recovery_gap")
"""The headline (PROTOCOL 7.3)."""
CORE = f"the core attacks ({' and '.join(CORE_ATTACKS)})"
COST = "FLOPs of the defence over those of training the clean model, the Original (PROTOCOL 4.3)"


def setting_columns() -> Iterator[Column[Any]]:
    """What was defended, by whom; of whatever has a spec."""
    yield Column("dataset", "name that the data deserve", lambda row: row.spec["data"]["name"])
    yield Column("architecture", "network", lambda row: row.spec["architecture"])
    yield Column("recipe", "how every model is trained", lambda row: row.spec["recipe"]["name"])
    yield Column("augmentation", "the recipe's augmentation policy", lambda row: row.spec["recipe"]["augmentation"])
    yield Column("precision", "number format of training", lambda row: row.spec["recipe"]["precision"])
    yield Column(
        "non_member_share",
        "share of official train that no model sees; 0 is the official-accuracy control",
        lambda row: row.spec["data"]["non_member_share"],
    )
    yield Column(
        "grouped",
        "whether images were kept together by the user's groups",
        lambda row: str(row.spec["data"]["groups_sha256"] is not None),
    )
    yield Column("pool", "where the defender's clean images come from (PROTOCOL 7.4)", lambda row: row.spec["pool"])


def defense_columns() -> Iterator[Column[Any]]:
    """The defence under one preset."""
    yield Column("defense", "backdoor defence", lambda row: row.spec["method"]["name"])
    yield Column("preset", "source of the hyper-parameters (PROTOCOL 4.1)", lambda row: row.spec["method"]["preset"])
    yield Column(
        "version", "the defence's version; with a hash where it is a plugin", lambda row: row.spec["method"]["version"]
    )


def columns(attacks: Sequence[str]) -> list[Column[Row]]:
    """All columns that follow from a row alone, in the order of the CSV; rank and standing follow from its family.

    Args:
        attacks: labels of the attacks, in the order of their columns.
    """
    by_attack = [column for attack in attacks for column in _attack(attack)]
    return [*setting_columns(), _POWER, *defense_columns(), *_aggregates(), *by_attack, *_cost(), *_closing()]


_POWER: Column[Row] = Column(
    "power", "what the defender may do: post-training, data-free or in-training; ranked apart", lambda row: row.power
)


def _aggregates() -> Iterator[Column[Row]]:
    yield Column(
        "blocks",
        f"blocks that are scored under each of {CORE} that passed the gate (PROTOCOL 7.2); without such a one, under "
        "any attack",
        lambda row: len(row.blocks),
    )
    yield Column("core_cured", f"how many of {CORE} are cured in every block; ranks first", lambda row: row.core_cured)
    yield Column(
        "attacks_run",
        "attacks that are counted: published preset, newest version, all-to-one, clean-label ones with at most half "
        "of the target class; the others have columns of their own only. This and the next two never rank",
        lambda row: len(row.counted),
    )
    yield Column(
        "attacks_passed",
        "those of them that pass the gate in every block",
        lambda row: len(row.passed),
    )
    yield Column("attacks_cured", "those of these that are cured in every block", lambda row: row.cured)
    yield Column(
        "residual",
        "what is left to cure: max(0, asr_gap), max(0, -acc_gap) and max(0, -recovery_gap), averaged over the three, "
        "core attacks that passed, and blocks; as all means, empty where one of these blocks broke; lower is better, "
        "ranks second",
        lambda row: row.residual,
    )
    for name in GAPS:
        yield from interval_columns(
            name, f"{METRICS[name].description.rstrip('.')}: mean over core attacks and blocks", _block_means(name)
        )
    yield Column("der", "DER, mean over core attacks and blocks; never ranks", lambda row: mean(row.rates("der")))
    yield Column(
        "control_acc_gap",
        "the control: ACC of the defended clean model minus that of a clean model, mean over blocks",
        lambda row: None if row.control is None else mean(row.control.values("acc_gap")),
    )


def interval_columns(name: str, description: str, values: Callable[[Any], Any]) -> Iterator[Column[Any]]:
    """A mean over blocks with its interval."""
    yield Column(name, description, lambda row: mean(values(row)))
    yield Column(
        f"{name}_low",
        "lower end of its 95 % t-interval over blocks, conditional on the fixed split",
        lambda row: interval(values(row))[0],
    )
    yield Column(f"{name}_high", "upper end", lambda row: interval(values(row))[1])


def _block_means(name: str) -> Callable[[Row], Any]:
    return lambda row: row.block_means(name)


def _attack(label: str) -> Iterator[Column[Row]]:
    for name in ("asr", "acc", "recovery"):
        yield Column(f"{label}_{name}", f"{METRICS[name].title} under this attack, mean over blocks", _of(label, name))
    yield Column(
        f"{label}_cured",
        "in how many blocks this attack is cured, or: attack failed, incomplete; empty where it was not run",
        lambda row: next((duel.outcome for duel in row.duels if duel.label == label), None),
    )


def _of(label: str, metric: str) -> Callable[[Row], Cell]:
    return lambda row: next((mean(duel.values(metric)) for duel in row.duels if duel.label == label), None)


def _cost() -> Iterator[Column[Row]]:
    yield Column(
        "flops_share",
        f"{COST}; mean over core attacks and blocks",
        lambda row: mean_cost(list(chain(*row.averaged)), "flops_share"),
    )
    yield Column(
        "seconds",
        "wall seconds of the defence, mean over core attacks and blocks; compare within one device only",
        lambda row: mean_cost(list(chain(*row.averaged)), "seconds"),
    )
    yield Column("device", "where it was computed, and with how many threads", lambda row: devices(row.records))


def _closing() -> Iterator[Column[Row]]:
    yield Column(
        "hyperparameters", "all of the defence's, as run", lambda row: named(row.spec["method"]["hyperparameters"])
    )
    yield Column("data_sha256", "hash of the data file", lambda row: row.spec["data"]["sha256"])
    yield Column(
        "setting",
        "its short name: rows of one power compete where it is equal, with the same data, splits, training, pool, "
        "versions of protocol and metrics, and where core attacks and blocks are the same too",
        lambda row: short_name(row.setting),
    )
    yield Column("protocol_version", "rules that the row follows", lambda row: row.spec["protocol_version"])
    yield Column("verified", VERIFIED, lambda row: count_verified(row.records))
    yield Column("statuses", "how many runs ended how", lambda row: counts(_statuses(row)))
    yield Column("reasons", "why runs failed", lambda row: "; ".join(sorted(set(_reasons(row.duels)))))
    yield Column("notes", "what a reader must know", lambda row: notes(row.records))


def _statuses(row: Row) -> dict[str, int]:
    found: dict[str, int] = {}
    for duel in row.duels:
        for status, count in duel.statuses.items():
            name = "attack-failed" if duel.failed else status
            found[name] = found.get(name, 0) + count
    return found


def _reasons(duels: Sequence[Duel]) -> Iterator[str]:
    for duel in duels:
        if duel.failed:
            yield f"{duel.label}: attack failed"
        else:
            yield from (f"{duel.label}: {record['reason']}" for record in duel.records if record["reason"])
