"""What every contract builds on: splits served in batches, the training recipe, seeds named by their purpose."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""uint8 images (n, channels, height, width) -> the same shape and dtype, drawn anew for every image."""


class Progress(Protocol):
    """Wraps an iterable and shows how far it has come; library code never prints."""

    def __call__(self, iterable: Iterable[T], description: str) -> Iterable[T]: ...


class Diverged(Exception):
    """Training left the finite numbers; the run becomes a record with status `diverged`."""


class Unsupported(Exception):
    """The method cannot work on this model or data; the run becomes a record with status `skipped` and the reason."""


def derive_seed(*purpose: str | int) -> int:
    """A 63-bit seed named by its purpose, so that a new consumer of randomness never shifts another (PROTOCOL 1.1)."""
    digest = hashlib.sha256("/".join(map(str, purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Number of batches in one pass over so many images; a left-over image of its own joins the batch before it."""
    left_over = batch_size > 1 and images > batch_size and images % batch_size == 1
    return max(1, -(-images // batch_size) - left_over)


@dataclass(frozen=True, eq=False)
class Split:
    """Images with labels, resident on the device and served in batches; a tensor of its own, no view of the data set.

    Attributes:
        images: uint8 (n, channels, height, width).
        labels: int64 (n,).
        seed: of the stream that orders and augments the batches; the stream goes on from one call to the next.
        augmentation: the recipe's policy on this data set; None leaves images as they are.
        transform: uint8 images and their rows -> uint8 images, whenever images are served, before augmentation: how an
            attacker who controls the training stamps anew.
    """

    images: Tensor
    labels: Tensor
    seed: int
    augmentation: Augmentation | None = None
    transform: Callable[[Tensor, Tensor], Tensor] | None = None
    generator: torch.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Start the stream."""
        object.__setattr__(self, "generator", torch.Generator(self.images.device).manual_seed(self.seed))

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def batches(
        self, size: int, *, epochs: int | None = None, steps: int | None = None, augment: bool = True
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches for a number of epochs or of optimiser steps; give exactly one of the two.

        Yields:
            float32 images in [0, 1] (b, channels, height, width) and int64 labels (b,), with b = size but for the end
            of an epoch.
        """
        if (epochs is None) == (steps is None):
            raise ValueError("give either epochs or steps")
        served = 0
        while served < (steps if epochs is None else epochs * self.steps_per_epoch(size)):  # type: ignore[operator]
            order = torch.randperm(len(self), generator=self.generator, device=self.images.device)
            for rows in self._cut(order, size):
                if served == steps:
                    return
                served += 1
                yield self._serve(rows, augment)

    def cycle(self, size: int, *, augment: bool = True) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches without end: how a small set accompanies a large one."""
        while True:
            yield from self.batches(size, epochs=1, augment=augment)

    def in_order(self, size: int = 1024) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, as stored, never augmented: for predictions."""
        for rows in torch.arange(len(self), device=self.images.device).split(size):
            yield self._serve(rows, augment=False)

    def steps_per_epoch(self, size: int) -> int:
        """Number of batches in one pass."""
        return steps_per_epoch(len(self), size)

    def fork(self, purpose: str) -> "Split":
        """The same data with a stream of its own, so that drawing from it leaves this split's stream where it is."""
        return replace(self, seed=derive_seed(self.seed, purpose))

    def with_labels(self, labels: Tensor) -> "Split":
        """The same images under other labels, int64 (n,); the stream starts anew from a seed drawn from this one."""
        return replace(self, labels=labels, seed=self._draw_seed())

    def joined_with(self, other: "Split") -> "Split":
        """Both splits' images as one; the stream starts anew from a seed drawn from this one."""
        images, labels = torch.cat([self.images, other.images]), torch.cat([self.labels, other.labels])
        return replace(self, images=images, labels=labels, seed=self._draw_seed())

    def part(self, rows: Tensor) -> "Split":
        """The images of these rows, int64 (m,); the stream starts anew from a seed drawn from this one."""
        if self.transform is not None:
            raise ValueError("a split that is stamped anew whenever it is served has no fixed parts")
        return replace(self, images=self.images[rows], labels=self.labels[rows], seed=self._draw_seed())

    def divided(self, share: float) -> tuple["Split", "Split"]:
        """Two parts, the second with a share of each class's images, at least one where a class has two or more."""
        second = torch.zeros(len(self), dtype=torch.bool, device=self.labels.device)
        for label in self.labels.unique():
            rows = torch.nonzero(self.labels == label).flatten()
            order = torch.randperm(len(rows), generator=self.generator, device=rows.device)
            wanted = max(1, round(share * len(rows))) if len(rows) > 1 else 0
            second[rows[order[:wanted]]] = True
        return self.part(torch.nonzero(~second).flatten()), self.part(torch.nonzero(second).flatten())

    def _draw_seed(self) -> int:
        return int(torch.randint(2**62, (1,), generator=self.generator, device=self.images.device))

    def _cut(self, order: Tensor, size: int) -> list[Tensor]:
        """Batches of rows; a single left-over image joins the batch before it: batch norm cannot train on one."""
        parts = list(order.split(size))
        if size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts

    def _serve(self, rows: Tensor, augment: bool) -> tuple[Tensor, Tensor]:
        images = self.images[rows]
        if self.transform is not None:
            images = self.transform(images, rows)
        if augment and self.augmentation is not None:
            images = self.augmentation(images, self.generator)
        return images.contiguous(memory_format=torch.channels_last).float().div_(255), self.labels[rows]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; the same for Original, Retrain and whatever a method trains through `task.fit`."""

    name: str
    optimizer: Literal["sgd", "adam"]
    lr: float
    epochs: int
    batch_size: int
    schedule: Literal["constant", "multistep", "onecycle"] = "constant"
    milestones: tuple[int, ...] = ()
    """Epochs after which a `multistep` schedule multiplies the learning rate by 0.1."""
    momentum: float = 0.9
    weight_decay: float = 0.0
    augmentation: str = "none"
    precision: Literal["fp32", "bf16"] = "fp32"
