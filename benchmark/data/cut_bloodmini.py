"""Cut bloodmini out of the rebuilt BloodMNIST: `python -m benchmark.data.cut_bloodmini bloodmnist_rebuilt.npz out.npz`.

The cut is reproducible: the same file gives the same arrays, and with the same zlib the same bytes.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.api import derive_seed
from benchmark.data.duplicates import duplicate_groups
from benchmark.data.npz import SPLITS
from benchmark.data.units import Rows, draw_share

SIZES = {"train": 2400, "val": 400, "test": 800}


def cut(source: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Draw a stratified subset of every split, leaving out each image of which the file holds an exact copy.

    Args:
        source: `{split}_images` uint8 (n, 28, 28, 3), `{split}_labels` uint8 (n, 1), and `{split}_names` (n,), the
            photographs' files.

    Returns:
        The same arrays, of `SIZES` images, in the order of the source.
    """
    groups = duplicate_groups(np.concatenate([source[f"{split}_images"] for split in SPLITS]))
    single = np.bincount(groups)[groups] == 1
    result, start = {}, 0
    for split in SPLITS:
        labels = source[f"{split}_labels"]
        candidates = np.flatnonzero(single[start : start + len(labels)])
        start += len(labels)
        rows = _draw(candidates, labels[candidates, 0].astype(np.int64), split)
        for kind in ("images", "labels", "names"):
            result[f"{split}_{kind}"] = source[f"{split}_{kind}"][rows]
    return result


def _draw(rows: Rows, labels: Rows, split: str) -> Rows:
    rng = np.random.default_rng(derive_seed("bloodmini", split))
    return draw_share(rows, rows, labels, SIZES[split] / len(rows), rng)


def main() -> None:
    """Read the file named first, write the one named second."""
    source, target = sys.argv[1:]
    with np.load(source, allow_pickle=False) as archive:
        arrays = cut({name: archive[name] for name in archive.files})
    np.savez_compressed(Path(target), **arrays)  # type: ignore[arg-type]  # numpy dates every member 1 January 1980


if __name__ == "__main__":
    main()
