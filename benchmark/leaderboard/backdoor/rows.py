"""One defence over all attacks: which rows compete, and who comes first (PROTOCOL 1.3, 1.4, 7.1 to 7.5)."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmark.leaderboard.backdoor.duels import Duel, duels_of, newest_versions, version_of
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
        return next((duel for duel in self.duels if duel.goal == "none" and duel.apart is None), None)

    @cached_property
    def counted(self) -> list[Duel]:
        """The duels with attacks that are counted."""
        return [duel for duel in self.duels if duel.counts]

    @cached_property
    def passed(self) -> list[Duel]:
        """Those of them whose attack works."""
        return [duel for duel in self.counted if not duel.failed]

    @cached_property
    def core(self) -> list[Duel]:
        """Those of these that rank: every mean is over them."""
        return [duel for duel in self.passed if duel.core]

    @cached_property
    def blocks(self) -> list[int]:
        """The blocks that are scored under every core attack; where there is none, under any attack that works."""
        if self.core:
            return sorted(set.intersection(*(set(duel.blocks) for duel in self.core)))
        return sorted({block for duel in self.passed or self.duels if not duel.failed for block in duel.blocks})

    @property
    def cured(self) -> int:
        """Number of attacks that the defence cures in every block."""
        return sum(duel.cured for duel in self.passed)

    @property
    def core_cured(self) -> int:
        """Number of core attacks that it does."""
        return sum(duel.cured for duel in self.core)

    @cached_property
    def averaged(self) -> list[list[Record]]:
        """For each core attack the records of the row's blocks; empty where a block of one of them broke."""
        if not self.blocks or any(not duel.averaged for duel in self.core):
            return []
        return [[record for record in duel.averaged if record["spec"]["block"] in self.blocks] for duel in self.core]

    def rates(self, metric: str) -> Floats | None:
        """The metric, shape (core attacks, blocks); None unless it is resolved everywhere."""
        return numbers([[record["metrics"].get(metric) for record in records] for records in self.averaged])

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
        core = [duel for duel in self.counted if duel.core]
        if not all(duel.complete for duel in core):
            return "incomplete"
        if self.spec["data"]["non_member_share"] == 0 or all(duel.goal == "none" for duel in self.duels):
            return "control"
        if self.defense in REFERENCES:
            return "reference"
        if self.spec["method"]["preset"] == "custom":
            return "custom"
        if not self.counted:
            return self._apart
        if not (self.core if core else self.passed):
            return "attack failed"
        return "ranked" if core and len(self.blocks) >= blocks_to_rank(self.spec) else "exploratory"

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
        if "power" in duel.setting:
            powers[duel.method] = duel.setting["power"]
    return [
        Row(sorted(group, key=lambda duel: duel.label), powers.get(group[0].method, "unknown"))
        for _, group in sorted(groups.items())
    ]


def _in_order(rows: list[Row]) -> list[tuple[Row, Place]]:
    newest = newest_versions((row.defense, row.spec["method"]) for row in rows)
    old = [row for row in rows if version_of(row.spec["method"]) < newest[row.defense]]
    places = {row: Place("superseded") for row in old}
    for power in {row.power for row in rows}:
        places |= _places([row for row in rows if row.power == power and row not in old])
    return sorted(places.items(), key=lambda item: _order(*item))


def _order(row: Row, place: Place) -> tuple[int, float, float, str, str]:
    power = POWERS.index(row.power) if row.power in POWERS else len(POWERS)
    residual = np.inf if row.residual is None else row.residual
    return power, place.rank or np.inf, residual, row.defense, str(row.spec["method"])


def _places(rows: list[Row]) -> dict[Row, Place]:
    """First by core attacks cured, then by what is left; equal rows share a place."""
    paired = _paired([row for row in rows if row.standing == "ranked"])
    keys = {row: (-row.core_cured, round(np.inf if row.residual is None else row.residual, 6)) for row in paired}
    ordered = sorted(keys.values())
    places = {}
    for row in rows:
        unpaired = row.standing == "ranked" and row not in keys
        standing = "unpaired" if unpaired else row.standing
        places[row] = Place(standing, 1 + ordered.index(keys[row]) if row in keys else None)
    return places


def _paired(rows: list[Row]) -> list[Row]:
    """The rows that share the core attacks and blocks that most rows have (PROTOCOL 1.1); of equals, the most runs."""
    designs = {row: tuple((duel.label, tuple(duel.blocks)) for duel in row.core) for row in rows}
    counts = Counter(designs.values())
    best = max(counts, key=lambda design: (counts[design], sum(len(b) for _, b in design), design)) if counts else ()
    return [row for row in rows if designs[row] == best]
