"""Near duplicates are found through noise, brightness, contrast and compression; images of one class are none."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data import near
from benchmark.data.near import near_groups


def noisy(image, rng):
    return image + rng.normal(0, 3, image.shape)


def brighter(image, rng):
    return image + 10.0


def flatter(image, rng):
    return 0.85 * image + 10


def compressed(image, rng):
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def images_of(arrays):
    """Arrays (height, width, channels) as the images of a data set."""
    pixels = np.stack(arrays).round().clip(0, 255).astype(np.uint8)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def joined(groups):
    """The groups with more than one image, as sets of rows."""
    rows = [np.flatnonzero(groups == number) for number in range(groups.max() + 1)]
    return {frozenset(each.tolist()) for each in rows if len(each) > 1}


@pytest.fixture(scope="module")
def cells(bloodmini):
    """1,000 images of 8 classes: about as many of each as in a group of duplicates there are few."""
    return bloodmini.images[:1000].permute(0, 2, 3, 1).numpy()


def test_planted_copies_are_found_and_images_of_one_class_are_not_taken_for_any(cells):
    rng, changes = np.random.default_rng(0), (noisy, brighter, flatter, compressed)
    planted = [change(cells[row], rng) for row, change in enumerate(changes * 10)]
    groups, distances = near_groups(images_of([*cells, *planted]))
    assert joined(groups) == {frozenset({row, 1000 + row}) for row in range(len(planted))}
    assert (distances[:1000] == 0).all()
    assert ((distances[1000:] > 0) & (distances[1000:] <= 0.1)).all()


def similarities(images):
    """The definition, for so few images that no component is removed."""
    flat = images.flatten(1).double().numpy()
    z = flat - flat.mean(1, keepdims=True)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    a = z - z.mean(0)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    return a @ a.T


@pytest.mark.parametrize("threshold", [0.2, 0.35, 0.5])
def test_groups_and_distances_are_those_of_all_pairs_compared_one_by_one(cells, threshold, monkeypatch):
    monkeypatch.setattr(near, "BLOCK", 7)
    monkeypatch.setattr(near, "COORDINATES", 5)
    images = images_of(cells[:60])
    similarity = similarities(images)
    reached = similarity >= threshold
    for _ in range(6):  # chains of up to 2^6 links
        reached = reached.astype(int) @ reached.astype(int) > 0
    groups, distances = near_groups(images, threshold)
    assert joined(groups)
    np.testing.assert_array_equal(groups[:, None] == groups, reached)
    np.testing.assert_allclose(distances, 1 - similarity[np.arange(60), reached.argmax(1)], atol=1e-5)
    _, first = np.unique(groups, return_index=True)
    assert (np.diff(first) > 0).all()  # numbered in the order of appearance


def test_the_ends_of_a_chain_share_a_group_though_they_are_not_near(cells):
    steps = [cells[0] * (1 - share) + cells[1] * share for share in np.linspace(0, 1, 9)]
    groups, distances = near_groups(images_of([*steps, *cells[2:60]]))
    assert set(range(9)) in joined(groups)
    assert distances[8] > 0.5


def test_exact_copies_share_a_group_at_distance_zero(cells):
    groups, distances = near_groups(images_of([*cells[:50], cells[7]]))
    assert joined(groups) == {frozenset({7, 50})}
    assert not distances.any()


def test_blank_images_are_near_to_nothing(cells):
    blank = [np.full_like(cells[0], level) for level in (0, 128, 255)]
    speck = blank[1].copy()
    speck[0, 0] += 9
    groups, _ = near_groups(images_of([*cells[:50], *blank, speck]))
    assert not joined(groups)


def test_nothing_is_near_where_all_images_are_copies_of_two(make_dataset):
    groups, distances = near_groups(make_dataset([0, 1], [0], [1], [5, 900, 5, 900]).images)
    assert groups.tolist() == [0, 1, 0, 1]
    assert not distances.any()
