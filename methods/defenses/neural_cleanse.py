"""Neural Cleanse: reverse the smallest patch that leads to each class; a class reached too easily has a backdoor.

    stamp(x) = (1 - m) * x + m * p,   m (height, width) and p (channels, height, width), each (tanh + 1) / 2
    for every class t:   min_{m, p}  CE(f(stamp(x)), t) + cost * ||m||_1
    flagged:   t with  ||m_t||_1 < median  and  |  ||m_t||_1 - median | / (1.4826 * MAD) > 2,  over the classes
    unlearning:   fine-tune on clean images, 20 % of every batch stamped with a flagged trigger, all correctly labelled

With two classes both norms are equally far from their median: nothing can be flagged. Where nothing is flagged the
model is returned as it was, which is a finding and no failure.

Source: Wang et al., Neural Cleanse: Identifying and Mitigating Backdoor Attacks in Neural Networks, IEEE S&P 2019;
values of BackdoorBench on 2,500 clean CIFAR-10 images. Reversal: Adam lr 0.1, betas 0.5 and 0.9, at most 80 epochs of
batches of 256, model in eval mode. The cost starts at 1e-3, doubles after 5 epochs in a row at 98 % success or more and
is divided by 2^1.5 after 5 below. The smallest mask that an epoch of 98 % success ended with counts (as its last batch
saw it), and where there is none the last one; the search ends once the cost has gone both ways and no smaller mask came
for `stop_patience` epochs (in the authors' code five times the patience). Unlearning: 100 epochs of SGD, lr 0.01,
momentum 0.9, weight decay 5e-4, cosine, batch norm in training mode; the paper's single epoch of constant learning rate
is preset `paper` (with one epoch a cosine is constant).

Images are stamped after augmentation, where the test-time trigger sits; which ones is drawn anew in every epoch, and
with several triggers each image gets one of them at random (the sources know one epoch, or one trigger). `scaled`
raises the learning rate of the unlearning alone: the reversal trains no model, and searches until it has found.
"""

import logging
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask, backdoor_defense, steps_per_epoch

MAD_TO_DEVIATION = 1.4826
"""Of a normal distribution: its standard deviation over its median absolute deviation."""

log = logging.getLogger(__name__)


