"""FT-SAM: fine-tune towards weights whose neighbourhood is clean too, so that trigger neurons shrink.

    e     = rho * T^2 g / ||T g||_2,   g = grad L(theta),  T = |theta| elementwise,  the norm over all weights together
    theta = theta - lr * grad L(theta + e),   L = cross-entropy on clean images with label smoothing

The second gradient is taken on the same batch; momentum and weight decay act at theta, where the step starts.

Source: Zhu et al., Enhancing Fine-Tuning Based Backdoor Defense with Sharpness-Aware Minimization, ICCV 2023; adaptive
perturbation by Kwon et al., ASAM, ICML 2021, without the constant that ASAM adds to T. Published on 2,500 clean
CIFAR-10 images: 100 epochs of SGD, batch 256, lr 0.01, momentum 0.9, weight decay 5e-4, label smoothing 0.1, rho = 2 (8
on GTSRB and Tiny ImageNet), training augmentation.

  - `schedule_per_iteration`: the cosine schedule is stated over 100 epochs; the authors' code steps it after every
    batch, so that the learning rate swings with a period of 200 batches. Preset `authors-code`.
  - `perturbed_statistics`: both passes use batch statistics. The running ones follow the first pass alone, since they
    belong to the weights that are kept; the paper is silent. True lets both passes move them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask, backdoor_defense, steps_per_epoch

SMALLEST_NORM = 1e-12


@backdoor_defense(
    "ft_sam", version=1, source_sizes=(2_500,), presets={"authors-code": {"schedule_per_iteration": True}}
)
@dataclass(frozen=True)
class FTSAM:
    epochs: int = 100
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    rho: float = 2.0
    """Size of the perturbation; 0 is fine-tuning with label smoothing."""
    label_smoothing: float = 0.1
    schedule_per_iteration: bool = False
    perturbed_statistics: bool = False

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.rho < 0:
            raise ValueError(f"rho is at least 0, not {self.rho}")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must lie in [0, 1), not {self.label_smoothing}")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Train on the clean images with sharpness-aware steps."""
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.epochs)
        for _ in task.progress(range(self.epochs), "ft_sam"):
            for images, labels in task.clean.batches(self.batch_size, epochs=1):
                self.sharpness_aware_gradient(model, images, labels)
                optimizer.step()
                if self.schedule_per_iteration:
                    schedule.step()
            if not self.schedule_per_iteration:
                schedule.step()
        return model

    def updates(self, clean: int) -> int:
        """Optimiser steps on so many images, each of two passes."""
        return self.epochs * steps_per_epoch(clean, self.batch_size)

    def sharpness_aware_gradient(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Leave grad L(theta + e) in the gradients and theta itself in the weights."""
        self._gradient(model, images, labels)
        parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
        kept = [parameter.detach().clone() for parameter in parameters]
        with torch.no_grad():
            for parameter, offset in zip(parameters, perturbation(parameters, self.rho), strict=True):
                parameter.add_(offset)
        with running_statistics(model, follow=self.perturbed_statistics):
            self._gradient(model, images, labels)
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)  # subtracting the offset would leave rounding errors

    def _gradient(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        model.zero_grad(set_to_none=True)
        cross_entropy(model(images), labels, label_smoothing=self.label_smoothing).backward()


@torch.no_grad()
def perturbation(parameters: list[nn.Parameter], rho: float) -> list[Tensor]:
    """What e is for each parameter, from its gradient."""
    scaled = [parameter.abs() * parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.stack([part.norm() for part in scaled]).norm().clamp_min(SMALLEST_NORM)
    return [rho / norm * parameter.abs() * part for parameter, part in zip(parameters, scaled, strict=True)]


@contextmanager
def running_statistics(model: nn.Module, *, follow: bool) -> Iterator[None]:
    """Whether training passes move running statistics; batch statistics are used either way."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    norms = [norm for norm in norms if norm.track_running_stats and not follow]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
