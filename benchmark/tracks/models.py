"""Models that a track needs beside the method's own, trained once and kept: Original, Retrains."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.api import MedsafeError, Progress, Recipe, Split, derive_seed
from benchmark.config import DataSpec
from benchmark.cost import CostCounter
from benchmark.data.augment import make_augmentation
from benchmark.data.datasets import Dataset
from benchmark.data.splits import Splits
from benchmark.models import build_model, load_checkpoint
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.training import VERSION, predict, train
from metrics.accuracy import macro_auc

MODEL = "model.safetensors"
PREDICTIONS = "predictions.safetensors"


@dataclass(frozen=True, eq=False)
class Workbench:
    """Everything that the runs of one command share: the data on the device, the net, the recipe, the cache."""

    data: DataSpec
    dataset: Dataset
    images: Tensor
    """uint8 (n, channels, height, width), on the device; rows as in `dataset`."""
    splits: Splits
    architecture: str
    recipe: Recipe
    store: ArtifactStore
    progress: Progress
    checkpoint: Path | None = None
    """The user's own Original, in place of a trained one."""

    @property
    def device(self) -> torch.device:
        """Where models and images live."""
        return self.images.device

    @property
    def compute(self) -> str:
        """Part of every artifact's key: bits depend on the kind of device, and on a CPU on the number of threads."""
        return "cuda" if self.device.type == "cuda" else f"{self.device.type}-{torch.get_num_threads()}"

    def split(self, rows: np.ndarray, *seed: str | int) -> Split:
        """The images of these rows as a split of their own, served under the recipe's augmentation."""
        index = torch.from_numpy(rows).to(self.device)
        augmentation = make_augmentation(self.recipe.augmentation, frozenset(self.data.allowed_augmentations))
        labels = self.dataset.labels.to(self.device)[index]
        return Split(self.images[index], labels, derive_seed(*seed), augmentation)

    def fresh_model(self, *seed: str | int) -> nn.Module:
        """A newly initialised model on the device."""
        return build_model(
            self.architecture, channels=self.dataset.channels, num_classes=self.dataset.num_classes,
            seed=derive_seed(*seed), mean=self.dataset.mean, std=self.dataset.std,
        ).to(self.device)  # fmt: skip

    def load(self, artifact: Artifact) -> nn.Module:
        """A stored model, as a copy of one's own."""
        return load_checkpoint(self.fresh_model("load"), artifact / MODEL)

    def fit(self, model: nn.Module, split: Split, description: str = "fit") -> nn.Module:
        """The suite's training loop; without non-members, the epoch of the best validation AUC (PROTOCOL 2.1)."""
        if self.data.non_member_share > 0:
            return train(model, split, self.recipe, progress=self.progress, description=description)
        best = _BestEpoch(
            self.images[torch.from_numpy(self.splits.validation).to(self.device)], self._validation_labels()
        )
        train(model, split, self.recipe, progress=self.progress, description=description, after_epoch=best)
        model.load_state_dict(best.state)
        return model

    def original(self, block: int) -> Artifact:
        """The model that has seen the whole train pool; of the block and the pool alone (PROTOCOL 1.2)."""
        if self.checkpoint is not None:
            return self._imported(self.checkpoint)
        return self._trained(self.splits.pool, block, "original")

    def retrained(self, block: int, index: int, retain: np.ndarray) -> Artifact:
        """The index-th reference: trained on the retain rows from its own initialisation and order."""
        return self._trained(retain, block, f"retrain {index}")

    def keep(
        self,
        key: Mapping[str, Any],
        make: Callable[[], tuple[nn.Module, dict[str, Any]]],
        beside: Mapping[str, np.ndarray] | None = None,
    ) -> Artifact:
        """The stored model of this key with its logits on every image; `make` computes model and metadata once.

        What lies `beside` the logits is what a later rescoring needs to know of the data.
        """

        def create(folder: Path) -> dict[str, Any]:
            model, metadata = make()
            weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
            save_file(weights, folder / MODEL)
            extra = {name: torch.from_numpy(array) for name, array in (beside or {}).items()}
            save_file({"logits": predict(model, self.images)} | extra, folder / PREDICTIONS)
            return metadata

        return self.store.get_or_create({**key, "compute": self.compute}, create)

    def common_key(self) -> dict[str, Any]:
        """The part of a model's key that all models of this workbench share."""
        return {
            "data": self.data.sha256, "allowed": self.data.allowed_augmentations, "architecture": self.architecture,
            "recipe": asdict(self.recipe), "training_version": VERSION,
            "selection": "last" if self.data.non_member_share > 0 else "best validation AUC",
        }  # fmt: skip

    def _trained(self, rows: np.ndarray, block: int, purpose: str) -> Artifact:
        def make() -> tuple[nn.Module, dict[str, Any]]:
            model, split = self.fresh_model(block, purpose, "model"), self.split(rows, block, purpose, "order")
            with CostCounter(self.device) as cost:
                self.fit(model, split, f"{purpose}, block {block}")
            return model, cost.as_dict()

        key = self.common_key() | {
            "kind": purpose.split(maxsplit=1)[0],
            "rows": hash_rows(rows),
            "block": block,
            "purpose": purpose,
        }
        return self.keep(key, make)

    def _imported(self, checkpoint: Path) -> Artifact:
        digest = checkpoint_sha256(checkpoint)

        def make() -> tuple[nn.Module, dict[str, Any]]:
            return load_checkpoint(self.fresh_model("load"), checkpoint), {"flops": None, "seconds": None}

        return self.keep(self.common_key() | {"kind": "checkpoint", "sha256": digest}, make)

    def _validation_labels(self) -> np.ndarray:
        return self.dataset.labels.numpy()[self.splits.validation]


class _BestEpoch:
    """Keeps the weights of the epoch with the best macro-AUC on validation."""

    def __init__(self, images: Tensor, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels
        self.auc, self.state = -1.0, dict[str, Tensor]()

    def __call__(self, model: nn.Module) -> None:
        auc = macro_auc(predict(model, self.images).numpy(), self.labels)
        if auc > self.auc:
            self.auc = auc
            self.state = {name: tensor.clone() for name, tensor in model.state_dict().items()}


def predictions_of(artifact: Artifact) -> dict[str, np.ndarray]:
    """`logits` on every image of the data set, float32 (n, classes), and what was stored beside them."""
    return {name: tensor.numpy() for name, tensor in load_file(artifact / PREDICTIONS).items()}


def hash_rows(rows: np.ndarray) -> str:
    """A name for a set of rows."""
    return hashlib.sha256(np.sort(rows).astype("<i8").tobytes()).hexdigest()[:32]


def checkpoint_sha256(path: Path) -> str:
    """Digest of a user's checkpoint; MedsafeError where it is not there."""
    if not path.is_file():
        raise MedsafeError(f"checkpoint '{path}' does not exist: --original takes a .safetensors file")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def for_device(recipe: Recipe, device: torch.device) -> Recipe:
    """bf16 on a GPU; on a CPU it is slower than fp32."""
    return replace(recipe, precision="bf16" if device.type == "cuda" else "fp32")
