"""Reconstructive neuron pruning: unlearning, recovery, and what all pruning defences owe."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import Diverged, Split, Unsupported
from benchmark.models import build_model
from benchmark.training import predict
from methods.defenses.anp import AdversarialNeuronPruning
from methods.defenses.clp import ChannelLipschitzPruning
from methods.defenses.fine_pruning import FinePruning
from methods.defenses.rnp import ReconstructiveNeuronPruning
from methods.layers import RescaledNorms, batch_norms
from tests.helpers import same_bits

SHORT = ReconstructiveNeuronPruning(epochs=3, recovery_epochs=3, batch_size=32)
ALL = [
    AdversarialNeuronPruning(iterations=2, batch_size=32),
    ChannelLipschitzPruning(u=1.0),
    FinePruning(epochs=1, batch_size=32),
    ReconstructiveNeuronPruning(epochs=1, recovery_epochs=1, batch_size=32, lr=1e-4),
]
NAMES = [type(method).__name__ for method in ALL]


def ascend(model, split, epochs, stop_accuracy):
    """Gradient ascent written out; returns the model and the accuracies on the way."""
    model.train()
    velocity, accuracies = [torch.zeros_like(p) for p in model.parameters()], []
    for _ in range(epochs):
        right = 0
        for images, labels in split.batches(32, epochs=1):
            logits = model(images)
            gradients = torch.autograd.grad(cross_entropy(logits, labels), list(model.parameters()))
            with torch.no_grad():
                for place, (parameter, gradient) in enumerate(zip(model.parameters(), gradients, strict=True)):
                    velocity[place] = 0.9 * velocity[place] - gradient + 5e-4 * parameter
                    parameter.sub_(0.01 * velocity[place])
            right += int((logits.argmax(1) == labels).sum())
        accuracies.append(right / len(split))
        if accuracies[-1] <= stop_accuracy:
            break
    return model, accuracies


@pytest.mark.parametrize(("stop_accuracy", "epochs"), [(0.2, 20), (0.6, 20), (0.0, 2)])
def test_unlearning_ascends_until_the_accuracy_or_the_epochs_are_used_up(
    backdoored, defense_task, stop_accuracy, epochs
):
    method = ReconstructiveNeuronPruning(epochs=epochs, stop_accuracy=stop_accuracy, batch_size=32)
    found = method.unlearn(backdoored(), defense_task())
    expected, accuracies = ascend(backdoored(), defense_task().clean, epochs, stop_accuracy)
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=1e-3, atol=1e-4)
    assert all(accuracy > stop_accuracy for accuracy in accuracies[:-1])
    assert accuracies[-1] <= stop_accuracy or len(accuracies) == epochs


def test_two_classes_too_are_unlearned_below_the_stop_accuracy(backdoored, defense_task):
    clean = defense_task().clean
    halves = Split(clean.images, (clean.labels > 3).long(), seed=0)
    unlearned = ReconstructiveNeuronPruning(batch_size=32).unlearn(backdoored(), defense_task(clean=halves))
    assert float((predict(unlearned, halves.images).argmax(1) == halves.labels).float().mean()) <= 0.2


def test_an_unlearned_model_answers_with_the_attackers_class(backdoored, defense_task, triggered):
    """Why recovery exposes the backdoor: ascent on clean images leaves it in place."""
    unlearned = ReconstructiveNeuronPruning(batch_size=32).unlearn(backdoored(), defense_task())
    assert float((predict(unlearned, triggered.images).argmax(1) == 0).float().mean()) > 0.9


def test_recovery_descends_on_the_scaled_clean_loss_and_moves_masks_alone(backdoored, defense_task):
    model, start = backdoored(), backdoored()
    found = SHORT.recover(RescaledNorms(model, "batch"), defense_task())
    assert same_bits(model.state_dict(), start.state_dict())

    masks, velocity = torch.ones(112), torch.zeros(112)
    for images, labels in defense_task().clean.batches(32, epochs=3):
        masks.requires_grad_()
        rescaled = copy.deepcopy(start).train()
        products = (masks * torch.cat([norm.weight.detach() for norm in batch_norms(start)])).split([16, 32, 64])
        for norm, product in zip(batch_norms(rescaled), products, strict=True):
            del norm.weight
            norm.weight = product
        (gradient,) = torch.autograd.grad(0.2 * cross_entropy(rescaled(images), labels), masks)
        velocity = 0.9 * velocity + gradient
        masks = (masks.detach() - 0.2 * velocity).clamp(0, 1)
    torch.testing.assert_close(found, masks, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.7, 0.9])
def test_channels_below_the_threshold_are_pruned_in_the_model_as_it_was(backdoored, defense_task, threshold):
    method = ReconstructiveNeuronPruning(epochs=3, recovery_epochs=3, batch_size=32, threshold=threshold)
    task = defense_task()
    masks = method.recover(RescaledNorms(method.unlearn(backdoored(), task), "batch"), task)
    found, expected = method.defend(backdoored(), defense_task()), backdoored()
    assert 0 < int((masks < threshold).sum()) < 112
    for norm, mask in zip(batch_norms(expected), masks.split([16, 32, 64]), strict=True):
        norm.weight.data[mask < threshold] = 0
    assert same_bits(found.state_dict(), expected.state_dict())


def test_unlearning_that_leaves_the_finite_numbers_is_said_so(backdoored, defense_task):
    method = ReconstructiveNeuronPruning(epochs=3, recovery_epochs=1, batch_size=32, lr=1e30)
    with pytest.raises(Diverged, match="unlearning went too far"):
        method.defend(backdoored(), defense_task())


@pytest.mark.parametrize(("field", "value"), [("stop_accuracy", 1.1), ("recovery_epochs", 0), ("recovery_lr", -1.0)])
def test_hyper_parameters_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        ReconstructiveNeuronPruning(**{field: value})


@pytest.mark.parametrize("architecture", ["cnn-small", "resnet18-quarter", "timm:resnet10t"])
@pytest.mark.parametrize("method", ALL, ids=NAMES)
def test_a_pruned_model_is_a_plain_finite_model_of_its_architecture(backdoored, defense_task, method, architecture):
    model = method.defend(backdoored(architecture), defense_task())
    fresh = build_model(architecture, channels=3, num_classes=8, seed=9)
    assert list(model.state_dict()) == list(fresh.state_dict())
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    fresh.load_state_dict(model.state_dict())
    images = torch.randint(0, 256, (8, 3, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(predict(model, images), predict(fresh, images))


@pytest.mark.parametrize("method", ALL, ids=NAMES)
def test_the_same_seed_prunes_the_same_bits_whatever_the_global_stream(backdoored, defense_task, method):
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        states.append(method.defend(backdoored(), defense_task()).state_dict())
    assert same_bits(*states)


@pytest.mark.parametrize("method", ALL, ids=NAMES)
def test_grey_images_are_pruned_for_too(backdoored, defense_task, dataset, method):
    grey = Split(dataset.images[240:304, :1], dataset.labels[240:304], seed=0)
    model = method.defend(backdoored(channels=1), defense_task(clean=grey))
    assert torch.isfinite(predict(model, grey.images)).all()


@pytest.mark.parametrize("method", [m for m in ALL if not isinstance(m, FinePruning)], ids=lambda m: type(m).__name__)
def test_a_net_without_batch_norm_is_refused_in_words(defense_task, method):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 8))
    with pytest.raises(Unsupported, match="batch norm"):
        method.defend(model, defense_task())
