"""What is compared inside one process: an epoch, the suite's loop, a defence, the choice of weights."""

import copy
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask, Recipe, Split
from benchmark.cost import CostCounter
from benchmark.data.augment import make_augmentation
from benchmark.data.datasets import Dataset, load_dataset
from benchmark.models import ARCHITECTURES, build_model, insertion_point
from benchmark.perf import plain
from benchmark.perf.measure import OURS, Comparison
from benchmark.perf.plain_salun import forget_gradients, masks_by_sorting
from benchmark.perf.plain_sau import plain_sau
from benchmark.store.artifacts import ArtifactStore
from benchmark.tracks.models import Workbench
from benchmark.training import get_recipe, make_optimizer, make_scheduler, silent, train
from benchmark.workbenches import Setup, Workbenches
from methods.defenses.sau import SAU
from methods.unlearning.salun import saliency_masks

DATA = "bloodmini"
SAU_ROUNDS, SAU_IMAGES = 3, 200
SALIENCY_IMAGES, KEEP_RATIO = 8, 0.5
OVERHEAD_EPOCHS, FREE = 8, 0.95
"""Epochs of a fit, and what the suite's share of it must leave."""


@contextmanager
def epoch(architecture: str, images: int, required: float | None) -> Iterator[Comparison]:
    """A training epoch with crop and flip: resident tensors, against PIL images and the best number of loaders."""
    dataset, recipe = load_dataset(DATA), replace(get_recipe("cpu"), epochs=1)
    model = build_model(architecture, channels=3, num_classes=dataset.num_classes, seed=0)
    crop_and_flip = make_augmentation("standard", frozenset({"crop", "horizontal"}))
    split = Split(dataset.images[:images], dataset.labels[:images], 0, crop_and_flip)
    opened = _opened(dataset, images)
    network = ARCHITECTURES[architecture](3, dataset.num_classes)
    workers = plain.best_workers(network, opened, recipe.batch_size)
    batches = plain.loader(opened, recipe.batch_size, workers=workers)

    def plain_epoch(net: nn.Module, memory_format: torch.memory_format) -> None:
        optimizer = make_optimizer(net, recipe)
        plain.train_epoch(net, batches, optimizer, make_scheduler(optimizer, recipe, len(batches)), memory_format)

    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    yield Comparison(
        f"training epoch, {architecture}",
        f"{images:,} images, batch {recipe.batch_size}, crop and flip; best DataLoader: {workers} workers",
        {
            OURS: partial(_epoch, model, split, recipe),
            "plain PyTorch": partial(plain_epoch, network, torch.contiguous_format),
            "plain, channels_last": partial(plain_epoch, last, torch.channels_last),
        },
        required,
    )


@contextmanager
def overhead(architecture: str = "cnn-small") -> Iterator[Comparison]:
    """What seeding, counting, progress and checks of a fit cost beside the bare loop on the same tensors."""
    recipe = replace(get_recipe("cpu"), epochs=OVERHEAD_EPOCHS)
    with tempfile.TemporaryDirectory() as folder:
        workbenches = Workbenches(ArtifactStore(Path(folder)), silent)
        setup = Setup(DATA, None, None, architecture, recipe, torch.device("cpu"), non_member_share=0.1)
        bench = workbenches.open(setup)
        yield Comparison(
            "the suite's own share of a training",
            f"{architecture}, {OVERHEAD_EPOCHS} epochs of {len(bench.splits.pool):,} images",
            {OURS: partial(_fit, bench), "bare loop, same tensors": partial(_bare_loop, bench)},
            required=FREE,
        )


@contextmanager
def saliency(architecture: str = "resnet18") -> Iterator[Comparison]:
    """SalUn's choice of half of the weights, gradients included."""
    dataset = load_dataset(DATA)
    model = build_model(architecture, channels=3, num_classes=dataset.num_classes, seed=0)
    split = Split(dataset.images[:SALIENCY_IMAGES], dataset.labels[:SALIENCY_IMAGES], 0)
    batches = plain.loader(_opened(dataset, SALIENCY_IMAGES), SALIENCY_IMAGES, workers=0)
    weights = sum(parameter.numel() for parameter in model.parameters())
    yield Comparison(
        "saliency selection",
        f"{architecture}, {weights:,} weights, gradients of {SALIENCY_IMAGES} images",
        {
            OURS: lambda: saliency_masks(model, split, SALIENCY_IMAGES, KEEP_RATIO),
            "sorting all": lambda: masks_by_sorting(forget_gradients(model, batches), KEEP_RATIO),
        },
    )


@contextmanager
def sau(architecture: str = "cnn-small") -> Iterator[Comparison]:
    """The defence against its form with separate passes, from the same trained model."""
    dataset = load_dataset(DATA)
    start = build_model(architecture, channels=3, num_classes=dataset.num_classes, seed=0)
    rows = torch.from_numpy(dataset.train)
    train(start, Split(dataset.images[rows], dataset.labels[rows], 0), replace(get_recipe("cpu"), epochs=2))
    method = SAU(rounds=SAU_ROUNDS)
    yield Comparison(
        "SAU",
        f"{architecture}, {SAU_ROUNDS} rounds on {SAU_IMAGES} clean images",
        {
            OURS: lambda: method.defend(copy.deepcopy(start), defense_task(dataset, SAU_IMAGES)),
            "separate passes": lambda: plain_sau(method, copy.deepcopy(start), defense_task(dataset, SAU_IMAGES)),
        },
    )


def defense_task(dataset: Dataset, images: int) -> DefenseTask:
    """The first validation images as a defender's clean pool; its stream begins anew."""
    rows = torch.from_numpy(dataset.validation[:images])
    recipe, net = get_recipe("cpu"), "cnn-small"

    def fresh_model() -> nn.Module:
        return build_model(net, channels=3, num_classes=dataset.num_classes, seed=1)

    def fit(model: nn.Module, split: Split) -> nn.Module:
        return train(model, split, recipe)

    return DefenseTask(
        clean=Split(dataset.images[rows], dataset.labels[rows], 0), num_classes=dataset.num_classes, recipe=recipe,
        generator=torch.Generator().manual_seed(0), fresh_model=fresh_model, fit=fit, progress=silent,
        insertion_point=insertion_point(net, fresh_model()),
    )  # fmt: skip


def _opened(dataset: Dataset, images: int) -> plain.Images:
    """The first images as the plain way reads them."""
    pixels = np.ascontiguousarray(dataset.images[:images].permute(0, 2, 3, 1).numpy())
    augmentations = plain.crop_and_flip(pixels.shape[1])
    return plain.Images(pixels, dataset.labels[:images].numpy(), plain.transform(*augmentations))


def _epoch(model: nn.Module, split: Split, recipe: Recipe) -> None:
    with CostCounter(torch.device("cpu")) as cost:
        train(model, split, recipe, counted=cost.repeated)


def _fit(bench: Workbench) -> None:
    model, split = bench.fresh_model("perf"), bench.split(bench.splits.pool, "perf")
    bench.fit(model, split, bench.splits.validation, "perf", seed=0)


def _bare_loop(bench: Workbench) -> None:
    model, split, recipe = bench.fresh_model("perf"), bench.split(bench.splits.pool, "perf"), bench.recipe
    optimizer = make_optimizer(model, recipe)
    scheduler = make_scheduler(optimizer, recipe, split.steps_per_epoch(recipe.batch_size))
    model.train()
    for images, labels in split.batches(recipe.batch_size, epochs=recipe.epochs):
        loss = cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
