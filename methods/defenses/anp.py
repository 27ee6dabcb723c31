"""Adversarial neuron pruning: prune the channels whose perturbation most easily makes clean images misclassified.

    min_{m in [0,1]}  alpha * CE(m) + (1 - alpha) * max_{|delta|, |xi| <= eps} CE(m + delta, 1 + xi)
    CE(m, s):  cross-entropy on clean images with every batch norm's gamma, beta replaced by m * gamma, s * beta
    prune (gamma = 0, as m = 0 does) the channels with m <= threshold

Source: Wu and Wang, Adversarial Neuron Pruning Purifies Backdoored Deep Models, NeurIPS 2021: eps 0.4 in one signed
step, alpha 0.2, masks by SGD of rate 0.2 and momentum 0.9 over 2,000 batches of 128 from 500 clean CIFAR-10 images,
threshold 0.2. The perturbation starts anew for every batch, uniformly in the box, and is projected onto it after each
step of eps / attack_steps: the paper's bound, which the authors' code leaves out. Batches are shuffled passes over the
clean images, where the source draws with replacement.

BackdoorBench learns masks at a rate of 0.01 on batches of 256 (preset `backdoorbench`) and picks the threshold by the
success of the attack on test images, which no defender knows: here it is fixed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask, Diverged, backdoor_defense
from methods.layers import RescaledNorms, Statistics, batch_norms, prune_channels


@backdoor_defense("anp", version=1, source_sizes=(500,), presets={"backdoorbench": {"lr": 0.01, "batch_size": 256}})
@dataclass(frozen=True)
class AdversarialNeuronPruning:
    iterations: int = 2_000
    lr: float = 0.2
    """Of the masks."""
    momentum: float = 0.9
    batch_size: int = 128
    eps: float = 0.4
    """Largest relative change of a channel's scale or shift."""
    attack_steps: int = 1
    alpha: float = 0.2
    """Weight of the loss without perturbation, in [0, 1]."""
    threshold: float = 0.2
    statistics: Statistics = "batch"
    """What batch norms normalise with while masks are learned; the stored statistics do not change."""

    def __post_init__(self) -> None:
        """Refuse what gives no perturbation or no mask."""
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must lie in [0, 1], not {self.alpha}")
        if self.eps < 0 or self.attack_steps < 1 or self.iterations < 1:
            raise ValueError("eps must be at least 0, attack_steps and iterations at least 1")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Learn the masks, prune where they are small."""
        masks = self.learn_masks(RescaledNorms(model, self.statistics), task)
        prune_channels(batch_norms(model), masks <= self.threshold, shift=False)
        return model

    def learn_masks(self, network: RescaledNorms, task: DefenseTask) -> Tensor:
        """One value in [0, 1] for each channel of all batch norms: float (channels,)."""
        masks = torch.ones_like(network.gamma).requires_grad_()
        optimizer = torch.optim.SGD([masks], self.lr, self.momentum)
        batches = task.clean.cycle(self.batch_size)
        for _ in task.progress(range(self.iterations), "anp"):
            images, labels = next(batches)
            delta, xi = self.perturb(network, masks.detach(), images, labels, task.generator)
            clean = cross_entropy(network(images, masks), labels)
            perturbed = cross_entropy(network(images, masks + delta, 1 + xi), labels)
            optimizer.zero_grad(set_to_none=True)
            (self.alpha * clean + (1 - self.alpha) * perturbed).backward()
            optimizer.step()
            with torch.no_grad():
                masks.clamp_(0, 1)
        if not bool(torch.isfinite(masks).all()):
            raise Diverged("the masks are not finite")
        return masks.detach()

    def perturb(
        self, network: RescaledNorms, masks: Tensor, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Raise the loss on these images; returns delta and xi: float (2, channels)."""
        start = torch.rand((2, len(masks)), generator=generator, device=masks.device)
        noise = self.eps * (2 * start - 1)
        for _ in range(self.attack_steps):
            noise.requires_grad_()
            loss = cross_entropy(network(images, masks + noise[0], 1 + noise[1]), labels)
            (gradient,) = torch.autograd.grad(loss, noise)
            step = self.eps / self.attack_steps * gradient.sign()
            noise = (noise.detach() + step).clamp(-self.eps, self.eps)
        return noise

    def updates(self, clean: int) -> int:
        """Optimiser steps on so many images: the source counts batches."""
        return self.iterations
