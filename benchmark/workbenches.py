"""Workbenches by what they consist of: data sets and splits that several requests share are loaded and cut once."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.api import Progress, Recipe
from benchmark.config import DataSpec
from benchmark.data.augment import make_augmentation
from benchmark.data.datasets import Dataset, load_dataset
from benchmark.data.splits import Splits, make_splits, read_groups
from benchmark.errors import MedsafeError
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.files import sha256_of
from benchmark.tracks.models import Workbench
from benchmark.training import silent

MOST_DATASETS = 2
"""Kept at once: some take gigabytes, and whoever plans many runs takes one data set after the other."""
MOST_WORKBENCHES = 32


Data = tuple[str, Path | None, frozenset[str] | None]


@dataclass(frozen=True)
class Setup:
    """What a workbench consists of.

    Attributes:
        dataset: a name, or a file.
        data_root: folder with the files of named data sets.
        allow: augmentations that the user vouches for; None are those known of the data.
        architecture: of all models.
        recipe: of their training.
        device: where they live.
        non_member_share: of official train that no model sees.
        groups: the user's CSV of patients or volumes.
        checkpoint: the user's own Original.
        kept: images that must be in the train pool, in ascending order; None where that is of no matter.
    """

    dataset: str
    data_root: Path | None
    allow: frozenset[str] | None
    architecture: str
    recipe: Recipe
    device: torch.device
    non_member_share: float
    groups: Path | None = None
    checkpoint: Path | None = None
    kept: tuple[int, ...] | None = None

    @property
    def data(self) -> Data:
        """The arguments of `load_dataset`."""
        return self.dataset, self.data_root, self.allow


class Workbenches:
    """Opens workbenches over one cache; those that were open lately are found again."""

    def __init__(self, store: ArtifactStore, progress: Progress = silent) -> None:
        self.store, self.progress = store, progress
        self.dataset = lru_cache(MOST_DATASETS)(load_dataset)
        self._on_device = lru_cache(MOST_DATASETS)(self._load_images)
        self._splits = lru_cache(MOST_WORKBENCHES)(self._cut)
        self._known = lru_cache(MOST_WORKBENCHES)(self._make)

    def open(self, setup: Setup) -> Workbench:
        """The workbench of this setup.

        Raises:
            MedsafeError: the data cannot be loaded or cut, or do not allow the recipe's augmentation.
        """
        return self._known(setup)

    def _make(self, setup: Setup) -> Workbench:
        dataset = self.dataset(*setup.data)
        make_augmentation(setup.recipe.augmentation, dataset.allowed)
        splits = self._splits(setup.data, setup.non_member_share, setup.groups, setup.kept)
        spec = DataSpec(
            dataset.name, dataset.sha256, non_member_share=setup.non_member_share,
            groups_sha256=sha256_of(setup.groups) if setup.groups else None,
            allowed_augmentations=tuple(sorted(dataset.allowed)),
        )  # fmt: skip
        images = self._on_device(setup.data, setup.device)
        return Workbench(
            spec, dataset, images, splits, setup.architecture, setup.recipe, self.store, self.progress, setup.checkpoint
        )

    def _load_images(self, data: Data, device: torch.device) -> Tensor:
        return self.dataset(*data).images.to(device)

    def _cut(self, data: Data, non_member_share: float, groups: Path | None, kept: tuple[int, ...] | None) -> Splits:
        dataset: Dataset = self.dataset(*data)
        splits = make_splits(
            dataset, seed=DataSpec.split_seed, non_member_share=non_member_share,
            groups=read_groups(groups, dataset) if groups else None,
            keep_in_pool=None if kept is None else np.array(kept, np.int64),
        )  # fmt: skip
        if len(splits.validation) < 2:
            raise MedsafeError(
                f"data set '{dataset.name}' has {len(splits.validation)} validation images left: at least 2 are needed"
            )
        return splits
