"""What an attack and a defence are, and all that either may see."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from benchmark.contracts.common import Progress, Recipe, Split

Stamp = Callable[[Tensor], Tensor]
"""uint8 images (n, channels, height, width) -> the same shape, dtype and device, no image left as it was."""


@dataclass(frozen=True, eq=False)
class AttackTask:
    """All that an attacker has: the training data, the images of it that are his, and a clean model of his own."""

    train: Split
    """The train pool, clean."""
    target: int
    """The class that the attacker wants; the label rule of an all-to-all attack needs none."""
    poisoned: Tensor
    """int64 rows of `train`: the images that are stamped and get the attacker's label; the suite's choice."""
    cover: Tensor
    """int64 rows of `train`: the images that are stamped and keep their label."""
    num_classes: int
    generator: torch.Generator
    """Seeded, on the device."""
    clean_model: Callable[[], nn.Module]
    """A copy of a model that the attacker has trained on the clean `train` under seeds of his own."""
    progress: Progress


@dataclass(frozen=True, eq=False)
class Trigger:
    """What an attack comes to, once its pattern is drawn or learned.

    Attributes:
        stamp: at test time.
        train_stamp: of the poisoned training images, where it differs.
        cover_stamp: of the cover images, where it differs.
        before_step: called with the model before every optimiser step of the poisoned training: for a trigger that is
            trained with it. Must leave the model's weights, statistics and gradients as they are.
    """

    stamp: Stamp
    train_stamp: Stamp | None = None
    cover_stamp: Stamp | None = None
    before_step: Callable[[nn.Module], None] | None = None


class BackdoorAttack(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters; the decorator says what it wants, and of whom."""

    @property
    def ratio(self) -> float:
        """Share of poisoned images."""
        ...

    def trigger(self, task: AttackTask) -> Trigger:
        """Draw or learn the trigger. Where the attack controls training, its stamps may change until that ends."""
        ...


@dataclass(frozen=True, eq=False)
class DefenseTask:
    """All that a defender of a trained model has: no test image, no trigger, no target, no ASR (PROTOCOL 7.4)."""

    clean: Split
    """The defender's clean images; a selection has to split them (`task.clean.divided`)."""
    num_classes: int
    recipe: Recipe
    """How the model was trained."""
    generator: torch.Generator
    """Seeded, on the device: for every draw that is the method's own."""
    fresh_model: Callable[[], nn.Module]
    """A newly initialised, seeded model of the same architecture."""
    fit: Callable[[nn.Module, Split], nn.Module]
    """The suite's training loop under `recipe`; trains in place and returns the model."""
    insertion_point: str | None
    """Name of the module in front of which a layer sees the architecture's late feature maps; None: there are none."""
    progress: Progress


class BackdoorDefense(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters and whose defaults are the published ones."""

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Return ONE self-contained module without the backdoor; `model` is a private copy, to be changed in place.

        Pruning is baked into the weights, no hook outlives the call; a layer may be added with `insert_before`.
        """
        ...


@dataclass(frozen=True, eq=False)
class PoisonedTrainingTask:
    """All that a defender has who trains the model himself, on data he cannot trust; ranked apart (PROTOCOL 7.5)."""

    train: Split
    """The train pool as the attacker hands it over: static, poisoned and cover images among the clean ones."""
    num_classes: int
    recipe: Recipe
    generator: torch.Generator
    """Seeded, on the device: for every draw that is the method's own."""
    fresh_model: Callable[[], nn.Module]
    """A newly initialised model, with the seed of the model that ordinary training on this set would give."""
    fit: Callable[[nn.Module, Split], nn.Module]
    """The suite's training loop under `recipe`; trains in place and returns the model."""
    progress: Progress


class TrainingDefense(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters and whose defaults are the published ones."""

    def train(self, task: PoisonedTrainingTask) -> nn.Module:
        """Return a model trained on the poisoned set that does not obey the trigger."""
        ...
