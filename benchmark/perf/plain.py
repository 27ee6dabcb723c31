"""Training the plain PyTorch way: PIL images, torchvision's transforms, a DataLoader, contiguous tensors.

What a good user writes with the tutorials beside him. Nothing of the suite's data path is in here.
"""

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

WORKERS = (0, 1, 2, 4)
"""Counts of loader processes that are tried."""
Batches = DataLoader[tuple[Tensor, int]]
Transform = Any


class Images(Dataset[tuple[Tensor, int]]):
    """Images uint8 (n, height, width, 3) with labels (n,), each opened and transformed on its own."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], transform: Transform) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Normalised float32 (3, height, width), and its label."""
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def transform(*augmentations: Transform) -> Transform:
    """These augmentations, then a normalised tensor."""
    return transforms.Compose([*augmentations, transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])


def crop_and_flip(side: int) -> list[Transform]:
    """Random crop after padding by 4 pixels, random horizontal flip."""
    return [transforms.RandomCrop(side, padding=4), transforms.RandomHorizontalFlip()]


def loader(dataset: Images, batch_size: int, *, workers: int, shuffle: bool = True) -> Batches:
    """Batches; worker processes are started here, and stay from one epoch to the next."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # more than cores: it may still be the best
        batches = DataLoader(dataset, batch_size, shuffle, num_workers=workers, persistent_workers=workers > 0)
        if workers:
            iter(batches)
    return batches


def train_epoch(
    model: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> float:
    """One pass; returns the mean loss."""
    model.train()
    total, images_seen = 0.0, 0
    for images, labels in batches:
        loss = cross_entropy(model(images.to(memory_format=memory_format)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        total += loss.item() * len(labels)
        images_seen += len(labels)
    return total / images_seen


@torch.no_grad()
def accuracy(model: nn.Module, batches: Batches) -> float:
    """Share of images that the model gets right."""
    model.eval()
    correct = images_seen = 0
    for images, labels in batches:
        correct += int((model(images).argmax(1) == labels).sum())
        images_seen += len(labels)
    return correct / images_seen


def best_workers(model: nn.Module, dataset: Images, batch_size: int, counts: Sequence[int] = WORKERS) -> int:
    """With how many loader processes an epoch is quickest; their start does not count."""
    model(torch.stack([dataset[0][0]] * batch_size))  # torch chooses its kernels
    seconds = {}
    for workers in counts:
        batches = loader(dataset, batch_size, workers=workers)
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
        start = time.perf_counter()
        train_epoch(model, batches, optimizer, scheduler)
        seconds[workers] = time.perf_counter() - start
    return min(seconds, key=lambda workers: seconds[workers])
