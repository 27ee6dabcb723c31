"""NAD: a fine-tuned copy of the model teaches it where to look.

    min_theta  CE(f(x), y) + sum_d beta_d * MSE(q_d(f, x), q_d(teacher, x))
    q_d = a_d / ||a_d||_2 over all places of an image,   a_d = sum over channels of |F_d|^p, at depth d

Teacher: the backdoored model fine-tuned with CE for `teacher_epochs`, then frozen in eval mode. Student: the backdoored
model itself, batch norm in training mode.

Source: Li et al., Neural Attention Distillation: Erasing Backdoor Triggers from Deep Neural Networks, ICLR 2021; values
of BackdoorBench, on 2,500 clean CIFAR-10 images: 10 and 10 epochs of SGD, batch 256, lr 0.01, momentum 0.9, weight
decay 5e-4, training augmentation, p = 2, beta = 500, 1000, 1000 from shallow to deep. The cosine schedule is one over
100 epochs (`schedule_epochs`), of which ten are seen: the learning rate falls by 2 %.

Depths are found without knowing the architecture: at every spatial size the last feature map that any module puts out,
of the three smallest sizes with more than one place. That is the end of each of the last three stages, after its ReLU.
A map of one place is left out, since it is 1 after normalisation: in BackdoorBench's code the deepest map of
PreActResNet18 is taken after global pooling, so that its third term is vacuous; ours is the one before.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from benchmark.api import DefenseTask, Unsupported, backdoor_defense, steps_per_epoch

Maps = dict[tuple[int, int], Tensor]
"""Height and width -> the last feature map of that size, (n, channels, height, width)."""
Loss = Callable[[Tensor, Tensor], Tensor]


@backdoor_defense("nad", version=1, source_sizes=(2_500,))
@dataclass(frozen=True)
class NAD:
    teacher_epochs: int = 10
    epochs: int = 10
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    schedule_epochs: int = 100
    power: float = 2.0
    """p of the attention maps."""
    shallow_weight: float = 500.0
    middle_weight: float = 1000.0
    deep_weight: float = 1000.0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if self.teacher_epochs < 0:
            raise ValueError(f"teacher_epochs is at least 0, not {self.teacher_epochs}")
        if self.schedule_epochs < 1:
            raise ValueError(f"schedule_epochs is at least 1, not {self.schedule_epochs}")
        if self.power <= 0:
            raise ValueError(f"power must be positive, not {self.power}")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Fine-tune a teacher, then the model towards its attention."""
        teacher = copy.deepcopy(model)
        self._fit(teacher, task, self.teacher_epochs, "nad: teacher", lambda i, y: cross_entropy(teacher(i), y))
        teacher.eval()
        with feature_maps(teacher) as wanted, feature_maps(model) as maps:

            def loss(images: Tensor, labels: Tensor) -> Tensor:
                with torch.no_grad():
                    teacher(images)
                logits = model(images)
                return cross_entropy(logits, labels) + self.attention_loss(maps, wanted)

            self._fit(model, task, self.epochs, "nad: student", loss)
        return model

    def updates(self, clean: int) -> int:
        """Optimiser steps of the student on so many images; the teacher's are proportional to them."""
        return self.epochs * steps_per_epoch(clean, self.batch_size)

    def attention_loss(self, maps: Maps, wanted: Maps) -> Tensor:
        """Weighted distance of the attention maps at the three depths.

        Raises:
            Unsupported: feature maps of fewer than three sizes.
        """
        sizes = sorted((size for size in maps if size[0] * size[1] > 1), reverse=True)[-3:]
        if len(sizes) < 3:
            raise Unsupported("the architecture has no feature maps of three sizes")
        weights = (self.shallow_weight, self.middle_weight, self.deep_weight)
        return torch.stack([
            weight * mse_loss(attention(maps[size], self.power), attention(wanted[size], self.power))
            for weight, size in zip(weights, sizes, strict=True)
        ]).sum()  # fmt: skip

    def _fit(self, model: nn.Module, task: DefenseTask, epochs: int, description: str, loss: Loss) -> None:
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.schedule_epochs)
        for _ in task.progress(range(epochs), description):
            for images, labels in task.clean.batches(self.batch_size, epochs=1):
                optimizer.zero_grad(set_to_none=True)
                loss(images, labels).backward()
                optimizer.step()
            schedule.step()


def attention(features: Tensor, power: float) -> Tensor:
    """(n, channels, height, width) -> (n, height * width), each row of L2 norm 1."""
    return normalize(features.abs().pow(power).sum(1).flatten(1))


@contextmanager
def feature_maps(model: nn.Module) -> Iterator[Maps]:
    """While open, holds the feature maps of the model's last pass."""
    maps: Maps = {}

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4:
            maps[output.shape[2], output.shape[3]] = output  # modules report in the order in which they finish

    hooks = [module.register_forward_hook(keep) for module in model.modules()]
    try:
        yield maps
    finally:
        for hook in hooks:
            hook.remove()
