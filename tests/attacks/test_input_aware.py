"""Input-aware: what its two networks are trained to be, and that it leaves the classifier alone."""

import pytest
import torch

from attacks._encoder_decoder import EncoderDecoder, new_network
from attacks.input_aware import InputAware, repetition, sharpened
from tests.helpers import same_bits


@pytest.fixture(scope="module")
def trained(attack_task):
    """(task, mask network) after a short training."""
    task = attack_task()
    attack = InputAware(mask_epochs=30, mask_batch_size=32, width=6, density_of="image")
    return task, attack.trained_mask(new_network(3, 1, 6, task.generator), task)


@torch.no_grad()
def masks_of(trained):
    task, mask = trained
    return sharpened(mask(task.train.images.float() / 255))


def test_masks_cover_about_the_density_and_are_nearly_binary(trained):
    masks = masks_of(trained)
    assert masks.shape == (240, 1, 28, 28)
    assert 0.02 < float(masks.mean()) < 0.05
    assert float(((masks > 0.1) & (masks < 0.9)).float().mean()) < 0.02


def test_masks_differ_between_images(trained):
    masks = (masks_of(trained) > 0.5).flatten(1)
    assert len(masks.unique(dim=0)) > 180


def test_the_mask_is_frozen_once_it_is_trained(trained):
    assert not any(parameter.requires_grad for parameter in trained[1].parameters())
    assert not trained[1].training


def test_a_step_of_the_generator_leaves_the_classifier_as_it_was(attack_task, clean_model):
    trigger = InputAware(mask_epochs=1, width=4).trigger(attack_task())
    model, before = clean_model(), clean_model()
    sentinels = [torch.full_like(parameter, 7.0) for parameter in model.parameters()]
    for parameter, sentinel in zip(model.parameters(), sentinels, strict=True):
        parameter.grad = sentinel.clone()
    trigger.before_step(model.train())
    assert same_bits(model.state_dict(), before.state_dict())
    for parameter, sentinel in zip(model.parameters(), sentinels, strict=True):
        assert torch.equal(parameter.grad, sentinel)


def test_the_generator_learns_to_turn_the_classifier_and_patterns_differ_between_images(attack_task, clean_model):
    task, model = attack_task(), clean_model()
    trigger = InputAware(ratio=0.5, cover_ratio=0.2, density=0.2, density_of="image", mask_epochs=4, width=8).trigger(
        task
    )
    others = task.train.images[task.train.labels != task.target]

    def turned():
        with torch.no_grad():
            return float((model.eval()(trigger.stamp(others).float() / 255).argmax(1) == task.target).float().mean())

    start = turned()
    for _ in range(40):
        trigger.before_step(model)
    assert turned() > start + 0.2
    changes = (trigger.stamp(others).int() - others.int()).flatten(1)
    assert len(changes.unique(dim=0)) == len(others)


def test_a_cover_image_wears_the_trigger_of_another(attack_task):
    task = attack_task()
    trigger = InputAware(mask_epochs=1, width=4).trigger(task)
    images = task.train.images[:32]
    assert not torch.equal(trigger.cover_stamp(images), trigger.stamp(images))


def test_copies_of_an_image_do_not_break_the_diversity_loss():
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images[1] = images[0]
    answers = images[:, :1].clone().requires_grad_()
    repetition(images, answers).backward()
    assert torch.isfinite(answers.grad).all()


def test_diversity_is_the_mean_ratio_of_root_mean_square_distances():
    images, answers = torch.rand(2, 5, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    ratios = [
        (images[i] - images[i - 1]).square().mean() ** 0.5 / (answers[i] - answers[i - 1]).square().mean() ** 0.5
        for i in range(5)
    ]
    torch.testing.assert_close(repetition(images, answers), torch.stack(ratios).mean())


@pytest.mark.parametrize("size", [(28, 28), (29, 35), (7, 5), (64, 64)])
def test_networks_take_images_of_any_size(size):
    images = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    made = EncoderDecoder(3, 1, 4).eval()(images).detach()
    assert made.shape == (2, 1, *size)
    assert 0 <= float(made.min()) < float(made.max()) <= 1
