"""The shadow pool (PROTOCOL 6.1): models trained on random halves of official train, and their statistics.

Halves come in complementary pairs: of the models 2k and 2k + 1 each image is in exactly one. Shadows and audit targets
are numbered apart, so that a pool that grows keeps what it has, and no target is ever among the shadows. A shadow is
stored as one number for each image, a target as an Original like any other. RMIA's population are the reserved images:
no model was trained on them, and no unlearning method is handed them, as the other validation images are.

Each worker trains one shadow after another: stacked by `torch.func.vmap`, four models took 3.3 times (cnn-small) and
2.0 times (resnet18-quarter) as long as one by one, on a CPU. On a GPU, workers that share a card are the way.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from benchmark.api import derive_seed
from benchmark.data.units import Rows, draw_share
from benchmark.store.artifacts import Artifact
from benchmark.store.tensors import write_tensors
from benchmark.tracks.models import Workbench
from benchmark.tracks.shared import SharedModel, trained
from benchmark.tracks.stored import PREDICTIONS, hash_rows
from metrics.membership import log_odds

STATISTICS = "statistics.safetensors"
LOG_ODDS, MEMBERS, POPULATION = "log_odds", "members", "population"
VERSION = 1
"""Of what is drawn and compared with; part of every audit's spec."""
SEED = 0
"""Of the halves."""
FEWEST_POPULATION = 100
"""Images below which a record says that RMIA's scores, shares of the population, are coarse (PROTOCOL 6.3)."""
HALF = 0.5
"""Share of official train that a model of the pool has seen."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """What the shadows say of every image of a data set."""

    log_odds: NDArray[np.float32]
    """(images, shadows): as `metrics.membership.log_odds`, of which the true class's probability is the sigmoid."""
    members: NDArray[np.bool_]
    """(images, shadows): whether the shadow was trained on the image."""
    population: Rows
    """Images that no model was trained on, that no method was handed, and that are never judged."""


@dataclass(frozen=True, eq=False)
class Pool:
    """A design of halves, and its models on one workbench."""

    bench: Workbench
    shadows: int
    """How many; even, so that every image is in exactly half of them."""
    _drawn: dict[tuple[str, int], Rows] = field(default_factory=dict)
    """First halves by purpose and pair: all that is drawn."""

    def __post_init__(self) -> None:
        if self.shadows < 2 or self.shadows % 2:
            raise ValueError(f"{self.shadows} shadows: they come in pairs")

    def half(self, purpose: str, number: int) -> Rows:
        """The rows that a model is trained on: stratified by class as far as whole units allow (PROTOCOL 2.3).

        Args:
            purpose: `shadow` or `target`.
            number: of the model; an odd one's rows are all of official train that the one before it has not.
        """
        train, pair = self.bench.dataset.train, (purpose, number // 2)
        if pair not in self._drawn:
            rng = np.random.default_rng(derive_seed("pool", SEED, *pair))
            unit, labels = self.bench.splits.unit[train], self.bench.dataset.labels.numpy()[train]
            self._drawn[pair] = draw_share(train, unit, labels, HALF, rng)
        return np.setdiff1d(train, self._drawn[pair]) if number % 2 else self._drawn[pair]

    def models(self) -> list[SharedModel]:
        """The shadows, each of which any process may train."""
        return [self._shadow(number) for number in range(self.shadows)]

    def target(self, number: int) -> Workbench:
        """A workbench whose train pool is a target's IN half, and whose non-members are its OUT half."""
        inside = self.half("target", number)
        outside = np.setdiff1d(self.bench.dataset.train, inside)
        return replace(self.bench, splits=replace(self.bench.splits, pool=inside, non_members=outside))

    def collect(self) -> Artifact:
        """The statistics of all shadows in one artifact; shadows that are not there yet are trained.

        Raises:
            Diverged: the training of a shadow did.
        """
        shadows, count, population = self.models(), len(self.bench.dataset.labels), self.bench.splits.reserved

        def create(folder: Path) -> Mapping[str, Any]:
            members = torch.zeros(count, self.shadows, dtype=torch.bool)
            for number in range(self.shadows):
                members[torch.from_numpy(self.half("shadow", number)), number] = True
            values = torch.stack([load_file(shadow.get() / PREDICTIONS)[LOG_ODDS] for shadow in shadows], dim=1)
            stored = {LOG_ODDS: values, MEMBERS: members, POPULATION: torch.from_numpy(population)}
            write_tensors(stored, folder / STATISTICS)
            return {}

        key = {"kind": "pool", "shadows": [shadow.id for shadow in shadows], "population": hash_rows(population)}
        return self.bench.store.get_or_create(key, create)

    def _shadow(self, number: int) -> SharedModel:
        shadow = trained(self.bench, self.half("shadow", number), number, "shadow")
        return replace(shadow, title=f"shadow {number}", summary=self._summary)

    def _summary(self, logits: Tensor) -> dict[str, Tensor]:
        return {LOG_ODDS: torch.from_numpy(log_odds(logits, self.bench.dataset.labels)).float()}


def statistics_of(pool: Artifact) -> Statistics:
    """A collected pool's content."""
    stored = load_file(pool / STATISTICS)
    return Statistics(*(stored[name].numpy() for name in (LOG_ODDS, MEMBERS, POPULATION)))
