"""WaNet, FIBA and LF against a plain restatement of their maths."""

import numpy as np
import pytest
import torch
from torch.nn.functional import grid_sample, interpolate

from attacks.blended import pattern
from attacks.fiba import Fiba, with_amplitudes_of
from attacks.lf import Lf
from attacks.wanet import WaNet, control_points


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_control_points_have_a_mean_absolute_shift_of_one():
    drawn = control_points(4, generator())
    assert drawn.shape == (2, 4, 4)
    torch.testing.assert_close(drawn.abs().mean(), torch.tensor(1.0))
    assert drawn.min() < 0 < drawn.max()


@pytest.mark.parametrize("size", [28, 32])
def test_wanet_samples_the_image_along_a_smooth_field(attack_task, size):
    images = attack_task(3, size).train.images
    stamped = WaNet().trigger(attack_task(3, size)).stamp(images)

    control = control_points(4, attack_task(3, size).generator)
    field = interpolate(control[None], size=(size, size), mode="bicubic", align_corners=True)[0].permute(1, 2, 0)
    line = torch.linspace(-1, 1, size)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    grid = (torch.stack([columns, rows], dim=-1) + 0.5 * field / size).clamp(-1, 1)
    expected = grid_sample(images.float(), grid.repeat(len(images), 1, 1, 1), align_corners=True)
    assert (stamped.float() - expected).abs().max() <= 0.501


def test_a_field_without_shift_leaves_the_image_where_it_is(pictures):
    images, _ = pictures(1, 28, 35)
    attack = WaNet()
    assert torch.equal(attack.warp(images, attack.places(torch.zeros(2, 4, 4), images)), images)


def test_wanet_shifts_across_by_its_first_field_and_down_by_its_second():
    ramp = (torch.arange(28) * 8).byte().expand(1, 1, 28, 28)  # brighter to the right
    attack, shift = WaNet(strength=2.0), torch.zeros(2, 4, 4)
    shift[0] = 1  # 2 / 28 of a range of 2 that spans 27 pixels: 0.964 pixels
    moved = attack.warp(ramp, attack.places(shift, ramp)).float() - ramp.float()
    torch.testing.assert_close(moved[..., :-1], torch.full((1, 1, 28, 27), 8.0))
    assert torch.equal(attack.warp(ramp, attack.places(shift.flip(0), ramp)), ramp)


def test_a_cover_image_is_jittered_around_the_same_warp(attack_task):
    ramp = (torch.arange(28) * 8).byte().expand(400, 1, 28, 28).contiguous()
    trigger = WaNet().trigger(attack_task(1))
    offset = trigger.cover_stamp(ramp).float() - trigger.stamp(ramp).float()
    inner = offset[..., 2:-2]
    assert inner.mean(dim=0).abs().max() < 1.1  # no bias: 5 standard errors of the uniform law, and the rounding
    assert inner.abs().max() <= 8 * 0.5 + 1  # at most half a pixel
    assert inner.std() == pytest.approx(8 * 27 / 56 / 3**0.5, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 28), (3, 28), (3, 32), (3, 29, 35)])
def test_fiba_keeps_phases_and_high_frequencies_and_blends_low_amplitudes(pictures, shape):
    images = pictures(*shape)[0][:20].double()
    height, width = images.shape[2:]
    other = 255 * pattern(images.shape[1], height, width).double()
    mixed = with_amplitudes_of(other, images, 0.15, 3)

    before, after = np.fft.fft2(images.numpy()), np.fft.fft2(mixed.numpy())
    wanted = np.fft.fft2(other.numpy())
    down, across = np.abs(np.fft.fftfreq(height) * height), np.abs(np.fft.fftfreq(width) * width)
    low = (down[:, None] < 3.5) & (across[None, :] < 3.5)
    assert low.sum() == 49  # 2 b + 1 squared
    np.testing.assert_allclose(np.abs(after)[..., ~low], np.abs(before)[..., ~low], atol=1e-6)
    blended = 0.85 * np.abs(before) + 0.15 * np.abs(wanted)
    np.testing.assert_allclose(np.abs(after)[..., low], blended[..., low], atol=1e-6)
    np.testing.assert_allclose(after * np.abs(before), before * np.abs(after), rtol=1e-6, atol=1e-2)


@pytest.mark.parametrize(("size", "highest"), [(28, 3), (32, 3), (64, 6), (4, 1)])
def test_the_highest_frequency_of_fiba_scales_with_the_image(pictures, size, highest):
    images, _ = pictures(3, size)
    other = 255 * pattern(3, size, size)
    expected = with_amplitudes_of(other, images.float(), 0.15, highest).round().clamp(0, 255).byte()
    assert torch.equal(Fiba().stamp(images, other), expected)


def test_the_pattern_of_lf_is_smooth_and_bounded_and_turns_a_clean_model(attack_task, clean_model):
    task, attack = attack_task(), Lf(fooled_share=0.8)
    drawn = attack.pattern(task)
    assert drawn.abs().max() <= attack.amplitude + 1e-6
    power = np.abs(np.fft.fft2(drawn.numpy())) ** 2
    frequency = np.hypot(np.fft.fftfreq(28)[:, None], np.fft.fftfreq(28)[None, :])
    assert power[:, frequency > 0.25].sum() < 1e-3 * power.sum()

    others = task.train.images[task.train.labels != task.target].float() / 255
    model = clean_model().eval()
    with torch.no_grad():
        plain = (model(others).argmax(1) == task.target).float().mean()
        turned = (model((others + drawn).clamp(0, 1)).argmax(1) == task.target).float().mean()
    assert turned > 0.7
    assert turned > plain + 0.3


def test_a_batch_of_target_images_alone_gives_lf_nothing_to_do(attack_task):
    task = attack_task()
    task.train.labels[:] = task.target
    try:
        assert not Lf(steps=2).pattern(task).any()
    finally:
        task.train.labels.copy_(attack_task().train.labels)


def test_the_low_pass_of_lf_is_a_gaussian_mean_that_keeps_a_constant():
    attack = Lf()
    torch.testing.assert_close(attack.smooth(torch.full((3, 28, 28), 0.2)), torch.full((3, 28, 28), 0.2))
    point = torch.zeros(1, 28, 28)
    point[0, 14, 14] = 1
    spread, place = 28 / 16, torch.arange(28) - 14
    line = torch.exp(-(place**2) / (2 * spread**2))
    torch.testing.assert_close(attack.smooth(point)[0], line[:, None] * line / line.sum() ** 2, atol=1e-6, rtol=0)
