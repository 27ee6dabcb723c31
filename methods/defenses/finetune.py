"""Fine-tuning: go on training on clean images and let the model forget the trigger by itself.

    min_theta  CE(theta; D_clean),  from the backdoored model, batch norm in training mode, last epoch kept

Source: the FT baseline of BackdoorBench (Wu et al., NeurIPS 2022), on 2,500 clean CIFAR-10 images: 100 epochs of SGD,
batch 256, lr 0.01, momentum 0.9, weight decay 5e-4, cosine schedule over the epochs, training augmentation.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask, backdoor_defense, steps_per_epoch


@backdoor_defense("finetune", version=1, source_sizes=(2_500,))
@dataclass(frozen=True)
class FineTune:
    epochs: int = 100
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Train on the clean images."""
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.epochs)
        for _ in task.progress(range(self.epochs), "finetune"):
            for images, labels in task.clean.batches(self.batch_size, epochs=1):
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(images), labels).backward()
                optimizer.step()
            schedule.step()
        return model

    def updates(self, clean: int) -> int:
        """Optimiser steps on so many images."""
        return self.epochs * steps_per_epoch(clean, self.batch_size)