@backdoor_defense("neural_cleanse", version=1, source_sizes=(2_500,), presets={"paper": {"epochs": 1}})
@dataclass(frozen=True)
class NeuralCleanse:
    trigger_epochs: int = 80
    reversal_step_size: float = 0.1
    cost: float = 1e-3
    """Weight of the mask's norm at the start."""
    cost_patience: int = 5
    success: float = 0.98
    stop_patience: int = 25
    anomaly: float = 2.0
    stamped_share: float = 0.2
    epochs: int = 100
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name in ("trigger_epochs", "cost_patience", "stop_patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, not {getattr(self, name)}")
        for name in ("success", "stamped_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")
        if self.reversal_step_size < 0 or self.cost <= 0:
            raise ValueError("reversal_step_size is at least 0 and cost is positive")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Look for triggers, and train against those that are suspiciously small."""
        model.eval()
        classes = task.progress(range(task.num_classes), "neural_cleanse: reversal")
        masks, patterns = map(torch.stack, zip(*(self.reverse(model, task, target) for target in classes), strict=True))
        norms = masks.sum((1, 2))
        flagged = outliers_below(norms, self.anomaly)
        log.debug("mask norms %s, flagged %s", norms.tolist(), flagged.tolist())
        return self.unlearn(model, task, masks[flagged], patterns[flagged]) if len(flagged) else model

    def updates(self, clean: int) -> int:
        """Optimiser steps of the unlearning on so many images; those of each reversal are proportional to them."""
        return self.epochs * steps_per_epoch(clean, self.batch_size)

    def reverse(self, model: nn.Module, task: DefenseTask, target: int) -> tuple[Tensor, Tensor]:
        """The smallest mask found that leads to a class, (height, width), and its pattern, with channels first."""
        search = Search(self.cost, self.cost_patience, self.success)
        channels, height, width = task.clean.images.shape[1:]
        drawn = torch.rand(channels + 1, height, width, generator=task.generator, device=task.generator.device)
        raw = drawn.logit(1e-3).div(2).requires_grad_()  # mask, then pattern: uniform in [0, 1]
        optimizer = torch.optim.Adam([raw], self.reversal_step_size, betas=(0.5, 0.9))
        for _ in range(self.trigger_epochs):
            hits = 0
            for images, _ in task.clean.batches(self.batch_size, epochs=1):
                mask, pattern = squash(raw)
                logits = model(stamp(images, mask, pattern))
                loss = cross_entropy(logits, torch.full((len(images),), target, device=images.device))
                raw.grad = torch.autograd.grad(loss + search.cost * mask.sum(), raw)[0]  # none for the weights
                optimizer.step()
                hits += int((logits.argmax(1) == target).sum())
            search.after_epoch(hits / len(task.clean), (mask.detach(), pattern.detach()))  # as last tried
            if search.moved == {"up", "down"} and search.stale >= self.stop_patience:
                break
        return search.best

    def unlearn(self, model: nn.Module, task: DefenseTask, masks: Tensor, patterns: Tensor) -> nn.Module:
        """Fine-tune with a part of every batch under one of k triggers."""
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.epochs)
        for _ in task.progress(range(self.epochs), "neural_cleanse: unlearning"):
            for images, labels in task.clean.batches(self.batch_size, epochs=1):
                count = round(self.stamped_share * len(images))  # batches are shuffled: the first are any
                which = torch.randint(len(masks), (count,), generator=task.generator, device=masks.device)
                stamped = stamp(images[:count], masks[which, None], patterns[which])
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(torch.cat([stamped, images[count:]])), labels).backward()
                optimizer.step()
            schedule.step()
        return model


class Search:
    """What the reversal remembers from one epoch to the next: the best trigger, and how the cost came to be."""

    def __init__(self, cost: float, patience: int, success: float) -> None:
        self.cost, self.patience, self.success = cost, patience, success
        self.met = self.missed = self.stale = 0
        self.moved = set[str]()
        self.found = False
        self.best: tuple[Tensor, Tensor]

    def after_epoch(self, success: float, trigger: tuple[Tensor, Tensor]) -> None:
        """Keep the trigger if it succeeds with a smaller mask, and let the cost follow the success."""
        reached = success >= self.success
        smaller = reached and (not self.found or trigger[0].sum() < self.best[0].sum())
        if smaller or not self.found:
            self.best = trigger
        self.found = self.found or reached
        self.stale = 0 if smaller or not self.found else self.stale + 1
        self.met, self.missed = (self.met + 1, 0) if reached else (0, self.missed + 1)
        if self.met == self.patience:
            self.cost, self.met, self.moved = self.cost * 2, 0, self.moved | {"up"}
        if self.missed == self.patience:
            self.cost, self.missed, self.moved = self.cost / 2**1.5, 0, self.moved | {"down"}


def outliers_below(norms: Tensor, anomaly: float) -> Tensor:
    """Classes, int64 (k,), whose norm lies more than `anomaly` robust deviations below the median."""
    median = norms.quantile(0.5)
    deviation = MAD_TO_DEVIATION * (norms - median).abs().quantile(0.5)
    return torch.nonzero(median - norms > anomaly * deviation).flatten()


def squash(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Mask (height, width) and pattern (channels, height, width) in [0, 1], of unbounded numbers."""
    mask, pattern = (raw.tanh() + 1).div(2).tensor_split([1])
    return mask[0], pattern


def stamp(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
    """The images under a trigger; with leading dimensions, each under its own."""
    return (1 - mask) * images + mask * pattern
