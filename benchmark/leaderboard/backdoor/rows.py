"""One defence over all attacks: which rows compete, and who comes first (PROTOCOL 1.3, 1.4, 7.1 to 7.5)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmark.leaderboard.backdoor.duels import Duel, duels_of
from benchmark.leaderboard.blocks import Floats, blocks_to_rank, key_of, numbers
from benchmark.store.records import Record

REFERENCES = ("none", "ordinary_training")
"""Defences that are no competitors: nothing was done."""
POWERS = ("post-training", "data-free", "in-training")
"""What defenders may do; ranked apart (PROTOCOL 7.5)."""


@dataclass(frozen=True, eq=False)
class Row:
    """The duels of one defence under one preset in one setting, one for each attack."""

    duels: Sequence[Duel]
    power: str

    @property
    def spec(self) -> dict[str, Any]:
        """The spec that all records share, but for attack and block."""
        return self.duels[0].spec

    @property
    def defense(self) -> str:
        """The defence's name."""
        return self.duels[0].method

    @property
    def setting(self) -> str:
        """All of the row's identity but the defence and its attacks, metric versions included."""
        return key_of(self.duels[0].records[0], without=("method", "attack", "block"))

    @property
    def records(self) -> list[Record]:
        """Those of all duels."""
        return [record for duel in self.duels for record in duel.records]

    @cached_property
    def control(self) -> Duel | None:
        """The defence on a clean model."""
        return next((duel for duel in self.duels if duel.goal == "none"), None)

    @cached_property
    def counted(self) -> list[Duel]:
        """The duels that may rank."""
        return [duel for duel in self.duels if duel.counts]

    @cached_property
    def passed(self) -> list[Duel]:
        """Those of them whose attack works: every mean is over these."""
        return [duel for duel in self.counted if not duel.failed]

    @cached_property
    def blocks(self) -> list[int]:
        """The blocks that are scored under every one of these; where there is none, under all attacks that work."""
        duels = self.passed or [duel for duel in self.duels if not duel.failed]
        return sorted(set.intersection(*(set(duel.blocks) for duel in duels))) if duels else []

    @property
    def cured(self) -> int:
        """Number of attacks that the defence cures in every block."""
        return sum(duel.cured for duel in self.passed)

    def rates(self, metric: str) -> Floats | None:
        """The metric, shape (attacks, blocks); None unless it is resolved under every attack that counts."""
        if not self.blocks or any(not duel.averaged for duel in self.passed):
            return None
        by_block = [{record["spec"]["block"]: record["metrics"] for record in duel.averaged} for duel in self.passed]
        return numbers([[scores[block].get(metric) for block in self.blocks] for scores in by_block])

    def block_means(self, metric: str) -> Floats | None:
        """Its mean over attacks, shape (blocks,)."""
        rates = self.rates(metric)
        return None if rates is None else np.asarray(rates.mean(axis=0), dtype=np.float64)

    @cached_property
    def residual(self) -> float | None:
        """What is left to cure: the mean over attacks, blocks and three rates of how much worse than the oracle."""
        asr, acc, recovery = (self.rates(f"{name}_gap") for name in ("asr", "acc", "recovery"))
        if asr is None or acc is None or recovery is None:
            return None
        return float(np.mean([np.maximum(0, asr), np.maximum(0, -acc), np.maximum(0, -recovery)]))

    @property
    def standing(self) -> str:
        """Whether the row may be ranked, and if not, why."""
        ordinary = [duel for duel in self.duels if duel.apart not in ("custom", "superseded")] or self.duels
        if not all(duel.complete for duel in ordinary):
            return "incomplete"
        if self.spec["data"]["non_member_share"] == 0 or all(duel.goal == "none" for duel in self.duels):
            return "control"
        if self.defense in REFERENCES:
            return "reference"
        if self.spec["method"]["preset"] == "custom":
            return "custom"
        if not self.passed:
            return "attack failed" if self.counted else self._apart
        return "ranked" if len(self.blocks) >= blocks_to_rank(self.spec) else "exploratory"

    @property
    def _apart(self) -> str:
        reasons = {duel.apart for duel in self.duels if duel.apart is not None}
        return "custom" if reasons == {"custom"} else "apart"


@dataclass(frozen=True)
class Place:
    """Where a row stands among the others of its setting."""

    standing: str
    rank: int | None = None


def families(records: Iterable[Record]) -> list[list[tuple[Row, Place]]]:
    """Records -> the rows of each setting, in order: by power, ranked ones first."""
    settings = defaultdict(list)
    for row in _rows(duels_of(records)):
        settings[row.setting].append(row)
    return [_in_order(rows) for _, rows in sorted(settings.items())]


def _rows(duels: list[Duel]) -> list[Row]:
    groups = defaultdict(list)
    powers = {}
    for duel in duels:
        groups[key_of(duel.records[0], without=("attack", "block"))].append(duel)
        if duel.setting:
            powers[duel.method] = duel.setting["power"]
    return [
        Row(sorted(group, key=lambda duel: duel.label), powers.get(group[0].method, "unknown"))
        for _, group in sorted(groups.items())
    ]


def _in_order(rows: list[Row]) -> list[tuple[Row, Place]]:
    places: dict[Row, Place] = {}
    for power in {row.power for row in rows}:
        places |= _places([row for row in rows if row.power == power])
    return sorted(places.items(), key=lambda item: _order(*item))


def _order(row: Row, place: Place) -> tuple[int, float, float, str, str]:
    power = POWERS.index(row.power) if row.power in POWERS else len(POWERS)
    residual = np.inf if row.residual is None else row.residual
    return power, place.rank or np.inf, residual, row.defense, str(row.spec["method"])


def _places(rows: list[Row]) -> dict[Row, Place]:
    """First by attacks cured, then by what is left; equal rows share a place."""
    paired = _paired([row for row in rows if row.standing == "ranked"])
    keys = {row: (-row.cured, round(np.inf if row.residual is None else row.residual, 6)) for row in paired}
    ordered = sorted(keys.values())
    places = {}
    for row in rows:
        unpaired = row.standing == "ranked" and row not in keys
        standing = "unpaired" if unpaired else row.standing
        places[row] = Place(standing, 1 + ordered.index(keys[row]) if row in keys else None)
    return places


def _paired(rows: list[Row]) -> list[Row]:
    """The rows that share attacks and blocks; of several such sets the one with most runs (PROTOCOL 1.1)."""
    designs = {row: tuple((duel.label, tuple(duel.blocks)) for duel in row.passed) for row in rows}
    runs: Counter[Any] = Counter()
    for design in designs.values():
        runs[design] += sum(len(blocks) for _, blocks in design)
    best = max(runs, key=lambda design: (runs[design], design)) if runs else ()
    return [row for row in rows if designs[row] == best]
