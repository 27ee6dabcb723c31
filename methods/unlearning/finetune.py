"""Fine-tuning: go on training on the retained data and let the model forget the rest by itself.

    min_theta  CE(theta; D_r),  from the Original

Source: the FT baseline of Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023, and of SalUn (Fan
et al., ICLR 2024): 10 epochs of SGD, batch 256, momentum 0.9, weight decay 5e-4, constant learning rate.
The learning rate chosen for their tables was never released; the default is the geometric centre of the published
search range, 1e-3 to 1e-1.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import UnlearningTask, steps_per_epoch, unlearning_method


@unlearning_method("finetune", version=1, source_sizes=(4_500, 40_500))
@dataclass(frozen=True)
class FineTune:
    """Catastrophic forgetting, on purpose."""

    epochs: int = 10
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Train on the retain set for a few epochs."""
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        for _ in task.progress(range(self.epochs), "finetune"):
            for images, labels in task.retain.batches(self.batch_size, epochs=1):
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(images), labels).backward()
                optimizer.step()
        return model

    def updates(self, forget: int, retain: int) -> int:
        """Optimiser steps on sets of these sizes."""
        return self.epochs * steps_per_epoch(retain, self.batch_size)
