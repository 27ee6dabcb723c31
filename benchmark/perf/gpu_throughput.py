"""How many images a second a GPU trains on: eager and replayed, against what it can multiply; and the plain loop."""

import itertools
import logging
import os
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from benchmark.api import Recipe, Split
from benchmark.cost import CostCounter
from benchmark.models import ARCHITECTURES, build_on
from benchmark.perf import plain
from benchmark.perf.gpu_setting import Figure, Setting, not_measured
from benchmark.training import make_optimizer, make_scheduler, train

EAGER, REPLAYED = 10**9, 0
"""Values of `often`: from how many batches of a shape on a CUDA graph is used."""
MULTIPLICATIONS = 10


def model_on(setting: Setting, num_classes: int = 8) -> nn.Module:
    """A new model of the architecture that is measured."""
    return build_on(setting.device, setting.sizes.architecture, channels=3, num_classes=num_classes, seed=0)


def throughput(setting: Setting) -> Iterator[Figure]:
    """The suite's training loop at several batch sizes, eager and replayed, beside the device's matrix products."""
    peak = matrix_products(setting)
    yield Figure("bf16 matrix product", peak / 1e12, "TFLOP/s", note=f"side {setting.sizes.matrix:,}")
    name, cost = setting.sizes.architecture, flops_per_image(setting)
    yield Figure(f"{name}, training, of one image", cost / 1e9, "GFLOP")
    for batch in setting.sizes.batches:
        setting.free_memory()
        for way, often in (("eager", EAGER), ("CUDA graph", REPLAYED)):
            what = f"{name}, training, batch {batch}, {way}"
            if often == REPLAYED and not setting.on_gpu:
                yield not_measured(what)
                continue
            with complaints() as said:
                rate = images_per_second(setting, batch, often)
            required = "40,000 images/s at one of the batch sizes" if name == "resnet18" else None
            notes = [f"{rate * cost / peak:.1%} of the matrix products' FLOP/s", "crop and flip", *said]
            yield Figure(what, round(rate, 1), "images/s", required, "; ".join(notes))
        yield setting.peak_memory(f"{name}, training, batch {batch}")


def matrix_products(setting: Setting) -> float:
    """FLOP/s of square bf16 matrix products of random numbers."""
    side = setting.sizes.matrix
    first, second = (torch.randn(side, side, device=setting.device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        first @ second
    start = setting.now()
    for _ in range(MULTIPLICATIONS):
        first @ second
    return MULTIPLICATIONS * 2 * side**3 / (setting.now() - start)


def flops_per_image(setting: Setting) -> float:
    """Of a training step, counted."""
    split = setting.split(16, augmented=False)
    with CostCounter(setting.device) as cost:
        train(model_on(setting), split, setting.recipe(16, 1), often=EAGER)
    return cost.flops / len(split)


def images_per_second(setting: Setting, batch: int, often: int) -> float:
    """Of the suite's training loop on full batches."""
    return _rate(setting, setting.split(batch * setting.sizes.steps), batch, setting.sizes.epochs, often)


def _rate(setting: Setting, split: Split, batch: int, epochs: int, often: int) -> float:
    """Images a second in the median epoch; one more before it prepares for the shape, and does not count."""
    ends: list[float] = []
    train(
        model_on(setting), split, setting.recipe(batch, 1 + epochs), often=often, progress=setting.progress,
        on_loss=lambda _: ends.append(setting.now()),
    )  # fmt: skip
    return len(split) / statistics.median(end - start for start, end in itertools.pairwise(ends))


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What is said meanwhile of graphs that could not be recorded: the figure is then not what it is called."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("benchmark.graphs")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def resident(setting: Setting) -> Iterator[Figure]:
    """As many images as PathMNIST has, on the device."""
    batch = setting.sizes.batches[-1]
    split = setting.split(setting.sizes.path_images)
    size = split.images.numel() / 2**20
    yield Figure("PathMNIST-size data, resident", round(size, 1), "MiB", note=f"{len(split):,} images, uint8")
    rate = _rate(setting, split, batch, max(1, setting.sizes.epochs // 2), REPLAYED)
    note = f"batch {batch}, {setting.sizes.architecture}, crop and flip"
    yield Figure("PathMNIST-size data, training", round(rate, 1), "images/s", note=note)
    yield setting.peak_memory("PathMNIST-size data")


def beside_plain(setting: Setting) -> Iterator[Figure]:
    """The plain loop (PIL, transforms, DataLoader, fp32, contiguous) beside the suite's, on the same batch size."""
    batch = setting.sizes.batches[0]
    images = setting.split(setting.sizes.plain_images, augmented=False)
    rates = {}
    for workers in setting.sizes.workers:
        setting.check_time()
        if workers <= (os.cpu_count() or 1):
            rates[workers] = _plain_rate(setting, images, batch, workers)
            yield Figure(f"plain loop, {workers} workers", round(rates[workers], 1), "images/s", note=f"batch {batch}")
    ours = images_per_second(setting, batch, REPLAYED if setting.on_gpu else EAGER)
    best = max(rates, key=lambda workers: rates[workers])
    required = "8 times" if setting.sizes.architecture == "resnet18" else None
    note = f"batch {batch}; {ours:,.0f} images/s against {rates[best]:,.0f} with {best} workers"
    yield Figure("the suite's loop against the plain one", round(ours / rates[best], 2), "times", required, note)


def _plain_rate(setting: Setting, images: Split, batch: int, workers: int) -> float:
    """Images a second in the second of two epochs, when the workers have started and kernels are chosen."""
    pictures = images.images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    dataset = plain.Images(pictures, images.labels.cpu().numpy(), plain.transform(*plain.crop_and_flip(28)))
    batches: DataLoader[tuple[Tensor, int]] = DataLoader(
        dataset, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0, pin_memory=setting.on_gpu
    )
    model = ARCHITECTURES[setting.sizes.architecture](3, 8).to(setting.device)
    recipe = replace(setting.recipe(batch, 2), precision="fp32")
    _plain_epoch(setting, model, batches, recipe)
    start = setting.now()
    _plain_epoch(setting, model, batches, recipe)
    return len(dataset) / (setting.now() - start)


def _plain_epoch(setting: Setting, model: nn.Module, batches: DataLoader[tuple[Tensor, int]], recipe: Recipe) -> None:
    optimizer = make_optimizer(model, recipe)
    scheduler = make_scheduler(optimizer, recipe, len(batches))
    model.train()
    for batch in batches:
        images, labels = (each.to(setting.device, non_blocking=True) for each in batch)
        loss = cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
