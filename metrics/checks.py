"""The one check of every input: wrong shapes, NaN and infinities are refused, never dropped or repaired."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]


def finite(values: ArrayLike, dimensions: int, name: str) -> Floats:
    """Return the values as float64.

    Raises:
        ValueError: another number of dimensions, or a value that is NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ValueError(f"{name}: expected {dimensions} dimension(s), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: NaN or infinite values are not accepted")
    return array


def indices(values: ArrayLike, below: int | None, name: str) -> Integers:
    """Return the values (class labels, row numbers) as int64.

    Raises:
        ValueError: not one dimension, not integers, negative, or not below `below`.
    """
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64)  # an empty list is float64 to numpy
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected integers of shape (n,), got {array.dtype} of shape {array.shape}")
    if array.size and (array.min() < 0 or (below is not None and array.max() >= below)):
        raise ValueError(f"{name}: values must be at least 0 and below {below}")
    return array.astype(np.int64)


def flags(values: ArrayLike, shape: tuple[int, ...], name: str) -> Bools:
    """Return the values as bool.

    Raises:
        ValueError: another dtype or shape.
    """
    array = np.asarray(values)
    if array.dtype != np.bool_ or array.shape != shape:
        raise ValueError(f"{name}: expected bool of shape {shape}, got {array.dtype} of shape {array.shape}")
    return array


def logits_and_labels(logits: ArrayLike, labels: ArrayLike) -> tuple[Floats, Integers]:
    """Return logits of shape (n, C) as float64 and labels of shape (n,) as int64.

    Raises:
        ValueError: as `finite` and `indices`, or a different number of rows.
    """
    scores = finite(logits, 2, "logits")
    truth = indices(labels, scores.shape[1], "labels")
    if len(scores) != len(truth):
        raise ValueError(f"{len(scores)} rows of logits, but {len(truth)} labels")
    return scores, truth
