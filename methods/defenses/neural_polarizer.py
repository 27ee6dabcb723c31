"""Neural Polarizer (NPD): one trained layer in a frozen network that filters the trigger out of its late features.

h is the network with P = 1x1 convolution (identity at first) and batch norm in front of the task's insertion point.

    target        t_i = most likely class other than y_i under h(x_i);   yhat_i = argmax h(x_i)
    perturbation  delta <- Proj_{|delta|_2 <= rho} (delta - step * sign grad CE(h(clip(x + delta)), t)),   from 0,
                  at most `inner_steps`, no further once more than `success_share` of the batch is taken for t
    loss          lambda_1 CE(h(x), y) + lambda_2 CE(h(x'), yhat) + lambda_3 mean -log(1.0001 - p(k | x'))
                  + lambda_4 mean -log(1.0001 - p(t | x')),   x' = clip(x + delta), k = h(x')'s likeliest class but y
    rho           `radius` * sqrt(d / 3072) for images of d numbers: equal root mean square per pixel (ours)

Source: Zhu et al., Neural Polarizer: A Lightweight and Effective Backdoor Defense via Purifying Poisoned Features,
NeurIPS 2023. Published on 2,500 class-balanced clean CIFAR-10 images without augmentation: 5 epochs of warm-up on the
clean loss (plain SGD, batch norm in training mode: this is what gives it statistics), then 50 epochs of SGD at a
constant learning rate with batch norm in eval mode. With `train_statistics` it is in training mode for clean images
there too, as in the code's Tiny ImageNet setting; perturbed images always meet frozen statistics.

Differences from the authors' code:
  - The runner-up is found by rank; the code sets the true class's logit to -10, wrong where all others are lower.
  - P goes where the architecture says; the code knows one place, in front of PreActResNet-18's last 3x3 block (a
    shortcut passes it by there), and its MindSpore port another, behind ResNet's last stage.
  - The model is returned with P in it, the code saves them apart. Other layers for P and the L-infinity attack are out.
CE is clamped at 80 in the attack, here for each sample.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask, Unsupported, backdoor_defense, insert_before, steps_per_epoch

SOURCE_DIMENSIONS = 3 * 32 * 32
"""Numbers in an image of the source's experiment."""


