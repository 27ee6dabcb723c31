"""The user's groups: a CSV that maps images to patients or volumes (PROTOCOL 2.2)."""

import csv
from pathlib import Path

import numpy as np

from benchmark.api import MedsafeError
from benchmark.data.datasets import Dataset
from benchmark.data.npz import SPLITS
from benchmark.data.units import Rows

COLUMNS = ("split", "index", "group")


def read_groups(path: Path, dataset: Dataset) -> Rows:
    """Read a CSV with the columns `split`, `index` and `group`.

    `split` is train, val or test, `index` counts from 0 within that split, and `group` is any text.
    Every training image must be listed; a validation or test image that is not is a group of its own.

    Returns:
        int64 (N,), the group number of every image.

    Raises:
        MedsafeError: the file cannot be read, or a row is wrong: an image that does not exist or is listed twice, a
            group that lies in more than one split.
    """
    numbers: dict[str, int] = {}
    home: dict[str, str] = {}  # the split that a group lies in
    result = np.full(sum(dataset.sizes), -1)
    for line, split, index, group in _rows(path):
        row = _row_number(dataset, split, index, f"{path}: line {line}")
        if not group:
            raise MedsafeError(f"{path}: line {line}: the group is empty; name the patient or volume")
        if result[row] >= 0:
            raise MedsafeError(f"{path}: line {line}: image {index} of {split} is listed twice; keep one of the lines")
        if home.setdefault(group, split) != split:
            raise MedsafeError(
                f"{path}: line {line}: group '{group}' lies in both {home[group]} and {split}; groups may not straddle"
            )
        result[row] = numbers.setdefault(group, len(numbers))
    return _completed(result, len(numbers), dataset, path)


def _rows(path: Path) -> list[tuple[int, str, str, str]]:
    """Line number, split, index and group of every row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
            if missing:
                raise MedsafeError(f"{path}: line 1: no column '{missing[0]}'; the first line is split,index,group")
            rows = [(reader.line_num, *((row[column] or "").strip() for column in COLUMNS)) for row in reader]
    except OSError as error:
        raise MedsafeError(f"{path}: cannot be read ({error.strerror}); give a CSV file of split,index,group") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise MedsafeError(f"{path}: is no CSV text file ({error}); give a CSV file with split,index,group") from None
    return rows  # type: ignore[return-value]  # three columns, so three texts


def _row_number(dataset: Dataset, split: str, index: str, place: str) -> int:
    if split not in SPLITS:
        raise MedsafeError(f"{place}: split '{split}' does not exist; write train, val or test")
    number = SPLITS.index(split)
    size, start = dataset.sizes[number], sum(dataset.sizes[:number])
    if not (index.isascii() and index.isdigit() and len(index) < 16 and int(index) < size):
        raise MedsafeError(f"{place}: index '{index}' is no image of {split}; its images are 0 to {size - 1}")
    return start + int(index)


def _completed(result: Rows, count: int, dataset: Dataset, path: Path) -> Rows:
    """Give every image that is not listed a group of its own; refuse that in train."""
    absent = np.flatnonzero(result < 0)
    if len(absent) and absent[0] < dataset.sizes[0]:
        raise MedsafeError(
            f"{path}: image {absent[0]} of train is in no line; list all {dataset.sizes[0]} training images, because "
            f"whole groups are forgotten"
        )
    result[absent] = count + np.arange(len(absent))
    return result
