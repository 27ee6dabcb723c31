"""Random labelling: train on the forgotten images under wrong random labels, and on the retained data as it is.

    min_theta  CE(theta; {(x, y') : x in D_f}) + CE(theta; D_r),    y' uniform over the classes other than y

Source: the RL baseline of SalUn (Fan et al., ICLR 2024), after Golatkar et al., CVPR 2020: 10 epochs of SGD, batch 256,
momentum 0.9, weight decay 5e-4, constant learning rate 0.013 (SalUn's README, ResNet-18 on CIFAR-10, 10 % random).
Labels are drawn anew in every epoch, and batch norm runs in training mode over both sets.

Paper and authors' code differ:
  - `label_pool`: the paper's y' is never the true class (`wrong`); the code draws from all classes (`all`).
  - `schedule`: by data set the code either passes over D_f and then over D_r in each epoch (`forget_then_retain`;
    CIFAR-10, SVHN), or shuffles both into mixed batches (`mixed`; CIFAR-100, Tiny ImageNet). For other data it does
    nothing at all.

With two classes a wrong label is the other label: a deterministic flip (PROTOCOL 2.5).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import UnlearningTask, steps_per_epoch, unlearning_method

LabelPool = Literal["wrong", "all"]
Schedule = Literal["forget_then_retain", "mixed"]


@unlearning_method(
    "random_label", version=1, source_sizes=(4_500, 40_500), presets={"authors-code": {"label_pool": "all"}}
)
@dataclass(frozen=True)
class RandomLabel:
    """Contradict what was learned of the forget set."""

    epochs: int = 10
    lr: float = 0.013
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    label_pool: LabelPool = "wrong"
    schedule: Schedule = "forget_then_retain"

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Train on random labels for the forget set and true ones for the retain set."""
        return self.fit(model, task, self.optimizer(model))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """SGD over all parameters."""
        return torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)

    def fit(self, model: nn.Module, task: UnlearningTask, optimizer: torch.optim.Optimizer) -> nn.Module:
        """Minimise the objective with a given optimiser."""
        model.train()
        for _ in task.progress(range(self.epochs), "random labels"):
            for images, labels in self.epoch(task):
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(images), labels).backward()
                optimizer.step()
        return model

    def epoch(self, task: UnlearningTask) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch's batches in the order of the schedule."""
        if self.schedule == "mixed":
            wrong = task.forget.with_labels(self.draw(task.forget.labels, task))
            yield from wrong.joined_with(task.retain).batches(self.batch_size, epochs=1)
        else:
            for images, labels in task.forget.batches(self.batch_size, epochs=1):
                yield images, self.draw(labels, task)
            yield from task.retain.batches(self.batch_size, epochs=1)

    def draw(self, labels: Tensor, task: UnlearningTask) -> Tensor:
        """Random labels, int64 (n,): uniform over all classes, or over all but each image's own."""
        if self.label_pool == "all":
            return torch.randint(task.num_classes, labels.shape, generator=task.generator, device=labels.device)
        shift = torch.randint(1, task.num_classes, labels.shape, generator=task.generator, device=labels.device)
        return (labels + shift) % task.num_classes

    def updates(self, forget: int, retain: int) -> int:
        """Optimiser steps on sets of these sizes."""
        parts = [forget + retain] if self.schedule == "mixed" else [forget, retain]
        return self.epochs * sum(steps_per_epoch(part, self.batch_size) for part in parts)
