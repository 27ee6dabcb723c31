"""Parts and divisions of a split, and the transform by which an attacker stamps anew."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.api import Split


def numbered(labels, seed=0, **extra):
    """Images whose first pixel is their row number."""
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    return Split(images, torch.tensor(labels), seed, **extra)


def rows(split):
    return split.images[:, 0, 0, 0].tolist()


def served(batches):
    """First pixels, 0 to 255, of all images of some batches."""
    return torch.cat([(images[:, 0, 0, 0] * 255).round().int() for images, _ in batches]).tolist()


LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=120)


@given(labels=LABELS, share=st.floats(0.01, 0.99), seed=st.integers(0, 5))
def test_a_division_is_complete_and_disjoint_and_keeps_every_images_label(labels, share, seed):
    first, second = numbered(labels, seed).divided(share)
    assert sorted(rows(first) + rows(second)) == list(range(len(labels)))
    for part in (first, second):
        assert part.labels.tolist() == [labels[row] for row in rows(part)]


@given(labels=LABELS, share=st.floats(0.01, 0.99))
def test_a_division_takes_its_share_of_every_class_and_one_image_at_least(labels, share):
    _, second = numbered(labels).divided(share)
    for label in set(labels):
        count = labels.count(label)
        assert second.labels.tolist().count(label) == (max(1, round(share * count)) if count > 1 else 0)


def test_a_division_follows_the_splits_seed_and_moves_its_stream():
    labels = [0, 1] * 50
    again = [rows(numbered(labels, seed).divided(0.2)[1]) for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]
    split = numbered(labels)
    assert rows(split.divided(0.2)[1]) != rows(split.divided(0.2)[1])


def test_a_part_holds_the_rows_in_their_order_and_memory_of_its_own():
    split = numbered([0, 1, 2, 3, 4])
    part = split.part(torch.tensor([3, 0]))
    assert (rows(part), part.labels.tolist()) == ([3, 0], [3, 0])
    part.images.zero_()
    assert rows(split) == [0, 1, 2, 3, 4]
    assert part.images.untyped_storage().nbytes() == part.images.numel()


def test_parts_have_streams_of_their_own_that_follow_from_the_splits():
    def orders(seed):
        split = numbered([0] * 40, seed)
        parts = [split.part(torch.arange(40)) for _ in range(2)]
        return [served(part.batches(8, epochs=1)) for part in (*parts, split)]

    assert orders(1) == orders(1)
    assert len({tuple(order) for order in orders(1) + orders(2)}) == 6


def test_a_part_is_augmented_as_the_split_is():
    split = numbered([0] * 4, augmentation=lambda images, generator: images + 100)
    assert sorted(served(split.part(torch.tensor([1, 2])).batches(2, epochs=1))) == [101, 102]


SERVES = {
    "batches": lambda split: split.batches(4, epochs=1),
    "batches without augmentation": lambda split: split.batches(4, epochs=1, augment=False),
    "steps": lambda split: split.batches(4, steps=2),
    "cycle": lambda split: [next(stream) for stream in [split.cycle(4)] for _ in range(2)],
    "in order": lambda split: split.in_order(4),
    "fork": lambda split: split.fork("elsewhere").batches(4, epochs=1),
}


def double_even_rows(images, rows):
    """An attacker who controls the training: what he does depends on the row."""
    assert images.dtype == torch.uint8
    assert torch.equal(images[:, 0, 0, 0].long(), rows)  # the stored images, before any augmentation
    return torch.where((rows % 2 == 0).view(-1, 1, 1, 1), images * 2, images)


@pytest.mark.parametrize("serve", SERVES)
def test_the_transform_sees_the_rows_and_comes_before_augmentation_whenever_images_are_served(serve):
    split = numbered(
        range(1, 9), transform=double_even_rows, augmentation=lambda images, generator: 100 + images // 2 * 2
    )
    stamped = [2 * row if row % 2 == 0 else row for row in range(8)]
    augmented = serve not in ("batches without augmentation", "in order")
    expected = [100 + pixel // 2 * 2 for pixel in stamped] if augmented else stamped
    assert sorted(served(SERVES[serve](split))) == sorted(expected)


def test_the_transform_leaves_stored_images_alone_and_is_asked_anew_every_time():
    asked = []

    def transform(images, rows):
        asked.append(len(rows))
        return images + len(asked)

    split = numbered([0, 0, 0], transform=transform)
    first, second = served(split.in_order()), served(split.in_order())
    assert (first, second) == ([1, 2, 3], [2, 3, 4])
    assert rows(split) == [0, 1, 2]
    assert asked == [3, 3]


@pytest.mark.parametrize("cut", [lambda split: split.part(torch.tensor([0])), lambda split: split.divided(0.5)])
def test_a_transformed_split_has_no_fixed_parts(cut):
    with pytest.raises(ValueError, match="no fixed parts"):
        cut(numbered([0, 0, 1, 1], transform=lambda images, rows: images))
