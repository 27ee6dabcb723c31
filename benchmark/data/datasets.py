"""Data sets: MedMNIST by name, any MedMNIST-style .npz file by path, and the embedded bloodmini.

A data set is one uint8 tensor; splits are row indices into it. The checksum of every official file is verified at every
load, on the very bytes that are loaded.
"""

import hashlib
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmark.api import MedsafeError
from benchmark.data import npz
from benchmark.data.catalogue import (
    EMBEDDED,
    Entry,
    check_words,
    dataset_names,
    entry_of_md5,
    entry_of_name,
    name_of_file,
)
from benchmark.data.download import find_or_download
from benchmark.data.units import Rows

__all__ = ["Dataset", "dataset_names", "load_dataset"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels, and what is known about them.

    Attributes:
        name: the name that the data deserve: an official one only if the file is the official one.
        images: uint8 (N, channels, height, width), channels_last; official train first, then validation, then test.
        labels: int64 (N,).
        sizes: number of images in official train, validation, test.
        class_names: in the order of the labels.
        allowed: the augmentations that keep the label, of `crop`, `horizontal`, `vertical`, `trivialaugment`.
        sha256: of the file's bytes, hex.
        mean: to be subtracted from images in [0, 1]; MedMNIST's normalisation.
        std: to be divided by after that.
    """

    name: str
    images: Tensor
    labels: Tensor
    sizes: tuple[int, int, int]
    class_names: tuple[str, ...]
    allowed: frozenset[str]
    sha256: str
    mean: float = 0.5
    std: float = 0.5

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for RGB."""
        return self.images.shape[1]

    @property
    def train(self) -> Rows:
        """Rows of official train, int64."""
        return np.arange(self.sizes[0])

    @property
    def validation(self) -> Rows:
        """Rows of official validation, int64."""
        return np.arange(self.sizes[0], self.sizes[0] + self.sizes[1])

    @property
    def test(self) -> Rows:
        """Rows of official test, int64."""
        return np.arange(self.sizes[0] + self.sizes[1], sum(self.sizes))


def load_dataset(name: str, data_root: Path | None = None, allow: frozenset[str] | None = None) -> Dataset:
    """Load a data set by name, or any MedMNIST-style file by path.

    Args:
        name: one of `dataset_names()`; or a path: whatever ends in `.npz` or contains a path separator.
        data_root: the only folder in which `<name>.npz` is looked for; without it MEDSAFE_DATA, then MedMNIST's own
            folder, into which it is downloaded.
        allow: augmentations that the user vouches for, beside those known to keep the label.

    Raises:
        MedsafeError: unknown name or augmentation; a file that is missing, damaged, altered, or no MedMNIST-style file.
    """
    check_words(allow or frozenset())
    if name.endswith(".npz") or "/" in name or os.sep in name:
        return _load_file(Path(name).expanduser(), allow)
    entry = entry_of_name(name.lower())
    if entry.name == EMBEDDED:
        with resources.as_file(resources.files("benchmark.data") / f"{EMBEDDED}.npz") as path:
            return _build(npz.read_bytes(path), path, entry, allow)
    path = find_or_download(entry, data_root)
    return _build(npz.read_bytes(path), path, entry, allow)


def _load_file(path: Path, allow: frozenset[str] | None) -> Dataset:
    content = npz.read_bytes(path)
    entry = entry_of_md5(_md5(content)) or Entry(name_of_file(path.stem), _md5(content), (), frozenset())
    return _build(content, path, entry, allow)


def _build(content: bytes, path: Path, entry: Entry, allow: frozenset[str] | None) -> Dataset:
    if _md5(content) != entry.md5:
        raise MedsafeError(
            f"{path}: md5 is {_md5(content)}, but that of the official {entry.name} is {entry.md5}: the file is "
            f"damaged or altered; fetch it again, or give its path instead of the name to use it as another data set"
        )
    data = npz.parse(content, path)
    classes = entry.class_names or tuple(str(label) for label in range(int(data.labels.max()) + 1))
    sha256 = hashlib.sha256(content).hexdigest()
    return Dataset(entry.name, data.images, data.labels, data.sizes, classes, entry.allowed | (allow or set()), sha256)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
