"""An audit counts a data set's duplicates as an independent hash does, and says where they lie."""

import csv
import hashlib
from collections import defaultdict
from io import StringIO

import numpy as np
import pytest

from benchmark.api import MedsafeError
from benchmark.data.audit import audit, counts, csv_of
from benchmark.data.datasets import load_dataset


def independent(path):
    """(splits, labels) of each group of images with the same SHA-256."""
    found = defaultdict(list)
    with np.load(path) as file:
        for split in ("train", "val", "test"):
            for image, label in zip(file[f"{split}_images"], file[f"{split}_labels"].ravel(), strict=True):
                found[hashlib.sha256(image.tobytes()).digest()].append((split, int(label)))
    return [([split for split, _ in group], [label for _, label in group]) for group in found.values() if group[1:]]


#                       groups, extra, across, train-test, more than one label
KNOWN = {
    "bloodmnist_rebuilt": (17, 17, 9, 4, 1),
    "pneumoniamnist": (27, 29, 8, 0, 0),
    "breastmnist": (1, 1, 1, 1, 1),
    "retinamnist": (0, 0, 0, 0, 0),
}
NEAR = {"bloodmnist_rebuilt": 1, "pneumoniamnist": 0, "retinamnist": 26}
"""Groups of near duplicates at the default: looked at, and true; the numbers are the same from 0.9 to 0.93."""


@pytest.mark.parametrize("name", KNOWN)
def test_real_files_are_counted_as_an_independent_hash_does(real_files, name):
    path = real_files / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not in MEDSAFE_DATA")
    groups = audit(load_dataset(str(path)))
    found, expected = counts(groups, "exact"), independent(path)
    across = [set(splits) for splits, _ in expected if len(set(splits)) > 1]
    assert found == {
        "groups": len(expected),
        "images in them": sum(len(splits) for splits, _ in expected),
        "extra copies": sum(len(splits) - 1 for splits, _ in expected),
        "within one split": len(expected) - len(across),
        "across splits": len(across),
        "train-val": sum({"train", "val"} <= splits for splits in across),
        "train-test": sum({"train", "test"} <= splits for splits in across),
        "val-test": sum({"val", "test"} <= splits for splits in across),
        "more than one label": sum(len(set(labels)) > 1 for _, labels in expected),
    }
    known = ("groups", "extra copies", "across splits", "train-test", "more than one label")
    assert tuple(found[what] for what in known) == KNOWN[name]
    assert counts(groups, "near")["groups"] == NEAR.get(name, counts(groups, "near")["groups"])


@pytest.fixture
def toy(make_dataset):
    #                       train 0-5           val 6-8    test 9-11
    labels, content = ([0, 1, 0, 1, 0, 0], [0, 1, 0], [1, 0, 0]), [1, 2, 3, 4, 5, 5, 3, 7, 1, 4, 1, 2]
    return make_dataset(*labels, content=[code * 7919 for code in content])


def test_label_conflicts_come_first_then_what_joins_train_and_test_then_other_splits(toy):
    exact = [group for group in audit(toy, 0.999) if group.kind == "exact"]
    assert [group.rows.tolist() for group in exact] == [[1, 11], [0, 8, 10], [3, 9], [2, 6], [4, 5]]
    assert [group.conflicting for group in exact] == [True, False, False, False, False]
    assert exact[1].pairs == (("train", "val"), ("train", "test"), ("val", "test"))
    assert exact[-1].pairs == ()


def test_a_group_in_all_three_splits_joins_each_pair_of_them(toy):
    found = counts(audit(toy, 0.999), "exact")
    assert (found["groups"], found["images in them"], found["extra copies"]) == (5, 11, 6)
    assert (found["within one split"], found["across splits"]) == (1, 4)
    assert (found["train-val"], found["train-test"], found["val-test"]) == (2, 3, 1)


def test_the_csv_names_every_image_by_split_and_index(toy):
    groups = [group for group in audit(toy, 0.999) if group.kind == "exact"]
    rows = list(csv.DictReader(StringIO(csv_of(groups))))
    assert len(rows) == 11
    assert rows[1] == {
        "group": "1", "kind": "exact", "split": "test", "index": "2", "label": "0", "distance": "0.0000",
    }  # fmt: skip
    assert [(row["split"], row["index"]) for row in rows if row["group"] == "2"] == [
        ("train", "0"), ("val", "2"), ("test", "1"),
    ]  # fmt: skip


def test_copies_alone_are_no_near_duplicates(bloodmini, make_dataset):
    assert audit(bloodmini) == []
    assert not counts(audit(make_dataset([0, 1], [0], [1], [5, 900, 5, 900])), "near")["groups"]


@pytest.mark.parametrize("threshold", [0, 1, -0.5, 1.5, float("nan")])
def test_a_similarity_that_is_none_is_refused(toy, threshold):
    with pytest.raises(MedsafeError, match=r"is not between 0 and 1; the default is 0\.9"):
        audit(toy, threshold)
