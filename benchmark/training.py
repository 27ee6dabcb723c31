"""The one training loop, and the recipes it follows by name."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import Diverged, MedsafeError, Progress, Recipe, Split, unknown
from benchmark.contracts.common import T
from benchmark.cost import Count, uncounted
from benchmark.graphs import Loss, ReplayedLoss, fastest_convolutions

VERSION = 1
"""Raised with every change of what the loop computes; part of every model's identity."""

OFTEN = 200
"""Full batches in a training from which a GPU prepares for their shape: that takes about a second."""

RECIPES = {
    recipe.name: recipe
    for recipe in (
        # MedMNIST v2, Yang et al., Scientific Data 2023: no augmentation.
        Recipe("medmnist", "adam", 1e-3, epochs=100, batch_size=128, schedule="multistep", milestones=(50, 75)),
        # The Original and Retrain of SalUn's code, Fan et al., ICLR 2024: crop and flip (as the data set allows).
        Recipe(
            "salun", "sgd", 0.1, epochs=182, batch_size=256, schedule="multistep", milestones=(91, 136),
            weight_decay=5e-4, augmentation="standard",
        ),
        # Ours, for two CPU cores: long enough to memorise a few thousand images.
        Recipe("cpu", "sgd", 0.1, epochs=30, batch_size=64, schedule="onecycle", weight_decay=5e-4),
    )
}  # fmt: skip


def get_recipe(text: str) -> Recipe:
    """A recipe by `name` or `name+augmentation`, e.g. `cpu+trivialaugment`."""
    name, _, augmentation = text.partition("+")
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return replace(RECIPES[name], augmentation=augmentation) if augmentation else RECIPES[name]


def silent(iterable: Iterable[T], description: str) -> Iterable[T]:
    """The progress of a run that nobody watches."""
    return iterable


def train(
    model: nn.Module,
    split: Split,
    recipe: Recipe,
    *,
    progress: Progress = silent,
    description: str = "training",
    before_step: Callable[[nn.Module], None] | None = None,
    after_epoch: Callable[[nn.Module], None] | None = None,
    on_loss: Callable[[float], None] | None = None,
    counted: Count = uncounted,
    often: int = OFTEN,
) -> nn.Module:
    """Train in place with cross-entropy for the recipe's epochs; the last state is the result (PROTOCOL 1.2).

    `before_step` is an attacker's: it is called before each optimiser step, and the model is in training mode again
    afterwards. `on_loss` is told every epoch's mean loss over its steps. `counted` bills the steps, of which those on
    equally large batches cost the same. From `often` full batches on, a GPU replays their steps as a CUDA graph.

    Raises:
        Diverged: the mean loss of an epoch is not finite.
    """
    optimizer = make_optimizer(model, recipe)
    steps = split.steps_per_epoch(recipe.batch_size)
    scheduler = make_scheduler(optimizer, recipe, steps)
    repeats = split.images.is_cuda and recipe.epochs * (len(split) // recipe.batch_size) >= often
    loss_of = make_loss(model, recipe, replayed=repeats and before_step is None)
    training = object()  # two trainings on one bill may be of two models
    for epoch in progress(range(recipe.epochs), description):
        model.train()
        total = torch.zeros((), device=split.labels.device)
        for images, labels in split.batches(recipe.batch_size, epochs=1):
            if before_step is not None:
                before_step(model)
                model.train()
            with counted((training, images.shape)), fastest_convolutions(repeats):
                loss = loss_of(images, labels)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            scheduler.step()
            total += loss.detach()
        mean = float(total) / steps  # one read an epoch: a read a step would stall a GPU
        if not math.isfinite(mean):
            raise Diverged(f"{description}: loss is {mean} in epoch {epoch + 1}")
        if on_loss is not None:
            on_loss(mean)
        if after_epoch is not None:
            after_epoch(model)
    return model


def make_loss(model: nn.Module, recipe: Recipe, *, replayed: bool) -> Loss:
    """The loss of a batch, by the ordinary way or, for full batches, out of a CUDA graph."""
    loss = partial(batch_loss, model, recipe, cache_casts=not replayed)
    return ReplayedLoss(model, loss, recipe.batch_size) if replayed else loss


def batch_loss(model: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor, *, cache_casts: bool) -> Tensor:
    """Mean cross-entropy of a batch, in the recipe's precision: bf16 where it says so.

    A cast weight is kept for its next use in the same pass only if `cache_casts`, which a CUDA graph forbids.
    """
    bf16 = recipe.precision == "bf16"
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16, cache_enabled=cache_casts):
        return cross_entropy(model(images), labels)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over all of the model's parameters; on a GPU, one kernel updates them all."""
    parameters = list(model.parameters())
    fused = all(parameter.is_cuda for parameter in parameters) or None
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=fused)
    return torch.optim.SGD(
        parameters, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=False, fused=fused
    )


def make_scheduler(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The recipe's learning-rate schedule, advanced once per optimiser step."""
    if recipe.schedule == "onecycle":
        # Its momentum stays the recipe's: a second schedule would be one more thing to know about a reference run.
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, recipe.lr, total_steps=recipe.epochs * steps_per_epoch, cycle_momentum=False
        )
    steps = [epoch * steps_per_epoch for epoch in recipe.milestones]
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, steps, gamma=0.1)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, *, batch_size: int | None = None) -> Tensor:
    """Logits of uint8 images in eval mode: float32 (n, classes) on the CPU, never in reduced precision."""
    model.eval()
    batch_size = batch_size or evaluation_batch(images)
    split = Split(images, torch.zeros(len(images), dtype=torch.int64, device=images.device), seed=0)
    full = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with full, torch.autocast(images.device.type, enabled=False):
        return torch.cat([model(batch).float() for batch, _ in split.in_order(batch_size)]).cpu()


def evaluation_batch(images: Tensor) -> int:
    """How many images to predict at once: 1,024 on a CPU; on a GPU more or fewer, by its memory and their size.

    Allows a sixteenth of the GPU for 1 KiB a pixel, four maps of 64 channels, what a ResNet-18 needs at a time; of the
    whole memory, not of what is free, so that the same GPU always sums in the same order.
    """
    if not images.is_cuda:
        return 1024
    memory = torch.cuda.get_device_properties(images.device).total_memory // 16
    return max(64, min(8192, memory // (1024 * images.shape[2] * images.shape[3])))


def resolve_device(text: str) -> torch.device:
    """`auto` is the first GPU where there is one, else the CPU."""
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if text.split(":", maxsplit=1)[0] not in ("cpu", "cuda"):
        raise unknown("device", text, ["auto", "cpu", "cuda"])
    try:
        device = torch.device(text)
    except RuntimeError as error:
        raise MedsafeError(f"device '{text}' not understood: write cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MedsafeError(
            f"device '{text}' is not there: torch sees {torch.cuda.device_count()} GPUs; use --device cpu"
        )
    return device
