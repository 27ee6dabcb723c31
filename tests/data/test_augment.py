"""Augmentation draws anew for every image, does what it says, and only what the data set allows."""

import pickle
import time

import pytest
import torch

from benchmark.api import MedsafeError, Split
from benchmark.data.augment import POLICIES, make_augmentation
from benchmark.data.catalogue import AUGMENTATIONS


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int, height: int = 28, width: int = 28, channels: int = 3) -> torch.Tensor:
    """Equal images without zeros, in which every row and column differs."""
    image = torch.randint(1, 256, (1, channels, height, width), dtype=torch.uint8, generator=generator())
    return image.expand(count, -1, -1, -1).contiguous(memory_format=torch.channels_last)


def crops(image: torch.Tensor, margin: int, flips: list[list[int]]) -> set[bytes]:
    """Every result that crops and flips of one image can have, by slicing."""
    height, width = image.shape[1:]
    padded = [torch.nn.functional.pad(image.flip(flip), (margin,) * 4) for flip in flips]
    return {
        whole[:, top : top + height, left : left + width].numpy().tobytes()
        for whole in padded
        for top in range(2 * margin + 1)
        for left in range(2 * margin + 1)
    }


@pytest.mark.parametrize(
    ("allowed", "margin", "flips"),
    [
        ({"crop"}, 1, [[]]),
        ({"horizontal"}, 0, [[], [2]]),
        ({"vertical"}, 0, [[], [1]]),
        ({"horizontal", "vertical"}, 0, [[], [1], [2], [1, 2]]),
        ({"crop", "horizontal", "trivialaugment"}, 1, [[], [2]]),
        (AUGMENTATIONS, 1, [[], [1], [2], [1, 2]]),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_standard_policy_gives_all_allowed_crops_and_flips_and_no_others(allowed, margin, flips, channels):
    images = numbered(2000, 7, 9, channels)
    result = make_augmentation("standard", frozenset(allowed))(images, generator())
    assert result.shape == images.shape
    assert result.dtype == torch.uint8
    assert {image.contiguous().numpy().tobytes() for image in result} == crops(images[0].contiguous(), margin, flips)


def test_the_crop_reaches_four_of_28_pixels():
    result = make_augmentation("standard", frozenset({"crop"}))(numbered(2000), generator())
    blank = (result.amax(dim=(1, 3)) == 0).sum(dim=1)
    assert set(blank.tolist()) == {0, 1, 2, 3, 4}


def test_images_of_a_batch_are_drawn_independently():
    result = make_augmentation("standard", frozenset({"crop", "horizontal"}))(numbered(500), generator())
    assert len(result.flatten(1).unique(dim=0)) > 130  # of 162 different results


def test_positions_and_flips_are_uniform():
    images = numbered(16_200)
    result = make_augmentation("standard", frozenset({"crop", "horizontal"}))(images, generator())
    counts = result.flatten(1).unique(dim=0, return_counts=True)[1].double()
    assert len(counts) == 162
    chi_square = float(((counts - 100) ** 2 / 100).sum())
    assert 161 - 4 * 18 < chi_square < 161 + 4 * 18  # mean 161, standard deviation 18


@pytest.mark.parametrize("policy", ["standard", "trivialaugment"])
def test_the_same_seed_gives_the_same_images_and_leaves_the_originals_alone(policy, bloodmini):
    images = bloodmini.images[:64]
    before, augment = images.clone(), make_augmentation(policy, bloodmini.allowed)
    first, again, other = (augment(images, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, before)
    for result in (first, augment(images[:0], generator())):
        assert result.is_contiguous(memory_format=torch.channels_last)
        assert result.dtype == torch.uint8


@pytest.mark.parametrize("policy", ["standard", "trivialaugment"])
def test_a_split_serves_augmented_images_and_can_be_sent_to_a_process(policy, bloodmini):
    augment = pickle.loads(pickle.dumps(make_augmentation(policy, bloodmini.allowed)))
    split = Split(bloodmini.images[:32], bloodmini.labels[:32], 0, augment)
    (images, _), (plain, _) = (next(iter(split.batches(32, epochs=1, augment=on))) for on in (True, False))
    assert images.shape == plain.shape
    assert not torch.equal(images.sum(dim=0), plain.sum(dim=0))


def test_policies_that_change_nothing_are_none():
    assert make_augmentation("none", AUGMENTATIONS) is None
    assert make_augmentation("standard", frozenset()) is None
    assert make_augmentation("standard", frozenset({"trivialaugment"})) is None
    assert POLICIES == ("none", "standard", "trivialaugment")


def test_unknown_and_unsafe_policies_are_refused():
    with pytest.raises(MedsafeError, match="did you mean 'standard'"):
        make_augmentation("standart", AUGMENTATIONS)
    with pytest.raises(MedsafeError, match="--allow trivialaugment"):
        make_augmentation("trivialaugment", frozenset({"crop"}))


@pytest.mark.parametrize(("policy", "milliseconds"), [("standard", 0.03), ("trivialaugment", 0.1)])
def test_augmentation_is_fast_on_one_core(policy, milliseconds, bloodmini):
    augment, images = make_augmentation(policy, bloodmini.allowed), bloodmini.images[:256]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = []
        for seed in range(10):
            start = time.thread_time()
            augment(images, generator(seed))
            times.append(time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    assert 1000 * min(times) / len(images) < milliseconds
