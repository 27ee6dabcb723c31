"""Exact copies are found, and nothing else is taken for one."""

import time

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmark.data.datasets import load_dataset
from benchmark.data.duplicates import duplicate_groups


@given(arrays(np.uint8, st.tuples(st.integers(0, 12), st.just(2), st.just(2)), elements=st.integers(0, 1)))
def test_two_images_share_a_group_exactly_if_they_are_equal(images):
    groups = duplicate_groups(images)
    equal = (images[:, None] == images[None]).all(axis=(2, 3))
    np.testing.assert_array_equal(groups[:, None] == groups[None], equal)
    assert groups.dtype == np.int64
    _, first = np.unique(groups, return_index=True)
    assert (np.diff(first) > 0).all()  # numbered in the order of appearance


def test_images_that_share_a_hash_are_still_compared(monkeypatch):
    monkeypatch.setattr("benchmark.data.duplicates.hash", lambda _: 0, raising=False)
    images = np.array([[1, 2], [3, 4], [1, 2]], np.uint8)
    assert duplicate_groups(images).tolist() == [0, 1, 0]


def test_the_memory_format_does_not_matter():
    images = torch.randint(2, (50, 3, 1, 2), dtype=torch.uint8)
    expected = duplicate_groups(images.numpy())
    for layout in (images, images.contiguous(memory_format=torch.channels_last)):
        np.testing.assert_array_equal(duplicate_groups(layout), expected)


def test_the_known_duplicates_of_real_files_are_found(real_files):
    def count(name: str) -> int:
        return int((np.bincount(duplicate_groups(load_dataset(name, real_files).images)) > 1).sum())

    assert (count("pneumoniamnist"), count("breastmnist"), count("retinamnist")) == (27, 1, 0)


def test_a_hundred_thousand_images_take_seconds_at_most():
    images = np.random.default_rng(0).integers(0, 256, (100_000, 28, 28), np.uint8)
    images[77_777] = images[5]
    start = time.process_time()
    groups = duplicate_groups(images)
    assert time.process_time() - start < 2
    assert groups.max() == 99_998
    assert groups[77_777] == groups[5]
