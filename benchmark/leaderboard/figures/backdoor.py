"""What the figures of the backdoor track are drawn from: defences against attacks, in the order of `backdoor.csv`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from benchmark.leaderboard.backdoor.duels import Duel
from benchmark.leaderboard.backdoor.rows import Row, families
from benchmark.leaderboard.blocks import numbers
from benchmark.leaderboard.cells import mean
from benchmark.leaderboard.figures.settings import Setting, row_names
from benchmark.store.records import Record

NOTHING = "none"
"""The defence that does nothing: its models are the backdoored ones, which have a row of their own."""
BEFORE, IDEAL = "backdoored", "oracle"
REFERENCES = (BEFORE, IDEAL)


class State(Enum):
    """Why a cell has no number."""

    ATTACK_FAILED = "attack failed"
    INCOMPLETE = "a block failed"
    NOT_RUN = "not run"


Cell = float | State
"""Percent, mean over blocks."""


@dataclass(frozen=True)
class Rate:
    """What a panel shows: a rate, or what of it was lost against the oracle."""

    metric: str
    title: str
    is_loss: bool

    def of_defense(self, duel: Duel) -> Cell:
        """The defended models'."""
        if duel.failed:
            return State.ATTACK_FAILED
        value = mean(duel.values(f"{self.metric}_gap" if self.is_loss else self.metric))
        return State.INCOMPLETE if value is None else (-100 if self.is_loss else 100) * value

    def of_reference(self, duel: Duel, name: str) -> Cell:
        """That of the models before the defence, or of the oracles."""
        value, ideal = (
            mean(numbers([scores.get(self.metric) for scores in duel.references(one)])) for one in (name, IDEAL)
        )
        if value is None or ideal is None:
            return State.NOT_RUN
        return 100 * (ideal - value if self.is_loss else value)


RATES = (
    Rate("asr", "ASR", is_loss=False),
    Rate("recovery", "RA loss", is_loss=True),
    Rate("acc", "ACC loss", is_loss=True),
)
"""In all of them 0 is best, and what is cured is at most 5 above the oracle (PROTOCOL 7.3)."""


@dataclass(frozen=True, eq=False)
class Encounters:
    """The rows of one setting against its attacks."""

    rows: Sequence[Row]

    @cached_property
    def attacks(self) -> dict[str, Duel]:
        """Short name of each attack -> the duel that knows most of it: core attacks, those that count, others."""
        found: dict[str, Duel] = {}
        for duel in (duel for row in self.rows for duel in row.duels if duel.goal != "none" and not duel.superseded):
            found[duel.label] = max(found.get(duel.label, duel), duel, key=lambda one: len(one.references(BEFORE)))
        return dict(sorted(found.items(), key=lambda item: (not item[1].core, not item[1].counts, item[0])))

    def defenses(self, attacks: Sequence[str]) -> dict[str, Row]:
        """Name of each defence that met one of these attacks -> its row."""
        met = [row for row in self.rows if row.defense != NOTHING and any(d.label in attacks for d in row.duels)]
        return dict(zip(row_names([row.spec["method"] for row in met]), met, strict=True))


def settings(records: Sequence[Record]) -> list[Setting[Row]]:
    """Every setting in which a defence met an attack."""
    found = []
    for family in families(records):
        rows = [row for row, place in family if place.standing != "superseded"]
        encounters = Encounters(rows)
        if encounters.defenses(list(encounters.attacks)):
            ranked = sum(place.rank is not None for _, place in family)
            found.append(Setting(rows[0].setting, rows[0].spec, ranked, rows))
    return found
