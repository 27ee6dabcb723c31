"""Reconstructive neuron pruning: unlearn clean images, then see which channels have to shrink to bring them back.

    theta'  = gradient ascent on CE(theta; D_clean), until its accuracy is at most stop_accuracy
    m       = argmin_{m in [0,1]}  alpha * CE(theta', m; D_clean),   every batch norm's gamma' replaced by m * gamma'
    prune (gamma = 0, as m = 0 does) the channels of theta, the model as it was, with m <= threshold

Source: Li et al., Reconstructive Neuron Pruning for Backdoor Defense, ICML 2023, values as in BackdoorBench: 500 clean
CIFAR-10 images; ascent by SGD of rate 0.01 over 20 epochs at most, down to 20 % accuracy; masks by SGD of rate 0.2 over
20 epochs, alpha 0.2; threshold 0.7. Batch 128, momentum 0.9, weight decay 5e-4 on weights, none on masks; both rates
are constant here. Accuracy is counted over an epoch's batches as they are trained on. Ascent drives it below chance
whatever the number of classes, so that 20 % is reached with two classes as well.

The authors' code clips gradients before they are computed, to no effect: ours has no clipping. BackdoorBench picks the
threshold by the success of the attack on test images, which no defender knows: here it is fixed.
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask, Diverged, backdoor_defense, steps_per_epoch
from methods.layers import RescaledNorms, Statistics, batch_norms, prune_channels


@backdoor_defense("rnp", version=1, source_sizes=(500,))
@dataclass(frozen=True)
class ReconstructiveNeuronPruning:
    epochs: int = 20
    """Of unlearning, at most."""
    lr: float = 0.01
    """Of unlearning; batch norm in training mode."""
    weight_decay: float = 5e-4
    stop_accuracy: float = 0.2
    recovery_epochs: int = 20
    recovery_lr: float = 0.2
    alpha: float = 0.2
    """Factor of the recovery loss."""
    threshold: float = 0.7
    momentum: float = 0.9
    batch_size: int = 128
    statistics: Statistics = "batch"
    """What batch norms normalise with during recovery."""

    def __post_init__(self) -> None:
        """Refuse what cannot be reached."""
        if not 0 <= self.stop_accuracy <= 1:
            raise ValueError(f"stop_accuracy must lie in [0, 1], not {self.stop_accuracy}")
        if self.recovery_epochs < 1 or self.recovery_lr < 0:
            raise ValueError("recovery_epochs must be at least 1, recovery_lr at least 0")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Prune the channels that recovery would rather do without."""
        norms = batch_norms(model)
        unlearned = self.unlearn(copy.deepcopy(model), task)
        masks = self.recover(RescaledNorms(unlearned, self.statistics), task)
        prune_channels(norms, masks <= self.threshold, shift=False)
        return model

    def unlearn(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Climb the clean loss."""
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        for _ in task.progress(range(self.epochs), "rnp: unlearning"):
            right = torch.zeros((), device=task.clean.labels.device)
            for images, labels in task.clean.batches(self.batch_size, epochs=1):
                logits = model(images)
                optimizer.zero_grad(set_to_none=True)
                (-cross_entropy(logits, labels)).backward()
                optimizer.step()
                right += (logits.argmax(1) == labels).sum()
            if float(right) <= self.stop_accuracy * len(task.clean):
                break
        return model

    def recover(self, network: RescaledNorms, task: DefenseTask) -> Tensor:
        """One value in [0, 1] for each channel of all batch norms: float (channels,)."""
        masks = torch.ones_like(network.gamma).requires_grad_()
        optimizer = torch.optim.SGD([masks], self.recovery_lr, self.momentum)
        for _ in task.progress(range(self.recovery_epochs), "rnp: recovery"):
            for images, labels in task.clean.batches(self.batch_size, epochs=1):
                optimizer.zero_grad(set_to_none=True)
                (self.alpha * cross_entropy(network(images, masks), labels)).backward()
                optimizer.step()
                with torch.no_grad():
                    masks.clamp_(0, 1)
        if not bool(torch.isfinite(masks).all()):
            raise Diverged("the masks are not finite: unlearning went too far")
        return masks.detach()

    def updates(self, clean: int) -> int:
        """Optimiser steps on so many images, if unlearning takes all its epochs."""
        return (self.epochs + self.recovery_epochs) * steps_per_epoch(clean, self.batch_size)
