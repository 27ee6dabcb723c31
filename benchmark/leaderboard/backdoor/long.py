"""The columns of `backdoor_long.csv`: everything about one defence against one attack."""

from collections.abc import Callable, Iterator
from typing import Any

from benchmark.leaderboard.backdoor.columns import COST, defense_columns, interval_columns, setting_columns
from benchmark.leaderboard.backdoor.duels import Duel
from benchmark.leaderboard.blocks import key_of, numbers
from benchmark.leaderboard.cells import (
    Cell,
    Column,
    cost_columns,
    counts,
    mean,
    mean_by_class,
    named,
    notes,
    reasons,
    short_name,
    unresolved,
)
from benchmark.submission.verification import VERIFIED, count_verified
from metrics.backdoor import METRICS

HEADLINE = ("acc", "asr", "recovery")
FURTHER = ("asr_correct", "balanced_accuracy", "macro_auc")
REFERENCES = {
    "clean": "the clean models",
    "backdoored": "the models before the defence",
    "oracle": "the oracles: retrained without the poison",
}


def columns() -> list[Column[Duel]]:
    """All columns that follow from a duel alone; rank, standing and power follow from its row."""
    scores = [column for name in (*HEADLINE, *FURTHER) for column in _score(name)]
    return [*_attack(), *setting_columns(), *defense_columns(), *_outcome(), *scores, *_cost(), *_closing()]


def _attack() -> Iterator[Column[Duel]]:
    yield Column("attack", "short name of the attack's variant, as in the columns of `backdoor.csv`", lambda d: d.label)
    yield Column("attack_name", "backdoor attack; clean is the control", lambda d: d.attack["name"])
    yield Column("attack_preset", "source of its hyper-parameters", lambda d: d.attack["preset"])
    yield Column("attack_version", "its version; with a hash where it is a plugin", lambda d: d.attack["version"])
    yield Column("goal", "all-to-one, all-to-all, or none: the control", lambda d: d.goal)
    yield Column(
        "victims",
        "whose images are poisoned: others, or target: clean-label, or all",
        lambda d: d.attacker.get("victims"),
    )
    yield Column(
        "controls_training",
        "whether the attacker also controls the training",
        lambda d: str(d.attacker["controls_training"]) if d.attacker else None,
    )
    yield Column("targets", "target class of each block, in the order of the blocks", _targets)


def _outcome() -> Iterator[Column[Duel]]:
    yield Column(
        "clean_images",
        "number of the defender's clean images",
        lambda d: next((r["sizes"].get("clean_images") for r in d.records if "sizes" in r), None),
    )
    yield Column("blocks", "number of scored blocks", lambda d: len(d.blocks))
    yield Column("statuses", "how many blocks ended how", lambda d: counts(d.statuses))
    yield Column("gate", "passed, or in which blocks and why the attack failed (PROTOCOL 7.2)", _gate)
    yield Column("cured_blocks", "in how many blocks the model is cured (PROTOCOL 7.3)", lambda d: d.cured_blocks)
    yield Column("cured", "the same in words, or: attack failed, incomplete", lambda d: d.outcome)
    yield Column("der", f"{METRICS['der'].description} Never ranks.", lambda d: mean(d.values("der")))


def _score(name: str) -> Iterator[Column[Duel]]:
    info = METRICS[name]
    if name in HEADLINE:
        yield from interval_columns(name, info.description, _values(name))
    else:
        yield Column(name, info.description, lambda d: mean(d.values(name)))
    for reference, words in REFERENCES.items():
        yield Column(f"{reference}_{name}", f"{info.title} of {words}", _reference(reference, name))
    if name in HEADLINE:
        gap = f"{name}_gap"
        yield from interval_columns(gap, f"{METRICS[gap].description} Mean over blocks.", _values(gap))


def _values(name: str) -> Callable[[Duel], Any]:
    return lambda duel: duel.values(name)


def _reference(reference: str, name: str) -> Callable[[Duel], Cell]:
    return lambda duel: mean(numbers([scores.get(name) for scores in duel.references(reference)]))


def _cost() -> Iterator[Column[Duel]]:
    yield from cost_columns(COST, "defence", "oracle", lambda duel: duel.averaged)


def _closing() -> Iterator[Column[Duel]]:
    yield Column(
        "asr_by_class",
        "ASR by true class, mean over the blocks in which the class is not the target, in the data set's class order",
        lambda d: mean_by_class(record["metrics"]["asr_by_class"] for record in d.averaged),
    )
    yield Column(
        "sensitivity",
        "per-class sensitivity on clean test images, mean over blocks",
        lambda d: mean_by_class(record["metrics"]["sensitivity"] for record in d.averaged),
    )
    yield Column(
        "oracle_sensitivity",
        "the same of the oracles",
        lambda d: mean_by_class(scores["sensitivity"] for scores in d.references("oracle")),
    )
    yield Column(
        "hyperparameters", "all of the defence's, as run", lambda d: named(d.spec["method"]["hyperparameters"])
    )
    yield Column("attack_hyperparameters", "all of the attack's, as run", lambda d: named(d.attack["hyperparameters"]))
    yield Column("data_sha256", "hash of the data file", lambda d: d.spec["data"]["sha256"])
    yield Column("setting", "as in `backdoor.csv`", _setting)
    yield Column("protocol_version", "rules that the row follows", lambda d: d.spec["protocol_version"])
    yield Column("verified", VERIFIED, lambda d: count_verified(d.records))
    yield Column("unresolved", "metrics that the samples cannot resolve, and why", lambda d: unresolved(d.scored))
    yield Column("reasons", "why blocks failed", lambda d: reasons(d.records))
    yield Column("notes", "what a reader must know", lambda d: notes(d.records))


def _setting(duel: Duel) -> str:
    return short_name(key_of(duel.records[0], without=("method", "attack", "block")))


def _targets(duel: Duel) -> str | None:
    known = [record for record in duel.records if "setting" in record] if duel.goal == "all-to-one" else []
    known.sort(key=lambda record: record["spec"]["block"])
    return "; ".join(record["classes"][record["setting"]["target"]] for record in known) or None


def _gate(duel: Duel) -> str | None:
    if duel.failed:
        return "; ".join(f"block {block}: {reason}" for block, reason in sorted(duel.failures.items()))
    passed = duel.goal != "none" and any("gate" in record for record in duel.records)
    return "passed" if passed else None
