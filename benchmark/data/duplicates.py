"""Exact duplicates: which images of a data set are byte for byte the same."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def duplicate_groups(images: NDArray[np.uint8] | Tensor) -> NDArray[np.int64]:
    """Number the groups of byte-identical images.

    Args:
        images: uint8 (N, ...), an array or a tensor in any memory format.

    Returns:
        int64 (N,): two images carry the same number exactly if they are equal in every byte; numbers run from 0 in the
        order of first appearance.
    """
    if isinstance(images, Tensor):  # the order of the bytes is the same for all images, so any order will do
        images = (images.permute(0, 2, 3, 1) if images.ndim == 4 else images).cpu().numpy()
    memory = np.ascontiguousarray(images).reshape(-1).data
    size = len(memory) // max(len(images), 1)
    rows = [memory[i * size : (i + 1) * size] for i in range(len(images))]
    hashes = [hash(row.tobytes()) for row in rows]
    shared = {value for value, count in Counter(hashes).items() if count > 1}
    # Only images that share a hash are kept and compared byte by byte: a copy of every image would be too much memory.
    keys = (row.tobytes() if value in shared else value for row, value in zip(rows, hashes, strict=True))
    numbers: dict[int | bytes, int] = {}
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(rows))
