"""What a GPU report measures: the device, how much work there is, how long it may take; and data of official size."""

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from benchmark.api import Recipe, Split
from benchmark.contracts.common import T
from benchmark.data.augment import make_augmentation
from benchmark.data.datasets import Dataset, load_dataset
from benchmark.tracks.models import for_device
from benchmark.training import get_recipe

SOURCE = "bloodmini"
FLIPS = frozenset({"crop", "horizontal", "vertical"})


class OutOfTime(Exception):
    """The report's time is over; what is measured by then stands."""


@dataclass(frozen=True)
class Figure:
    """One line of the report.

    Attributes:
        what: is measured.
        value: None where it was not measured.
        unit: of the value.
        required: what was asked for, in words.
        note: how it was measured, or why not.
    """

    what: str
    value: float | None
    unit: str = ""
    required: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Sizes:
    """How much of everything: enough for a steady figure on a fast GPU, or little enough for a test."""

    architecture: str = "resnet18"
    matrix: int = 8192
    batches: tuple[int, ...] = (128, 512, 2048)
    steps: int = 60
    epochs: int = 4
    plain_images: int = 12_000
    workers: tuple[int, ...] = (4, 8, 16)
    recipe_epochs: int = 100
    blood: tuple[int, int, int] = (11_959, 1_712, 3_421)
    path_images: int = 89_996
    compared_images: int = 512
    processes: tuple[int, ...] = (1, 4)
    process_epochs: int = 40


QUICK = Sizes(
    "cnn-small", 128, (16, 32), 3, 2, 64, (0, 1), 2, (160, 24, 32), 300, 32, (1, 2), 1
)  # fmt: skip


@dataclass
class Setting:
    """Where and how much.

    Attributes:
        device: what is measured.
        sizes: of the work.
        seconds: that the whole report may take from now on.
        clock: returns seconds.
    """

    device: torch.device
    sizes: Sizes = field(default_factory=Sizes)
    seconds: float = 520.0
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        """Start the clock."""
        self._end = self.clock() + self.seconds

    @property
    def on_gpu(self) -> bool:
        """Whether figures that only a GPU has can be had."""
        return self.device.type == "cuda"

    def check_time(self) -> None:
        """Raise OutOfTime when the time is over."""
        if self.clock() > self._end:
            raise OutOfTime(f"the report's {self.seconds:.0f} seconds were over")

    def progress(self, iterable: Iterable[T], description: str) -> Iterable[T]:
        """For trainings, which end when the time does."""
        for item in iterable:
            self.check_time()
            yield item

    def now(self) -> float:
        """Seconds, when all that the GPU was told is done."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)
        return self.clock()

    def free_memory(self) -> None:
        """Give back what earlier work held, and forget its peak."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak_memory(self, what: str) -> Figure:
        """The most memory that torch held since `free_memory`."""
        if not self.on_gpu:
            return not_measured(f"{what}: peak memory")
        peak = torch.cuda.max_memory_reserved(self.device) / 2**30
        return Figure(f"{what}: peak memory", round(peak, 2), "GiB", note="reserved by torch")

    def recipe(self, batch_size: int, epochs: int) -> Recipe:
        """MedMNIST's, in the precision that the suite takes on this device."""
        return for_device(replace(get_recipe("medmnist"), batch_size=batch_size, epochs=epochs), self.device)

    def split(self, count: int, *, augmented: bool = True) -> Split:
        """So many training images, resident on the device."""
        data = load_dataset(SOURCE)
        rows = torch.from_numpy(data.train)
        images, labels = enlarged(data.images[rows], data.labels[rows], count)
        policy = make_augmentation("standard", FLIPS) if augmented else None
        return Split(images.to(self.device), labels.to(self.device), 0, policy)


def not_measured(what: str) -> Figure:
    """A figure that only a GPU has."""
    return Figure(what, None, note="no GPU")


def enlarged(images: Tensor, labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """So many images, made of fewer: each turned and mirrored in all eight ways, and if need be again from the start.

    Args:
        images: uint8 (n, channels, side, side).
        labels: int64 (n,).
        count: of what is returned.
    """
    turned = [images.rot90(turns, (2, 3)) for turns in range(4)]
    ways = torch.cat([*turned, *(each.flip(3) for each in turned)])
    rows = torch.arange(count) % len(ways)
    return ways[rows].contiguous(memory_format=torch.channels_last), labels.repeat(8)[rows]


def blood_sized(sizes: tuple[int, int, int]) -> Dataset:
    """Bloodmini with the numbers of train, validation and test images of the official BloodMNIST."""
    data = load_dataset(SOURCE)
    parts = [
        enlarged(data.images[torch.from_numpy(rows)], data.labels[torch.from_numpy(rows)], count)
        for rows, count in zip((data.train, data.validation, data.test), sizes, strict=True)
    ]
    images, labels = (torch.cat(each) for each in zip(*parts, strict=True))
    return replace(data, name="bloodmini-enlarged", images=images, labels=labels, sizes=sizes)
