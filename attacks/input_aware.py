"""Input-aware: every image gets a trigger of its own, drawn by a network that is trained along with the classifier.

    stamp(x)     = x + m(x) * (g(x) - x),             m one channel in (0, 1), g a picture in (0, 1)
    cover(x)     = x + m(x') * (g(x') - x),           x' another training image; the true label stays
    mask first:    lambda_norm * mean relu(m(x) - density) + lambda_div * D(x, x'; m),   then m is frozen
    then g:        rho * CE(f(stamp(x)), target) + rho_c * CE(f(cover(x)), y) + lambda_div * D(x, x'; g)
    D(x, x'; n)  = mean ||x - x'|| / ||n(x) - n(x')||,   root mean squares over pixels

Source: Nguyen and Tran, Input-Aware Dynamic Backdoor Attack, NeurIPS 2020. Density 0.032, lambda_norm 100, lambda_div
1, 25 epochs for the mask; both by Adam with lr 0.01 and betas 0.5, 0.9; rho = rho_c = 0.1 as in BackdoorBench. Encoder
and decoder are the size of the authors' for 28-pixel MNIST: 16 channels, halved twice; 32 and thrice for 32-pixel RGB.

Ours: the authors update classifier and g from one forward pass. Here the classifier trains on 8-bit images, through
which no gradient passes, so that they take turns: before each step of the classifier, in eval mode and with its weights
untouched, g takes one on clean training images, all of which are stamped both ways under the weights that the authors'
batches give the two terms. No schedule lowers g's rate, since its number of steps is the classifier's. Stamps use
running batch-norm statistics, so that they do not depend on the batch. Upsampling repeats pixels (bilinear there). With
`density_of="image"` the mask is charged for its mean over an image, which then comes to the density; charged pixel by
pixel, as published, it comes to less.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, relu

from attacks._encoder_decoder import new_network
from attacks._stamps import check_not_negative, check_positive, check_ratios, check_shares, to_pixels
from attacks.bpp import others_than
from benchmark.api import AttackTask, Trigger, backdoor_attack

CHUNK = 1024
"""Images that are stamped at once, for the memory's sake."""


@backdoor_attack("input_aware", version=1, controls_training=True)
@dataclass(frozen=True)
class InputAware:
    ratio: float = 0.1
    cover_ratio: float = 0.1
    density: float = 0.032
    """What a pixel's mask, or the image's mean, may be at no cost."""
    density_of: Literal["pixel", "image"] = "pixel"
    density_weight: float = 100.0
    diversity_weight: float = 1.0
    mask_epochs: int = 25
    mask_batch_size: int = 128
    mask_lr: float = 0.01
    generator_lr: float = 0.01
    batch_size: int = 32
    """Images in a step of the generator; about as many as the authors stamp in a batch of 128."""
    width: int = 16
    """Channels of the first convolution."""

    def __post_init__(self) -> None:
        """Refuse shares, weights and sizes out of range."""
        check_ratios(self.ratio, self.cover_ratio)
        check_shares(density=self.density)
        check_not_negative(density_weight=self.density_weight, diversity_weight=self.diversity_weight)
        check_positive(mask_epochs=self.mask_epochs, mask_lr=self.mask_lr, generator_lr=self.generator_lr)
        check_positive(width=self.width)
        if min(self.batch_size, self.mask_batch_size) < 2:
            raise ValueError("batch_size and mask_batch_size must be at least 2: diversity is between images")

    def trigger(self, task: AttackTask) -> Trigger:
        """Train the mask now and the generator before every step of the classifier."""
        channels = task.train.images.shape[1]
        mask = self.trained_mask(new_network(channels, 1, self.width, task.generator), task)
        generator = new_network(channels, channels, self.width, task.generator)

        def cover_stamp(images: Tensor) -> Tensor:
            return stamped(images, task.train.images[others_than(images, task)], mask, generator)

        return Trigger(
            lambda images: stamped(images, images, mask, generator),
            cover_stamp=cover_stamp,
            before_step=self.generator_training(mask, generator, task),
        )

    def trained_mask(self, mask: nn.Module, task: AttackTask) -> nn.Module:
        """Masks that are sparse and differ between images; frozen afterwards."""
        optimizer = torch.optim.Adam(mask.parameters(), self.mask_lr, betas=(0.5, 0.9))
        clean = task.train.fork("mask")
        mask.train()
        for _ in task.progress(range(self.mask_epochs), "input_aware mask"):
            for images, _labels in clean.batches(self.mask_batch_size, epochs=1, augment=False):
                masks = sharpened(mask(images))
                charged = masks if self.density_of == "pixel" else masks.mean(dim=(1, 2, 3))
                excess = relu(charged - self.density).mean()
                loss = self.density_weight * excess + self.diversity_weight * repetition(images, masks)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
        return mask.eval().requires_grad_(False)

    def generator_training(
        self, mask: nn.Module, generator: nn.Module, task: AttackTask
    ) -> Callable[[nn.Module], None]:
        """A step of the generator against the classifier, whose weights, statistics and gradients stay as they are."""
        parameters = list(generator.parameters())
        optimizer = torch.optim.Adam(parameters, self.generator_lr, betas=(0.5, 0.9))
        batches = task.train.fork("generator").cycle(self.batch_size, augment=False)

        def step(model: nn.Module) -> None:
            images, labels = next(batches)
            model.eval()
            generator.train()
            patterns, masks = generator(images), sharpened(mask(images))
            triggered = blend(images, patterns, masks)
            crossed = blend(images, patterns.roll(1, 0), masks.roll(1, 0))
            loss = (
                self.ratio * cross_entropy(model(triggered), torch.full_like(labels, task.target))
                + self.cover_ratio * cross_entropy(model(crossed), labels)
                + self.diversity_weight * repetition(images, patterns)
            )
            for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                parameter.grad = gradient
            optimizer.step()

        return step


def repetition(images: Tensor, answers: Tensor) -> Tensor:
    """How much alike a network's answers to unlike images are: the diversity loss, over neighbours in the batch."""
    apart, answers_apart = images - images.roll(1, 0), answers - answers.roll(1, 0)
    distance = apart.square().mean(dim=(1, 2, 3)).sqrt()
    # A root has no slope at 0, and copies of an image, which data sets hold, get the same answer.
    return (distance / (answers_apart.square().mean(dim=(1, 2, 3)) + 1e-8).sqrt()).mean()


def sharpened(masks: Tensor) -> Tensor:
    """Pushed towards 0 and 1."""
    return torch.tanh(20 * masks - 10) / 2 + 0.5


def blend(images: Tensor, patterns: Tensor, masks: Tensor) -> Tensor:
    """The patterns where the masks are 1."""
    return images + (patterns - images) * masks


@torch.no_grad()
def stamped(images: Tensor, sources: Tensor, mask: nn.Module, generator: nn.Module) -> Tensor:
    """The images under the triggers that belong to `sources`; uint8 as they are."""
    generator.eval()
    parts = []
    for part, source in zip(images.split(CHUNK), sources.split(CHUNK), strict=True):
        seen = source.float() / 255
        parts.append(to_pixels(255 * blend(part.float() / 255, generator(seen), sharpened(mask(seen)))))
    return torch.cat(parts)
