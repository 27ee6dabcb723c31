"""The shadow pool (PROTOCOL 6.1): models trained on random halves of official train, and their statistics.

Halves come in complementary pairs: of the models 2k and 2k + 1 each image is in exactly one. Shadows and audit targets
are numbered apart, so that a pool that grows keeps what it has, and no target is ever among the shadows. A shadow is
stored as one number for each image, a target as an Original like any other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save
from torch import Tensor

from benchmark.api import derive_seed
from benchmark.data.units import Rows, draw_share
from benchmark.store.artifacts import Artifact
from benchmark.tracks.models import Workbench
from benchmark.tracks.shared import SharedModel, trained
from benchmark.tracks.stored import PREDICTIONS

STATISTICS = "statistics.safetensors"
HALF = 0.5
"""Share of official train that a model of the pool has seen."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """What the shadows say of every image of a data set."""

    phi: NDArray[np.float32]
    """(images, shadows): log p_y - log(1 - p_y), with p_y the probability of the true class, so p_y = sigmoid(phi)."""
    members: NDArray[np.bool_]
    """(images, shadows): whether the shadow was trained on the image."""


@dataclass(frozen=True, eq=False)
class Pool:
    """A design of halves, and its models on one workbench."""

    bench: Workbench
    shadows: int
    """How many; even, so that every image is in exactly half of them."""
    seed: int = 0
    """Of the halves."""

    def __post_init__(self) -> None:
        if self.shadows < 2 or self.shadows % 2:
            raise ValueError(f"{self.shadows} shadows: they come in pairs")

    def half(self, purpose: str, number: int) -> Rows:
        """The rows that a model is trained on: stratified by class as far as whole units allow (PROTOCOL 2.3).

        Args:
            purpose: `shadow` or `target`.
            number: of the model; an odd one's rows are all of official train that the one before it has not.
        """
        dataset, unit = self.bench.dataset, self.bench.splits.unit
        train, labels = dataset.train, dataset.labels.numpy()
        rng = np.random.default_rng(derive_seed("pool", self.seed, purpose, number // 2))
        first = draw_share(train, unit[train], labels[train], HALF, rng)
        return np.setdiff1d(train, first) if number % 2 else first

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
        shadows, count = self.models(), len(self.bench.dataset.labels)

        def create(folder: Path) -> Mapping[str, Any]:
            phi = [load_file(shadow.get() / PREDICTIONS)["phi"] for shadow in shadows]
            members = torch.zeros(count, self.shadows, dtype=torch.bool)
            for number in range(self.shadows):
                members[torch.from_numpy(self.half("shadow", number)), number] = True
            (folder / STATISTICS).write_bytes(save({"phi": torch.stack(phi, dim=1), "members": members}))
            return {}

        key = {"kind": "pool", "shadows": [shadow.id for shadow in shadows]}
        return self.bench.store.get_or_create(key, create)

    def _shadow(self, number: int) -> SharedModel:
        rows, labels = self.half("shadow", number), self.bench.dataset.labels
        shadow = trained(self.bench, rows, number, "shadow")
        return replace(shadow, title=f"shadow {number}", summary=lambda logits: {"phi": phi_of(logits, labels)})


def statistics_of(pool: Artifact) -> Statistics:
    """A collected pool's content."""
    stored = load_file(pool / STATISTICS)
    return Statistics(stored["phi"].numpy(), stored["members"].numpy())


def phi_of(logits: Tensor, labels: Tensor) -> Tensor:
    """log p_y - log sum over j != y of p_j, float32 (n,), from logits (n, classes).

    From logits, for probabilities that round to 1 are all the same.

    Source: Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022, section IV-C.
    """
    scores, truth = logits.double(), labels[:, None]
    others = scores.scatter(1, truth, -torch.inf).logsumexp(1)
    return (scores.gather(1, truth)[:, 0] - others).float()
