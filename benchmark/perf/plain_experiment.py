"""SalUn beside retrained models, the plain way: every model with loaders of its own, evaluated after every epoch.

The same data, nets, recipe, repetitions and scores as `medsafe run --method salun`, written with nothing but PyTorch,
torchvision and scikit-learn. A process of its own: `python -m benchmark.perf.plain_experiment FILE.npz`.
"""

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import nn

from benchmark.models import ARCHITECTURES
from benchmark.perf.plain import Batches, Images, accuracy, loader, train_epoch, transform
from benchmark.perf.plain_salun import forget_gradients, masks_by_sorting, salun_epoch
from benchmark.perf.plain_scores import scores

LR, EPOCHS, BATCH_SIZE = 0.1, 30, 64
"""The recipe `cpu`: SGD with a one-cycle schedule."""
SALUN_LR, SALUN_EPOCHS, SALUN_BATCH_SIZE, KEEP_RATIO = 0.013, 10, 256, 0.5
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
SHARE = 0.1
"""Of the training images: non-members first, then what is forgotten of the rest."""


@dataclass(frozen=True, eq=False)
class Block:
    """One repetition's images, as datasets of their own."""

    train: Images
    forget: Images
    retain: Images
    non_members: Images
    test: Images
    workers: int

    def evaluation(self) -> dict[str, Batches]:
        """Loaders for scores, in order."""
        parts = {"forget": self.forget, "retain": self.retain, "non_members": self.non_members, "test": self.test}
        return {name: loader(part, 256, workers=self.workers, shuffle=False) for name, part in parts.items()}


def draw_block(arrays: dict[str, NDArray[np.generic]], seed: int, workers: int) -> Block:
    """Draw non-members, then the forget set, each stratified by class."""
    images, labels = arrays["train_images"].astype(np.uint8), arrays["train_labels"].flatten().astype(np.int64)
    pool, held_out = train_test_split(np.arange(len(labels)), test_size=SHARE, stratify=labels, random_state=seed)
    retained, forgotten = train_test_split(pool, test_size=SHARE, stratify=labels[pool], random_state=seed)

    def part(rows: NDArray[np.int64]) -> Images:
        return Images(images[rows], labels[rows], transform())

    test = Images(arrays["test_images"].astype(np.uint8), arrays["test_labels"].flatten().astype(np.int64), transform())
    return Block(part(pool), part(forgotten), part(retained), part(held_out), test, workers)


def train(block: Block, dataset: Images, classes: int) -> nn.Module:
    """A model from scratch."""
    model = ARCHITECTURES["cnn-small"](3, classes)
    batches = loader(dataset, BATCH_SIZE, workers=block.workers)
    optimizer = torch.optim.SGD(model.parameters(), LR, MOMENTUM, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, total_steps=EPOCHS * len(batches), cycle_momentum=False
    )
    test = loader(block.test, 256, workers=block.workers, shuffle=False)
    for _ in range(EPOCHS):
        train_epoch(model, batches, optimizer, schedule)
        accuracy(model, test)
    return model


def unlearn(block: Block, original: nn.Module, classes: int) -> nn.Module:
    """SalUn on a copy of the model."""
    model = copy.deepcopy(original)
    forget, retain = (loader(part, SALUN_BATCH_SIZE, workers=block.workers) for part in (block.forget, block.retain))
    masks = masks_by_sorting(forget_gradients(model, forget), KEEP_RATIO)
    optimizer = torch.optim.SGD(model.parameters(), SALUN_LR, MOMENTUM, weight_decay=WEIGHT_DECAY)
    evaluation = block.evaluation()
    for _ in range(SALUN_EPOCHS):
        salun_epoch(model, forget, retain, optimizer, masks, classes)
        accuracy(model, evaluation["test"])
    return model


def run_block(
    arrays: dict[str, NDArray[np.generic]], number: int, retrains: int, workers: int
) -> dict[str, dict[str, float]]:
    """The scores of every model of a repetition, by name."""
    torch.manual_seed(number)
    block, classes = draw_block(arrays, number, workers), int(arrays["train_labels"].max()) + 1
    models = {"original": train(block, block.train, classes)}
    models |= {f"retrain {index}": train(block, block.retain, classes) for index in range(retrains)}
    models["salun"] = unlearn(block, models["original"], classes)
    return {name: scores(model, block.evaluation(), seed=number) for name, model in models.items()}


def main(
    data: Path,
    blocks: Annotated[int, typer.Option(help="Repetitions.")] = 3,
    retrains: Annotated[int, typer.Option(help="Retrained models of each.")] = 2,
    workers: Annotated[int, typer.Option(help="Loader processes.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.")] = 1,
) -> None:
    """Run the whole experiment on a MedMNIST-style file of colour images, and write its scores as JSON."""
    torch.set_num_threads(threads)
    with np.load(data) as file:
        arrays = dict(file)
    typer.echo(json.dumps([run_block(arrays, number, retrains, workers) for number in range(blocks)]))


if __name__ == "__main__":
    typer.run(main)
