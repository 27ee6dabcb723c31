"""Adversarial neuron pruning against a plain restatement on multiplied weights."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmark.api import Diverged
from benchmark.training import predict
from methods.defenses.anp import AdversarialNeuronPruning
from methods.layers import RescaledNorms, batch_norms

SHORT = AdversarialNeuronPruning(iterations=4, batch_size=32)


def learn(method, model, task):
    return method.learn_masks(RescaledNorms(model, method.statistics), task)


def plain_logits(model, images, scale, shift):
    """cnn-small with rescaled batch norms in training mode, written out layer by layer."""
    hidden, norms = (images - 0.5) / 0.5, batch_norms(model)
    scales, shifts = scale.split([16, 32, 64]), shift.split([16, 32, 64])
    convolutions = [model.get_submodule("network")[place] for place in (0, 4, 8)]
    for convolution, norm, a, b, last in zip(convolutions, norms, scales, shifts, (False, False, True), strict=True):
        hidden = torch.nn.functional.conv2d(hidden, convolution.weight, padding=1)
        mean, variance = hidden.mean((0, 2, 3), keepdim=True), hidden.var((0, 2, 3), unbiased=False, keepdim=True)
        normalised = (hidden - mean) / (variance + norm.eps).sqrt()
        hidden = (normalised * (a * norm.weight)[:, None, None] + (b * norm.bias)[:, None, None]).relu()
        hidden = hidden.mean((2, 3)) if last else torch.nn.functional.max_pool2d(hidden, 2)
    return model.get_submodule("network")[-1](hidden)


def plain_masks(method, model, task):
    masks, velocity, ones = torch.ones(112), torch.zeros(112), torch.ones(112)
    for images, labels in task.clean.batches(method.batch_size, steps=method.iterations):
        noise = method.eps * (2 * torch.rand((2, 112), generator=task.generator) - 1)
        noise.requires_grad_()
        loss = cross_entropy(plain_logits(model, images, masks + noise[0], ones + noise[1]), labels)
        direction = torch.autograd.grad(loss, noise)[0].sign()
        delta, xi = (noise.detach() + method.eps * direction).clamp(-method.eps, method.eps)
        moving = masks.clone().requires_grad_()
        clean = cross_entropy(plain_logits(model, images, moving, ones), labels)
        perturbed = cross_entropy(plain_logits(model, images, moving + delta, ones + xi), labels)
        gradient = torch.autograd.grad(method.alpha * clean + (1 - method.alpha) * perturbed, moving)[0]
        velocity = method.momentum * velocity + gradient
        masks = (masks - method.lr * velocity).clamp(0, 1)
    return masks


def test_masks_are_those_of_the_plain_restatement(backdoored, defense_task):
    found, expected = (f(SHORT, backdoored(), defense_task()) for f in (learn, plain_masks))
    assert found.min() < 0.99
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_without_a_box_the_perturbation_is_zero_and_masks_learn_on_clean_images_alone(backdoored, defense_task):
    method = AdversarialNeuronPruning(iterations=4, batch_size=32, eps=0.0)
    network, task = RescaledNorms(backdoored(), "batch"), defense_task()
    images, labels = next(task.clean.batches(32, steps=1))
    assert not method.perturb(network, torch.ones(112), images, labels, task.generator).any()

    masks = torch.ones(112, requires_grad=True)
    optimizer = torch.optim.SGD([masks], method.lr, method.momentum)
    model = backdoored()
    for images, labels in defense_task().clean.batches(32, steps=4):
        optimizer.zero_grad()
        cross_entropy(plain_logits(model, images, masks, torch.ones(112)), labels).backward()
        optimizer.step()
        masks.data.clamp_(0, 1)
    torch.testing.assert_close(learn(method, backdoored(), defense_task()), masks.detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("attack_steps", [1, 3])
def test_the_perturbation_stays_in_its_box_and_raises_the_loss(backdoored, defense_task, attack_steps):
    method = AdversarialNeuronPruning(attack_steps=attack_steps)
    network, task = RescaledNorms(backdoored(), "batch"), defense_task()
    images, labels = next(task.clean.batches(64, steps=1))
    delta, xi = method.perturb(network, torch.ones(112), images, labels, task.generator)
    assert max(float(delta.abs().max()), float(xi.abs().max())) <= method.eps + 1e-6
    assert cross_entropy(network(images, 1 + delta, 1 + xi), labels) > cross_entropy(
        network(images, torch.ones(112)), labels
    )


@pytest.mark.parametrize("threshold", [0.2, 0.9])
def test_channels_at_or_below_the_threshold_are_pruned_and_all_else_keeps_its_bits(backdoored, defense_task, threshold):
    method = AdversarialNeuronPruning(iterations=8, batch_size=32, threshold=threshold)
    masks = learn(method, backdoored(), defense_task())
    found, expected = method.defend(backdoored(), defense_task()), backdoored()
    assert 0 < int((masks <= threshold).sum()) < 112
    for norm, mask in zip(batch_norms(expected), masks.split([16, 32, 64]), strict=True):
        norm.weight.data[mask <= threshold] = 0
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name]), name


def test_both_halves_of_the_loss_reach_the_masks(backdoored, defense_task):
    learned = [
        learn(AdversarialNeuronPruning(iterations=3, batch_size=32, alpha=alpha), backdoored(), defense_task())
        for alpha in (0.0, 0.2, 1.0)
    ]
    assert not torch.equal(learned[0], learned[1])
    assert not torch.equal(learned[1], learned[2])


def test_running_statistics_are_another_network(backdoored, defense_task):
    running = AdversarialNeuronPruning(iterations=2, batch_size=32, statistics="running")
    batch = AdversarialNeuronPruning(iterations=2, batch_size=32)
    assert not torch.equal(*(learn(method, backdoored(), defense_task()) for method in (running, batch)))


def test_the_backdoor_is_gone_after_forty_batches(backdoored, defense_task, triggered):
    model = AdversarialNeuronPruning(iterations=40, batch_size=32).defend(backdoored(), defense_task())
    before, after = (float((predict(m, triggered.images).argmax(1) == 0).float().mean()) for m in (backdoored(), model))
    assert before > 0.95
    assert after < before / 2


def test_masks_that_left_the_finite_numbers_are_said_so(backdoored, defense_task):
    model = backdoored()
    model.get_submodule("network")[-1].weight.data.fill_(torch.nan)
    with pytest.raises(Diverged, match="masks"):
        SHORT.defend(model, defense_task())


@pytest.mark.parametrize(("field", "value"), [("alpha", 1.2), ("eps", -0.1), ("attack_steps", 0), ("iterations", 0)])
def test_hyper_parameters_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        AdversarialNeuronPruning(**{field: value})