@backdoor_defense("neural_polarizer", version=1, source_sizes=(2_500,))
@dataclass(frozen=True)
class NeuralPolarizer:
    epochs: int = 50
    warmup_epochs: int = 5
    lr: float = 0.01
    warmup_lr: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 128
    inner_steps: int = 2
    inner_step_size: float = 0.1
    radius: float = 3.0
    """L2 bound on the perturbation of a 3x32x32 image in [0, 1]."""
    success_share: float = 0.6
    clean_weight: float = 1.0
    """lambda_1: clean images keep their label."""
    consistency_weight: float = 0.4
    """lambda_2: perturbed images keep the prediction of the clean ones."""
    wrong_class_weight: float = 0.4
    """lambda_3: the likeliest wrong class of a perturbed image becomes unlikely."""
    attacked_class_weight: float = 0.4
    """lambda_4: the class that the perturbation aims at becomes unlikely."""
    train_statistics: bool = False

    def __post_init__(self) -> None:
        """Refuse a perturbation without room."""
        if self.radius <= 0 or self.inner_step_size <= 0:
            raise ValueError(f"radius and inner_step_size must be positive, not {self.radius}, {self.inner_step_size}")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Insert the layer, warm it up, and train it against perturbations of the network that it is part of."""
        model.eval().requires_grad_(False)
        polarizer = insert_polarizer(model, task)
        self._warm_up(model, polarizer, task)
        optimizer = torch.optim.SGD(polarizer.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        for _ in task.progress(range(self.epochs), "neural_polarizer"):
            for images, labels in task.clean.batches(self.batch_size, epochs=1, augment=False):
                polarizer.train(self.train_statistics)
                logits = model(images)
                polarizer.eval()
                target = strongest_other(logits, labels)
                perturbed = self.perturbed(model, images, target)
                loss = self.loss(logits, model(perturbed), labels, target)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        return model.requires_grad_(True)

    def _warm_up(self, model: nn.Module, polarizer: nn.Module, task: DefenseTask) -> None:
        polarizer.train()
        optimizer = torch.optim.SGD(polarizer.parameters(), self.warmup_lr)
        for images, labels in task.clean.batches(self.batch_size, epochs=self.warmup_epochs, augment=False):
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(model(images), labels).backward()
            optimizer.step()

    def perturbed(self, model: nn.Module, images: Tensor, target: Tensor) -> Tensor:
        """Images in [0, 1] that the model in its present state is drawn to take for the target classes."""
        radius = self.radius * (images[0].numel() / SOURCE_DIMENSIONS) ** 0.5
        delta = torch.zeros_like(images)
        for _ in range(self.inner_steps):
            delta.requires_grad_(True)
            logits = model((images + delta).clamp(0, 1))
            if float((logits.argmax(1) == target).float().mean()) > self.success_share:
                break
            loss = cross_entropy(logits, target, reduction="none").clamp(-80, 80).sum()
            (gradient,) = torch.autograd.grad(loss, delta)
            delta = delta.detach() - self.inner_step_size * gradient.sign()
            norm = delta.flatten(1).norm(dim=1).clamp(min=radius)  # of what lies inside the ball nothing is taken
            delta = delta * (radius / norm).view(-1, 1, 1, 1)
        return (images + delta.detach()).clamp(0, 1)

    def loss(self, logits: Tensor, perturbed_logits: Tensor, labels: Tensor, target: Tensor) -> Tensor:
        """The four terms, from the logits of clean and of perturbed images."""
        wrong = strongest_other(perturbed_logits, labels)
        return (
            self.clean_weight * cross_entropy(logits, labels)
            + self.consistency_weight * cross_entropy(perturbed_logits, logits.detach().argmax(1))
            + self.wrong_class_weight * unlikelihood(perturbed_logits, wrong)
            + self.attacked_class_weight * unlikelihood(perturbed_logits, target)
        )

    def updates(self, clean: int) -> int:
        """Optimiser steps on so many images, warm-up not counted."""
        return self.epochs * steps_per_epoch(clean, self.batch_size)


def insert_polarizer(model: nn.Module, task: DefenseTask) -> nn.Module:
    """Put the layer, still the identity, into the model; returns the layer.

    Raises:
        Unsupported: the architecture has no place with feature maps.
    """
    if task.insertion_point is None:
        raise Unsupported("the architecture has no place for a layer on feature maps")
    channels = channels_before(model, task.insertion_point, next(task.clean.in_order(2))[0])
    layers = [("Conv2d", {"in_channels": channels, "out_channels": channels, "kernel_size": 1, "bias": False}),
              ("BatchNorm2d", {"num_features": channels})]  # fmt: skip
    polarizer = insert_before(model, task.insertion_point, layers)
    nn.init.dirac_(polarizer.get_submodule("0").weight)  # type: ignore[arg-type]
    return polarizer


@torch.no_grad()
def channels_before(model: nn.Module, path: str, images: Tensor) -> int:
    """Channels of the feature maps that go into a module.

    Raises:
        Unsupported: what goes in is no batch of feature maps.
    """
    found: list[Tensor] = []
    hook = model.get_submodule(path).register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    try:
        model.eval()(images)
    finally:
        hook.remove()
    if len(found) != 1 or found[0].dim() != 4:
        raise Unsupported(f"'{path}' does not take one batch of feature maps")
    return found[0].shape[1]


def strongest_other(logits: Tensor, labels: Tensor) -> Tensor:
    """The likeliest class other than the label: int64 (n,)."""
    first, second = logits.detach().topk(2, dim=1).indices.unbind(1)
    return torch.where(first == labels, second, first)


def unlikelihood(logits: Tensor, classes: Tensor) -> Tensor:
    """-log(1.0001 - p(class)), averaged over the batch."""
    probabilities = logits.softmax(1).gather(1, classes[:, None])
    return -(1.0001 - probabilities).log().mean()
