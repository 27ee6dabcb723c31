"""NegGrad+: descend on the retained data while ascending on the forgotten data.

    min_theta  alpha * CE(theta; D_r) - (1 - alpha) * CE(theta; D_f)

Source: Kurmanji et al., Towards Unbounded Machine Unlearning, NeurIPS 2023 (baseline section). Every step pairs a
retain batch with a forget batch; the smaller set is repeated.
The values are those of the authors' notebook. The preset `scaled` counts its updates on the same set as the other
methods' (4,500 of 45,000 images forgotten), so that one rule serves the whole table.
Authors' code differs (preset `authors-code`): batch-norm statistics stay frozen, and there is no weight decay.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import UnlearningTask, steps_per_epoch, unlearning_method


@unlearning_method(
    "neggrad_plus",
    version=1,
    source_sizes=(4_500, 40_500),
    presets={"authors-code": {"freeze_statistics": True, "weight_decay": 0.0}},
)
@dataclass(frozen=True)
class NegGradPlus:
    """Descend on what stays, ascend on what goes."""

    alpha: float = 0.95
    """Weight of the retain loss, in [0, 1]; 1 is plain fine-tuning."""
    epochs: int = 10
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 128
    freeze_statistics: bool = False
    """Keep batch-norm statistics as the Original's (eval mode throughout)."""

    def __post_init__(self) -> None:
        """Refuse a weight outside [0, 1]."""
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1], not {self.alpha}")

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Minimise the difference of the two losses."""
        model.train(not self.freeze_statistics)
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        forget = task.forget.cycle(self.batch_size)
        for _ in task.progress(range(self.epochs), "neggrad_plus"):
            for images, labels in task.retain.batches(self.batch_size, epochs=1):
                forget_images, forget_labels = next(forget)
                retain_loss = cross_entropy(model(images), labels)
                forget_loss = cross_entropy(model(forget_images), forget_labels)
                optimizer.zero_grad(set_to_none=True)
                (self.alpha * retain_loss - (1 - self.alpha) * forget_loss).backward()
                optimizer.step()
        return model

    def updates(self, forget: int, retain: int) -> int:
        """Optimiser steps on sets of these sizes."""
        return self.epochs * steps_per_epoch(retain, self.batch_size)
