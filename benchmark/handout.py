"""What a method is handed, as plain data: enough to carry it out here, or in a process that holds nothing else."""

import dataclasses
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmark.api import (
    DefenseTask,
    Diverged,
    PoisonedTrainingTask,
    Progress,
    Recipe,
    Split,
    UnlearningTask,
    Unsupported,
)
from benchmark.checks import BrokenMethod
from benchmark.contracts.insertion import Insertion, rebuild
from benchmark.cost import CostCounter, Count, uncounted
from benchmark.data.augment import make_augmentation
from benchmark.models import build_on
from benchmark.seeding import seeded
from benchmark.selection import train_selected
from benchmark.training import train

Kind = Literal["unlearning", "post-training", "in-training"]


@dataclass(frozen=True)
class Network:
    """The net that everybody of a run trains: what `build_on` needs beside device and seed."""

    name: str
    channels: int
    num_classes: int
    mean: float
    std: float

    def build(self, device: torch.device, seed: int) -> nn.Module:
        """A newly initialised model."""
        return build_on(device, seed=seed, **dataclasses.asdict(self))


@dataclass(frozen=True, eq=False)
class Share:
    """A split as it is handed over: images uint8 (n, channels, height, width), labels int64 (n,), seed."""

    images: Tensor
    labels: Tensor
    seed: int


@dataclass(frozen=True, eq=False)
class Handout:
    """All that a method may see: what is not in here, no method gets.

    Attributes:
        kind: which of the contracts the method fulfils.
        shares: the task's splits by the names of their fields.
        augmentation: the recipe's policy by name, and what the data set allows.
        network: of the models.
        model_seed: of `task.fresh_model`.
        draw_seed: of `task.generator`.
        recipe: of the models' training.
        selects_epoch: whether `task.fit` keeps the epoch with the best validation AUC (PROTOCOL 2.1).
        insertion_point: as in `DefenseTask`.
        weights: state dict of the model that the method works on; none where it trains its own.
        insertions: the layers which that model has beside those of its architecture.
    """

    kind: Kind
    shares: Mapping[str, Share]
    augmentation: tuple[str, tuple[str, ...]]
    network: Network
    model_seed: int
    draw_seed: int
    recipe: Recipe
    selects_epoch: bool = False
    insertion_point: str | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    insertions: tuple[Insertion, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where the method works."""
        return next(iter(self.shares.values())).images.device

    def model(self) -> nn.Module:
        """A private copy of the model that the method works on."""
        model = rebuild(self.network.build(self.device, seed=0), self.insertions)
        model.load_state_dict(self.weights)
        return model

    def task(
        self, progress: Progress, counted: Count = uncounted
    ) -> UnlearningTask | DefenseTask | PoisonedTrainingTask:
        """The task, with streams at their beginning; holds nothing but what is in here, and what bills `task.fit`."""
        policy, allowed = self.augmentation
        augmentation = make_augmentation(policy, frozenset(allowed))
        splits: dict[str, Any] = {
            name: Split(share.images, share.labels, share.seed, augmentation) for name, share in self.shares.items()
        }
        common: dict[str, Any] = {
            "num_classes": self.network.num_classes,
            "recipe": self.recipe,
            "generator": torch.Generator(self.device).manual_seed(self.draw_seed),
            "fresh_model": partial(self.network.build, self.device, self.model_seed),
            "fit": self._fit(progress, counted),
            "progress": progress,
        }
        if self.kind == "post-training":
            return DefenseTask(**splits, **common, insertion_point=self.insertion_point)
        return (UnlearningTask if self.kind == "unlearning" else PoisonedTrainingTask)(**splits, **common)

    def _fit(self, progress: Progress, counted: Count) -> Callable[[nn.Module, Split], nn.Module]:
        loop = partial(train, recipe=self.recipe, progress=progress, counted=counted)
        if not self.selects_epoch:
            return loop
        validation = self.shares["validation"]
        return partial(train_selected, loop, validation.images, validation.labels)


def carry_out(method: Any, handout: Handout, seed: int, progress: Progress) -> tuple[object, dict[str, float]]:
    """What a method returns, and what the call cost.

    Args:
        method: a configured plugin of the handout's kind.
        handout: what it may see.
        seed: of the global generators during the call.
        progress: shows how far it has come.

    Raises:
        BrokenMethod: it raised; says what, and in which of its lines.
        Diverged: it left the finite numbers.
        Unsupported: it says that it cannot work here.
    """
    cost = CostCounter(handout.device)
    task, model = handout.task(progress, cost.repeated), handout.model() if handout.weights else None
    with seeded(seed), cost:
        result = call(method, handout.kind, model, task)
    return result, cost.as_dict()


def call(method: Any, kind: Kind, model: nn.Module | None, task: Any) -> object:
    """What a method returns; raises as `carry_out`."""
    try:
        if kind == "in-training":
            return method.train(task)
        return (method.unlearn if kind == "unlearning" else method.defend)(model, task)
    except (Diverged, Unsupported):
        raise
    except (Exception, SystemExit) as error:
        raise BrokenMethod(f"raised {type(error).__name__}: {error}{_place(error, method)}") from error


def _place(error: BaseException, method: object) -> str:
    """The method's own line that led to the error, where its file is known."""
    file = getattr(sys.modules.get(type(method).__module__), "__file__", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""
