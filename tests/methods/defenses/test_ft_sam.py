"""FT-SAM's step against a plain restatement."""

import copy
import dataclasses

import pytest
import torch
from torch.nn.functional import cross_entropy

from methods.defenses.ft_sam import FTSAM, perturbation
from tests.helpers import same_bits


def batch_of(task):
    return next(task.clean.batches(32, steps=1))


def test_the_perturbation_climbs_in_proportion_to_the_squared_weights(backdoored, defense_task):
    model = backdoored()
    images, labels = batch_of(defense_task())
    cross_entropy(model(images), labels).backward()
    parameters = list(model.parameters())

    total = sum((w * g) ** 2 for p in parameters for w, g in zip(p.flatten().tolist(), p.grad.flatten(), strict=True))
    offsets = perturbation(parameters, rho=2.0)
    for parameter, offset in zip(parameters, offsets, strict=True):
        plain = 2.0 * parameter.detach() ** 2 * parameter.grad / total**0.5
        torch.testing.assert_close(offset, plain, rtol=1e-3, atol=1e-7)
    # in units of the weights themselves the perturbation has length rho
    relative = torch.cat([
        (offset / parameter.detach().abs().clamp_min(1e-30)).flatten()
        for parameter, offset in zip(parameters, offsets, strict=True)
    ])  # fmt: skip
    assert relative.norm() == pytest.approx(2.0, rel=1e-3)


def test_the_gradient_is_that_of_the_moved_weights_and_the_weights_are_back_to_the_bit(backdoored, defense_task):
    images, labels = batch_of(defense_task())
    model = backdoored().train()
    before = copy.deepcopy(dict(model.named_parameters()))
    method = FTSAM(rho=0.5)
    method.sharpness_aware_gradient(model, images, labels)

    moved = backdoored().train()
    cross_entropy(moved(images), labels, label_smoothing=0.1).backward()
    offsets = perturbation(list(moved.parameters()), 0.5)
    for parameter, offset in zip(moved.parameters(), offsets, strict=True):
        parameter.data += offset
    loss = cross_entropy(moved(images), labels, label_smoothing=0.1)
    there = torch.autograd.grad(loss, list(moved.parameters()))
    assert same_bits(dict(model.named_parameters()), before)
    for parameter, gradient in zip(model.parameters(), there, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_without_a_radius_it_is_fine_tuning_with_label_smoothing_bit_for_bit(backdoored, defense_task):
    defended = FTSAM(rho=0.0, epochs=3, batch_size=24).defend(backdoored(), defense_task())

    model, clean = backdoored().train(), defense_task().clean
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=3)
    for _ in range(3):
        for images, labels in clean.batches(24, epochs=1):
            optimizer.zero_grad()
            cross_entropy(model(images), labels, label_smoothing=0.1).backward()
            optimizer.step()
        schedule.step()
    assert same_bits(defended.state_dict(), model.state_dict())


@pytest.mark.parametrize("both", [False, True])
def test_running_statistics_follow_the_first_pass_or_both(both, backdoored, defense_task):
    images, labels = batch_of(defense_task())
    model, once = backdoored().train(), backdoored().train()
    FTSAM(perturbed_statistics=both).sharpness_aware_gradient(model, images, labels)
    once(images)
    assert same_bits(dict(model.named_buffers()), dict(once.named_buffers())) is not both
    assert all(module.track_running_stats for module in model.modules() if hasattr(module, "track_running_stats"))


def test_the_authors_code_turns_the_cosine_after_every_batch(backdoored, defense_task):
    epoch_wise, batch_wise = FTSAM(epochs=2, batch_size=64), FTSAM(epochs=2, batch_size=64, schedule_per_iteration=True)
    models = [method.defend(backdoored(), defense_task()).state_dict() for method in (epoch_wise, batch_wise)]
    assert same_bits(*models)  # one batch an epoch: no difference
    shorter = [dataclasses.replace(method, batch_size=16) for method in (epoch_wise, batch_wise)]
    assert not same_bits(*(method.defend(backdoored(), defense_task()).state_dict() for method in shorter))
