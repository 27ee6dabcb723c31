"""Reading a MedMNIST-style .npz file, and saying in one line what is wrong with it."""

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from torch import Tensor

from benchmark.api import MedsafeError

SPLITS = ("train", "val", "test")
UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError, OSError, RuntimeError, MemoryError)
"""What zipfile and numpy raise on damaged, encrypted or hostile files."""


@dataclass(frozen=True, eq=False)
class Content:
    """The images and labels of one file, in the order train, validation, test.

    Attributes:
        images: uint8 (N, channels, height, width), channels_last.
        labels: int64 (N,).
        sizes: number of images in train, validation, test.
    """

    images: Tensor
    labels: Tensor
    sizes: tuple[int, int, int]


def read_bytes(path: Path) -> bytes:
    """The file's bytes, read once, so that what is hashed is what is loaded.

    Raises:
        MedsafeError: the file is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MedsafeError(f"{path}: no such file; give the path of an .npz file, or the name of a data set") from None
    except OSError as error:
        raise MedsafeError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None


def parse(content: bytes, path: Path) -> Content:
    """Read images and labels out of the file's bytes.

    Images may be grey, (N, H, W) or (N, H, W, 1), or RGB, (N, H, W, 3); labels (N,) or (N, 1).

    Raises:
        MedsafeError: the file is damaged, or its arrays are not those of a MedMNIST-style file.
    """
    archive = _open(content, path)
    labels = [_labels(_array(archive, f"{split}_labels", path), split, path) for split in SPLITS]
    sizes = (len(labels[0]), len(labels[1]), len(labels[2]))
    _check_labels(labels, path)
    return Content(_images(archive, sizes, path), torch.from_numpy(np.concatenate(labels)), sizes)


def _open(content: bytes, path: Path) -> NpzFile:
    whole = "the file is truncated or no .npz file; fetch it again"
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise MedsafeError(f"{path}: {whole}")
    try:
        archive = np.load(io.BytesIO(content), allow_pickle=False)
    except UNREADABLE as error:
        raise MedsafeError(f"{path}: {whole} ({_line(error)})") from None
    if not isinstance(archive, NpzFile):
        raise MedsafeError(f"{path}: {whole}")
    missing = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
    missing = [name for name in missing if name not in archive.files]
    if missing:
        raise MedsafeError(
            f"{path}: array {missing[0]} is missing; a file holds images and labels of train, val and test"
        )
    return archive


def _array(archive: NpzFile, name: str, path: Path) -> NDArray[Any]:
    try:
        array = archive[name]
    except UNREADABLE as error:
        raise MedsafeError(f"{path}: array {name} cannot be read ({_line(error)}); fetch the file again") from None
    if not isinstance(array, np.ndarray):
        raise MedsafeError(f"{path}: {name} is no array; save the file with numpy.savez")
    return array


def _labels(array: NDArray[Any], split: str, path: Path) -> NDArray[np.int64]:
    if array.dtype.kind not in "iu":
        raise MedsafeError(f"{path}: {split}_labels has dtype {array.dtype}; labels are integers, one per image")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise MedsafeError(f"{path}: {split}_labels has shape {array.shape}; give one label per image, (N,) or (N, 1)")
    if not len(array):
        raise MedsafeError(f"{path}: {split} holds no image; every split needs some")
    if array.max() > 2**15:
        raise MedsafeError(f"{path}: {split}_labels holds {array.max()}; labels number the classes from 0")
    return array.astype(np.int64)


def _check_labels(labels: list[NDArray[np.int64]], path: Path) -> None:
    """Labels run from 0 to the largest of train, and each of them occurs there."""
    top = int(labels[0].max())
    for split, values in zip(SPLITS, labels, strict=True):
        if values.min() < 0 or values.max() > top:
            wrong = int(values.min()) if values.min() < 0 else int(values.max())
            raise MedsafeError(f"{path}: {split}_labels holds {wrong}, but the classes of train are 0 to {top}")
    if top < 1:
        raise MedsafeError(f"{path}: fewer than two classes in train_labels; a classifier needs two or more")
    absent = np.flatnonzero(np.bincount(labels[0]) == 0)
    if len(absent):
        raise MedsafeError(f"{path}: class {absent[0]} has no image in train; number the classes from 0 without gaps")


def _images(archive: NpzFile, sizes: tuple[int, int, int], path: Path) -> Tensor:
    """All images in one block of memory: each split is copied into its place and let go before the next is read."""
    joined, start = np.empty(0, np.uint8), 0
    for split, size in zip(SPLITS, sizes, strict=True):
        part = _split_images(_array(archive, f"{split}_images", path), split, size, path)
        if not start:
            joined = np.empty((sum(sizes), *part.shape[1:]), np.uint8)
        if part.shape[1:] != joined.shape[1:]:
            raise MedsafeError(
                f"{path}: {split}_images are {part.shape[1:]}, those of train {joined.shape[1:]}; give all one shape"
            )
        joined[start : start + size] = part
        start += size
        del part
    return torch.from_numpy(joined).permute(0, 3, 1, 2)  # (N, H, W, C) in memory is channels_last


def _split_images(array: NDArray[Any], split: str, size: int, path: Path) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        raise MedsafeError(f"{path}: {split}_images has dtype {array.dtype}; images are uint8, 0 to 255")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape:
        raise MedsafeError(
            f"{path}: {split}_images has shape {array.shape}; give (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
        )
    if len(array) != size:
        raise MedsafeError(f"{path}: {split} has {len(array)} images but {size} labels; give one label per image")
    return array


def _line(error: BaseException) -> str:
    """What an exception says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
