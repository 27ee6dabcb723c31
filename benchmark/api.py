"""The one module that a method imports: its contract, and the data it is handed.

Nothing here knows of data sets, architectures, files or the runner. What a task holds is what its threat model allows.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from benchmark.errors import MedsafeError, unknown

__all__ = [
    "Augmentation",
    "Diverged",
    "MedsafeError",
    "PluginInfo",
    "Progress",
    "Recipe",
    "Split",
    "UnlearningMethod",
    "UnlearningTask",
    "derive_seed",
    "steps_per_epoch",
    "unknown",
    "unlearning_method",
]

T = TypeVar("T")

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""uint8 images (n, channels, height, width) -> the same shape and dtype, drawn anew for every image."""


class Progress(Protocol):
    """Wraps an iterable and shows how far it has come; library code never prints."""

    def __call__(self, iterable: Iterable[T], description: str) -> Iterable[T]: ...


class Diverged(Exception):
    """Training left the finite numbers; the run becomes a record with status `diverged`."""


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
    """

    images: Tensor
    labels: Tensor
    seed: int
    augmentation: Augmentation | None = None
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


@dataclass(frozen=True, eq=False)
class UnlearningTask:
    """All that an unlearning method may see: no test image, no non-member, no retrained reference."""

    forget: Split
    retain: Split
    validation: Split
    num_classes: int
    recipe: Recipe
    """The Original's training recipe."""
    generator: torch.Generator
    """Seeded, on the device: for every draw that is the method's own."""
    fresh_model: Callable[[], nn.Module]
    """A newly initialised, seeded model of the Original's architecture."""
    fit: Callable[[nn.Module, Split], nn.Module]
    """The suite's training loop under `recipe`; trains in place and returns the model."""
    progress: Progress


class UnlearningMethod(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters and whose defaults are the published ones."""

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Return a model without the forget set's influence. `model` is a private copy and may be changed in place."""
        ...


@dataclass(frozen=True)
class PluginInfo:
    """Under which (kind, name) a plugin is found, the version of its behaviour, and its presets."""

    kind: str
    name: str
    version: int
    presets: dict[str, dict[str, Any]]
    source_sizes: tuple[int, int] | None = None
    """Forget and retain images of the experiment that the published values come from."""


def unlearning_method(
    name: str,
    *,
    version: int,
    presets: dict[str, dict[str, Any]] | None = None,
    source_sizes: tuple[int, int] | None = None,
) -> Callable[[type[T]], type[T]]:
    """Mark a frozen dataclass as an unlearning method.

    Args:
        name: lower-case letters, digits, `_`; the built-in ones equal their file's name.
        version: raised with every change of behaviour, so that old records never pass for new ones.
        presets: further named sets of hyper-parameters from the source, as changes to the defaults;
            `published` is the defaults themselves.
        source_sizes: forget and retain images of the experiment that the published values come from. With them, a field
            `lr` and a method `updates(forget, retain)` there is a preset `scaled`: the learning rate under which
            lr x updates is what it was there (PROTOCOL 4.1).
    """
    known: dict[str, dict[str, Any]] = {"published": {}, **({"scaled": {}} if source_sizes else {}), **(presets or {})}
    return _marker(PluginInfo("unlearning", name, version, known, source_sizes))


def _marker(info: PluginInfo) -> Callable[[type[T]], type[T]]:
    def mark(plugin: type[T]) -> type[T]:
        plugin.plugin_info = info  # type: ignore[attr-defined]
        return plugin

    return mark
