"""Gradient ascent: undo the forgotten data's training by climbing its loss.

    max_theta  CE(theta; D_f),  from the Original, for a few small steps

Source: the GA baseline of Jia et al., NeurIPS 2023, and SalUn (Fan et al., ICLR 2024): 5 epochs of SGD, batch 256,
momentum 0.9, weight decay 5e-4. The method is very sensitive to its learning rate: the authors advise 5e-4 to 1e-3
for random forgetting (Unlearn-Saliency, issue 8; the default is the lower end) and used 1e-4 for whole classes
(Unlearn-Sparse, issue 5; preset `published-class`).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import UnlearningTask, steps_per_epoch, unlearning_method


@unlearning_method(
    "gradient_ascent", version=1, source_sizes=(4_500, 40_500), presets={"published-class": {"lr": 1e-4}}
)
@dataclass(frozen=True)
class GradientAscent:
    """Climb the loss of the forget set."""

    epochs: int = 5
    lr: float = 5e-4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Ascend on the forget set alone."""
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        for _ in task.progress(range(self.epochs), "gradient_ascent"):
            for images, labels in task.forget.batches(self.batch_size, epochs=1):
                optimizer.zero_grad(set_to_none=True)
                (-cross_entropy(model(images), labels)).backward()
                optimizer.step()
        return model

    def updates(self, forget: int, retain: int) -> int:
        """Optimiser steps on sets of these sizes."""
        return self.epochs * steps_per_epoch(forget, self.batch_size)
