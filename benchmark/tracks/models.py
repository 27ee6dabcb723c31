"""What the runs of a command share: the data on the device, the net, the recipe, and the cache of their models."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.api import Augmentation, Diverged, MedsafeError, Progress, Recipe, Split, derive_seed
from benchmark.clock import Clock
from benchmark.config import DataSpec
from benchmark.contracts.insertion import insertions_of, rebuild
from benchmark.cost import CostCounter
from benchmark.data.augment import make_augmentation
from benchmark.data.datasets import Dataset
from benchmark.data.splits import Splits
from benchmark.handout import Handout, Kind, Network, Share
from benchmark.models import load_checkpoint
from benchmark.seeding import seeded
from benchmark.selection import train_selected
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import Record
from benchmark.store.tensors import write_tensors
from benchmark.tracks.stored import (
    DIVERGED,
    INSERTIONS,
    LOSSES,
    MODEL,
    PREDICTIONS,
    Made,
    cost_of,
    hash_rows,
    tensors_of,
)
from benchmark.training import VERSION, predict, train

T = TypeVar("T")
Summary = Callable[[Tensor], Mapping[str, Tensor]]
"""Logits on all images -> what is stored in place of them and of the weights."""


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
    _known: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns, which follows from the key and this workbench; it is called once."""
        if key not in self._known:
            self._known[key] = make()
        return cast("T", self._known[key])

    @property
    def device(self) -> torch.device:
        """Where models and images live."""
        return self.images.device

    @property
    def clock(self) -> Clock:
        """Sums up where the runs spend their time."""
        return self.store.clock

    @property
    def compute(self) -> str:
        """Part of every artifact's key: bits depend on torch, the device, and on a CPU its threads."""
        gpu = self.device.type == "cuda"
        where = torch.cuda.get_device_name(self.device) if gpu else f"{self.device.type}-{torch.get_num_threads()}"
        return f"{where} torch-{torch.__version__}"

    def share(self, rows: np.ndarray, *seed: str | int) -> Share:
        """The images of these rows as they are handed to a method: a copy of their own."""
        index = self.rows_on_device(rows)
        return Share(self.images[index], self.dataset.labels.to(self.device)[index], derive_seed(*seed))

    def split(self, rows: np.ndarray, *seed: str | int) -> Split:
        """The images of these rows as a split of their own, served under the recipe's augmentation."""
        return Split(**vars(self.share(rows, *seed)), augmentation=self.augmentation)

    def handout(
        self,
        kind: Kind,
        block: int,
        shares: Mapping[str, Share],
        *,
        base: Artifact | None = None,
        model_purpose: str = "method",
        **more: Any,
    ) -> Handout:
        """What a method gets in a block: these splits, the model to work on, and what every method gets.

        Args:
            kind: of the task.
            block: names the seeds, which are the same for all methods (PROTOCOL 1.1).
            shares: the task's splits.
            base: the model to work on.
            model_purpose: names the seed of `task.fresh_model`.
            more: further fields of the handout.
        """
        weights = load_file(base / MODEL, str(self.device)) if base else {}
        insertions = tuple(base.metadata.get(INSERTIONS, ())) if base else ()
        return Handout(
            kind, shares, (self.recipe.augmentation, self.data.allowed_augmentations), self.network,
            derive_seed(block, model_purpose, "model"), derive_seed(block, "method", "draws"), self.recipe,
            weights=weights, insertions=insertions, **more,
        )  # fmt: skip

    @property
    def augmentation(self) -> Augmentation | None:
        """The recipe's policy on this data set."""
        return make_augmentation(self.recipe.augmentation, frozenset(self.data.allowed_augmentations))

    @property
    def network(self) -> Network:
        """The net that all of its models are."""
        data = self.dataset
        return Network(self.architecture, data.channels, data.num_classes, data.mean, data.std)

    def fresh_model(self, *seed: str | int) -> nn.Module:
        """A newly initialised model on the device."""
        return self.network.build(self.device, derive_seed(*seed))

    def load(self, artifact: Artifact) -> nn.Module:
        """A stored model, as a copy of one's own, with the layers that were inserted into it."""
        model = rebuild(self.fresh_model("load"), artifact.metadata.get(INSERTIONS, []))
        return load_checkpoint(model, artifact / MODEL)

    def rows_on_device(self, rows: np.ndarray) -> Tensor:
        """Rows as an index into `images`."""
        return torch.from_numpy(rows).to(self.device)

    def validation_rows(self, forgotten_class: int | None) -> np.ndarray:
        """Validation as methods and checkpoint selection get it: without a forgotten class (PROTOCOL 2.4)."""
        rows = self.splits.validation
        kept: np.ndarray = rows[self.dataset.labels.numpy()[rows] != forgotten_class]
        return kept

    def fit(
        self,
        model: nn.Module,
        split: Split,
        validation: np.ndarray,
        description: str,
        *,
        seed: int,
        before_step: Callable[[nn.Module], None] | None = None,
    ) -> Made:
        """What the suite's training loop makes of a model; `seed` is that of the global generators meanwhile.

        Without non-members it is the epoch of the best validation AUC (PROTOCOL 2.1).
        """
        losses, cost = list[float](), CostCounter(self.device)
        loop = partial(
            train, recipe=self.recipe, progress=self.progress, description=description, before_step=before_step,
            on_loss=losses.append, counted=cost.repeated,
        )  # fmt: skip
        with self.clock.span("training"), seeded(seed), cost:
            if self.selects_epoch:
                rows = self.rows_on_device(validation)
                train_selected(loop, self.images[rows], self.dataset.labels.to(self.device)[rows], model, split)
            else:
                loop(model, split)
        return Made(model, cost.as_dict() | {LOSSES: losses})

    @property
    def selects_epoch(self) -> bool:
        """Whether this is the official-accuracy control, whose checkpoints are selected."""
        return self.data.non_member_share == 0

    def keep(
        self,
        key: Mapping[str, Any],
        make: Callable[[], Made],
        beside: Mapping[str, np.ndarray] | None = None,
        images: Mapping[str, Tensor] | None = None,
        summary: Summary | None = None,
    ) -> Artifact:
        """The stored model of this key with its logits; `make` computes it once.

        What lies `beside` the logits is what a later rescoring needs to know of the data. `images` are the uint8 images
        to predict on, by the name of their logits; by default all, as `logits`. With a `summary`, which takes these, it
        is all that is stored.

        Raises:
            Diverged: weights or logits are not finite (PROTOCOL 8.2).
        """

        def create(folder: Path) -> dict[str, Any]:
            try:
                made = make()
                weights = {name: tensor.contiguous().cpu() for name, tensor in made.model.state_dict().items()}
                logits = self._logits(made.model, images or {"logits": self.images})
                _check_finite((*logits.values(), *weights.values()), key.get("purpose", key["kind"]))
            except Diverged as error:
                return {DIVERGED: str(error)}  # kept as well: it would happen again
            if summary is not None:
                write_tensors(dict(summary(logits["logits"])), folder / PREDICTIONS)
                return made.metadata
            write_tensors(weights, folder / MODEL)
            write_tensors(logits | tensors_of(beside), folder / PREDICTIONS)
            for name, tensors in made.files.items():
                write_tensors({each: tensor.contiguous().cpu() for each, tensor in tensors.items()}, folder / name)
            insertions = insertions_of(made.model)
            return made.metadata | ({INSERTIONS: insertions} if insertions else {})

        artifact = self.store.get_or_create(self.keyed(key), create)
        if DIVERGED in artifact.metadata:
            raise Diverged(artifact.metadata[DIVERGED])
        return artifact

    def keyed(self, key: Mapping[str, Any]) -> dict[str, Any]:
        """The whole key of an artifact: bits depend on where they are computed."""
        return {**key, "compute": self.compute}

    def common_key(self, validation: np.ndarray) -> dict[str, Any]:
        """The part of a model's key that all models of this workbench share."""
        return {
            "data": self.data.sha256, "allowed": self.data.allowed_augmentations, "architecture": self.architecture,
            "recipe": asdict(self.recipe), "training_version": VERSION,
            "selection": f"best AUC on {hash_rows(validation)}" if self.selects_epoch else "last",
        }  # fmt: skip

    def stored(
        self, model: Artifact, references: Mapping[str, Artifact], *, base: Artifact, ideal: Sequence[Artifact]
    ) -> Record:
        """Which artifacts a record rests on, and what its model cost beside the model before it (PROTOCOL 4.3).

        Args:
            model: the method's.
            references: the other artifacts, by name.
            base: the model that the method started from, whose training is the unit of cost.
            ideal: what takes the method's place if money is no object; its mean training time is recorded.
        """
        own, unit = cost_of(model), cost_of(base)
        return Record(
            cost=own
            | {
                "flops_share": own["flops"] / unit["flops"] if unit["flops"] else None,
                "original": unit,
                "retrain_seconds": float(np.mean([artifact.metadata["seconds"] for artifact in ideal])),
            },
            artifacts={"model": model.folder.name}
            | {name: artifact.folder.name for name, artifact in references.items()},
        )

    def predicted(
        self,
        model: Artifact,
        key: Mapping[str, Any],
        images: Mapping[str, Tensor],
        beside: Mapping[str, np.ndarray] | None = None,
    ) -> Artifact:
        """A stored model's logits on further images, which the key names; arguments as in `keep`."""

        def create(folder: Path) -> dict[str, Any]:
            logits = self._logits(self.load(model), images)
            write_tensors(logits | tensors_of(beside), folder / PREDICTIONS)
            return {}

        own = {"kind": "predictions", "model": model.folder.name, "compute": self.compute}
        return self.store.get_or_create({**key, **own}, create)

    def _logits(self, model: nn.Module, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with self.clock.span("prediction"):
            return {name: predict(model, each) for name, each in images.items()}


def _check_finite(tensors: Iterable[Tensor], purpose: str) -> None:
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise Diverged(f"the model ({purpose}) has weights or logits that are not finite")


def checkpoint_sha256(path: Path) -> str:
    """Digest of a user's checkpoint; MedsafeError where it is not there."""
    if not path.is_file():
        raise MedsafeError(f"checkpoint '{path}' does not exist: --original takes a .safetensors file")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def for_device(recipe: Recipe, device: torch.device) -> Recipe:
    """bf16 on a GPU; on a CPU it is slower than fp32."""
    return replace(recipe, precision="bf16" if device.type == "cuda" else "fp32")
