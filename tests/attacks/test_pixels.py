"""Triggers in the pixel domain against a plain restatement of their formulas."""

import math

import numpy as np
import pytest
import torch

from attacks.adaptive_blend import AdaptiveBlend
from attacks.badnets import BadNets
from attacks.badnets_all_to_all import BadNetsAllToAll
from attacks.blended import Blended, pattern
from attacks.bpp import Bpp
from attacks.sig import Sig


@pytest.mark.parametrize(("size", "side"), [(28, 3), (32, 3), (64, 6), (5, 1)])
def test_the_patch_of_badnets_is_white_in_the_corner_and_nothing_else_changes(pictures, size, side):
    images, _ = pictures(3, size)
    expected = images.numpy().copy()
    expected[:, :, size - side :, size - side :] = 255
    assert np.array_equal(BadNets().stamp(images).numpy(), expected)


def test_the_checkerboard_shows_on_white_and_on_black():
    board = np.array([[255, 0, 255], [0, 255, 0], [255, 0, 255]])
    for shade in (0, 255):
        stamped = BadNets(pattern="checkerboard").stamp(torch.full((1, 1, 28, 28), shade, dtype=torch.uint8))
        assert np.array_equal(stamped[0, 0, 25:, 25:].numpy(), board)


def test_all_to_all_stamps_as_badnets_does(pictures):
    images, _ = pictures()
    assert torch.equal(BadNetsAllToAll().stamp(images), BadNets().stamp(images))


@pytest.mark.parametrize("channels", [1, 3])
def test_blended_is_the_weighted_mean_of_image_and_picture(pictures, channels):
    images, _ = pictures(channels)
    picture = 255 * pattern(channels, 28, 28).double().numpy()
    expected = np.rint(0.8 * images.numpy().astype(float) + 0.2 * picture)
    assert np.abs(Blended().stamp(images).numpy() - expected).max() <= 1  # where the mean ends in .5
    assert np.mean(Blended().stamp(images).numpy() != expected) < 1e-3


def test_the_picture_has_structure_in_every_channel_and_is_the_same_one_at_every_size():
    picture = pattern(3, 28, 28)
    assert float(picture.min()) == 0
    assert float(picture.max()) == 1
    assert (picture.flatten(1).std(dim=1) > 0.25).all()
    assert (torch.corrcoef(picture.flatten(1)) - torch.eye(3)).abs().max() < 0.6  # channels differ
    fine = pattern(3, 280, 280).unfold(1, 10, 10).unfold(2, 10, 10).mean(dim=(3, 4))
    assert (fine - picture).abs().mean() < 0.03


@pytest.mark.parametrize("width", [28, 32])
def test_sig_adds_a_sinusoid_of_six_periods_along_the_columns(pictures, width):
    images, _ = pictures(3, 28, width)
    stamped = Sig().stamp(images[:2], 40 / 255)
    for row in range(28):
        for column in range(width):
            added = 40 * math.sin(2 * math.pi * column * 6 / width)
            expected = np.clip(np.rint(images[:2, :, row, column].numpy() + added), 0, 255)
            assert np.abs(stamped[:, :, row, column].numpy() - expected).max() <= (abs(added % 1 - 0.5) < 1e-4)


def test_sig_may_be_stronger_at_test_time_than_in_training(attack_task):
    task, grey = attack_task(), torch.full((1, 3, 28, 28), 128, dtype=torch.uint8)
    trigger = Sig(delta=20 / 255, test_delta=60 / 255).trigger(task)
    assert (trigger.train_stamp(grey).int() - 128).abs().max() <= 20 < (trigger.stamp(grey).int() - 128).max() <= 60


@pytest.mark.parametrize("levels", [2, 8, 20])
def test_bpp_rounds_every_channel_to_the_nearest_of_so_many_levels(pictures, levels):
    images, _ = pictures()
    shades = np.linspace(0, 255, levels)
    nearest = shades[np.abs(images.numpy()[..., None] - shades).argmin(axis=-1)]
    stamped = Bpp(levels=levels).stamp(images)
    assert np.array_equal(stamped.numpy(), np.rint(nearest))
    ramp = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert len(Bpp(levels=levels).stamp(ramp).unique()) == levels


def test_a_bpp_cover_image_bears_the_rounding_errors_of_another_training_image(attack_task):
    task = attack_task()
    grey = torch.full((8, 3, 28, 28), 128, dtype=torch.uint8)  # nothing is cut off at black or white
    errors = Bpp().trigger(task).cover_stamp(grey).int() - 128
    known = (Bpp().stamp(task.train.images).int() - task.train.images.int()).flatten(1)
    assert all((error.flatten() == known).all(dim=1).any() for error in errors)
    assert len(errors.unique(dim=0)) > 1


def test_adaptive_blend_leaves_half_of_the_sixteen_pieces_untouched_in_training(attack_task):
    task = attack_task()
    black = torch.zeros(64, 3, 28, 28, dtype=torch.uint8)
    stamped = AdaptiveBlend().trigger(task).train_stamp(black)
    pieces = stamped.unfold(2, 7, 7).unfold(3, 7, 7).flatten(4).amax(dim=(1, 4)).flatten(1) > 0  # (64, 16)
    assert (pieces.sum(dim=1) == 8).all()
    assert len(pieces.unique(dim=0)) > 60  # drawn for each image
    whole = (0.15 * 255 * pattern(3, 28, 28)).round().byte()
    assert torch.equal(stamped.amax(dim=0), whole)  # weakly, where they are shown


def test_adaptive_blend_shows_the_whole_picture_at_test_time(attack_task):
    task = attack_task()
    assert torch.equal(
        AdaptiveBlend().trigger(task).stamp(task.train.images), Blended(alpha=0.2).stamp(task.train.images)
    )
