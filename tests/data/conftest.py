import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data.datasets import Dataset, load_dataset

MakeDataset = Callable[..., Dataset]


@pytest.fixture(scope="session")
def real_files() -> Path:
    """The folder with official MedMNIST files."""
    folder = os.environ.get("MEDSAFE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MEDSAFE_DATA does not name a folder with official MedMNIST files")
    return Path(folder)


@pytest.fixture(scope="session")
def bloodmini() -> Dataset:
    return load_dataset("bloodmini")


@pytest.fixture(scope="session")
def make_dataset() -> MakeDataset:
    """Builds a data set of 2 x 2 images from labels; images with the same `content` are copies, by default none are."""

    def make(train: list[int], val: list[int], test: list[int], content: list[int] | None = None) -> Dataset:
        labels = np.array(train + val + test, np.int64)
        codes = np.arange(len(labels)) if content is None else np.array(content)
        pixels = np.ascontiguousarray(codes.astype("<u4")).view(np.uint8).reshape(-1, 2, 2, 1)
        images = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)
        names = tuple(str(label) for label in range(max(train) + 1))
        sizes = (len(train), len(val), len(test))
        return Dataset("toy", images, torch.from_numpy(labels), sizes, names, frozenset(), "0" * 64)

    return make
