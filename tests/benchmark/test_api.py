"""Splits: what a method is served, and in which order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.api import Split, derive_seed


def numbered(count, seed=0, **extra):
    """Images that carry their own row number, so that a batch shows which rows it holds."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return Split(images, torch.arange(count), seed, **extra)


@given(count=st.integers(2, 60), size=st.integers(2, 70), epochs=st.integers(1, 3))
def test_every_epoch_serves_every_image_once_in_batches_of_at_least_two(count, size, epochs):
    split = numbered(count)
    batches = [labels for _, labels in split.batches(size, epochs=epochs)]
    assert len(batches) == epochs * split.steps_per_epoch(size)
    for epoch in range(epochs):
        own = batches[epoch * split.steps_per_epoch(size) : (epoch + 1) * split.steps_per_epoch(size)]
        assert torch.cat(own).sort().values.tolist() == list(range(count))
    assert min(map(len, batches)) >= 2  # batch norm cannot train on one image


@given(steps=st.integers(0, 30))
def test_a_budget_of_steps_is_kept_exactly(steps):
    assert len(list(numbered(10).batches(4, steps=steps))) == steps


def test_images_are_floats_from_0_to_1_with_their_labels():
    images, labels = next(numbered(256).batches(256, epochs=1))
    assert images.dtype == torch.float32
    assert torch.equal((images[:, 0, 0, 0] * 255).round().long(), labels)


def test_batches_need_epochs_or_steps():
    for budget in ({}, {"epochs": 1, "steps": 1}):
        with pytest.raises(ValueError, match="either"):
            next(numbered(4).batches(2, **budget))


def test_the_order_follows_the_seed_and_changes_from_epoch_to_epoch():
    def order(seed):
        return [label for _, labels in numbered(50, seed).batches(10, epochs=2) for label in labels.tolist()]

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1)[:50] != order(1)[50:]


def test_the_stream_goes_on_from_one_call_to_the_next():
    split, whole = numbered(50), numbered(50)
    parts = [labels for _ in range(2) for _, labels in split.batches(10, epochs=1)]
    assert torch.equal(torch.cat(parts), torch.cat([labels for _, labels in whole.batches(10, epochs=2)]))


def test_a_fork_draws_apart_from_its_parent():
    parent, alone = numbered(50), numbered(50)
    fork = parent.fork("elsewhere")
    drawn = torch.cat([labels for _, labels in fork.batches(10, epochs=3)])[:50]
    expected = torch.cat([labels for _, labels in alone.batches(10, epochs=1)])
    assert torch.equal(torch.cat([labels for _, labels in parent.batches(10, epochs=1)]), expected)
    assert not torch.equal(drawn, expected)


def test_in_order_serves_the_images_as_stored_and_never_augments():
    split = numbered(10, augmentation=lambda images, generator: images * 0)
    images = torch.cat([images for images, _ in split.in_order(3)])
    assert torch.equal((images[:, 0, 0, 0] * 255).round().long(), torch.arange(10))
    assert not next(split.batches(10, epochs=1))[0].any()
    assert next(split.batches(10, epochs=1, augment=False))[0].any()


def test_cycle_repeats_the_smaller_set_without_end():
    stream = numbered(3).cycle(3)
    assert [len(next(stream)[1]) for _ in range(5)] == [3] * 5


def test_joined_splits_hold_both_and_relabelled_ones_keep_their_images():
    first, second = numbered(4), numbered(3)
    assert sorted(first.joined_with(second).labels.tolist()) == [0, 0, 1, 1, 2, 2, 3]
    relabelled = first.with_labels(torch.tensor([9, 9, 9, 9]))
    assert torch.equal(relabelled.images, first.images)
    assert relabelled.labels.tolist() == [9] * 4


def test_seeds_are_named_by_purpose():
    assert derive_seed(3, "forget") == derive_seed(3, "forget")
    assert (
        len({derive_seed(block, purpose) for block in range(20) for purpose in ("forget", "original", "method")}) == 60
    )
    assert derive_seed(0, "original") == 7514870582148178742  # pinned: a change would redraw every published block
