"""l1-sparse: fine-tune on the retained data under an l1 penalty that fades to nothing.

    min_theta  CE(theta; D_r) + gamma_t * ||theta||_1,    gamma_t = gamma * (1 - t / T),  t = epoch of T

Source: Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023. As in the authors' code the norm runs
over every parameter, batch-norm scales and biases included.
Values chosen for the tables were never released; the defaults are the geometric centres of the published search ranges
(learning rate 1e-3 to 1e-1, gamma 1e-6 to 1e-4). The code's own default of 0.2 for the weight belongs to another method
and destroys the model.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import UnlearningTask, steps_per_epoch, unlearning_method


@unlearning_method("l1_sparse", version=1, source_sizes=(4_500, 40_500))
@dataclass(frozen=True)
class L1Sparse:
    """Unlearn towards a sparse model."""

    gamma: float = 1e-5
    """Weight of the l1 norm in the first epoch."""
    epochs: int = 10
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Fine-tune on the retain set with a fading l1 penalty."""
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        for epoch in task.progress(range(self.epochs), "l1_sparse"):
            gamma = self.gamma * (1 - epoch / self.epochs)
            for images, labels in task.retain.batches(self.batch_size, epochs=1):
                norm = torch.stack([parameter.abs().sum() for parameter in model.parameters()]).sum()
                optimizer.zero_grad(set_to_none=True)
                (cross_entropy(model(images), labels) + gamma * norm).backward()
                optimizer.step()
        return model

    def updates(self, forget: int, retain: int) -> int:
        """Optimiser steps on sets of these sizes."""
        return self.epochs * steps_per_epoch(retain, self.batch_size)
