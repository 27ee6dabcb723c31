"""The neural polarizer against a plain restatement of its maths, and facts about the layer it adds."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import Split, Unsupported
from benchmark.contracts.insertion import insertions_of, rebuild
from benchmark.models import build_model, insertion_point
from methods.defenses.neural_polarizer import NeuralPolarizer, channels_before, insert_polarizer, strongest_other
from tests.helpers import same_bits

SHORT = NeuralPolarizer(epochs=3, warmup_epochs=2, batch_size=32)


def backbone(model):
    """The state dict without the added layers, under the names of the model as it came."""
    state = {name.replace("network.8.1", "network.8"): value for name, value in model.state_dict().items()}
    return {name: value for name, value in state.items() if not name.startswith("network.8.0")}


def logits_of(model, split):
    with torch.no_grad():
        return model.eval()(next(split.in_order())[0])


def plainly(method, model, task):
    """The algorithm step by step, on a layer put into the network by hand."""
    model.eval()
    channels = model.network[8].in_channels
    convolution, norm = nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
    convolution.weight.data = torch.eye(channels)[:, :, None, None]
    layer = nn.Sequential(convolution, norm)
    head, tail = model[:1].append(model.network[:8]), model.network[8:]

    def h(images):
        return tail(layer(head(images)))

    optimizer = torch.optim.SGD(layer.parameters(), method.warmup_lr)
    for images, labels in task.clean.batches(method.batch_size, epochs=method.warmup_epochs, augment=False):
        optimizer.zero_grad()
        cross_entropy(h(images), labels).backward()
        optimizer.step()
    layer.eval()
    optimizer = torch.optim.SGD(layer.parameters(), method.lr, method.momentum, weight_decay=method.weight_decay)
    for images, labels in task.clean.batches(method.batch_size, epochs=method.epochs, augment=False):
        rows = range(len(labels))
        others = h(images).detach().softmax(1)
        pseudo = others.argmax(1)
        others[rows, labels] = 0
        target = others.argmax(1)
        delta = torch.zeros_like(images)
        for _ in range(method.inner_steps):
            delta = delta.detach().requires_grad_()
            found = h((images + delta).clip(0, 1))
            if (found.argmax(1) == target).sum() > method.success_share * len(labels):
                break
            delta.grad = torch.autograd.grad(cross_entropy(found, target), delta)[0]
            delta = delta.detach() - method.inner_step_size * delta.grad.sign()
            radius = method.radius * math.sqrt(images[0].numel() / 3072)
            for i in rows:
                delta[i] *= min(1.0, radius / float(delta[i].norm()))
        attacked = h((images + delta.detach()).clip(0, 1))
        p = attacked.softmax(1)
        wrong = p.detach().clone()
        wrong[rows, labels] = 0
        loss = method.clean_weight * cross_entropy(h(images), labels)
        loss = loss + method.consistency_weight * cross_entropy(attacked, pseudo)
        loss = loss - method.wrong_class_weight * torch.log(1.0001 - p[rows, wrong.argmax(1)]).mean()
        loss = loss - method.attacked_class_weight * torch.log(1.0001 - p[rows, target]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layer


@pytest.mark.parametrize("weights", [(1.0, 0.4, 0.4, 0.4), (0.7, 0.0, 0.5, 0.1)])
def test_training_is_what_the_maths_says(backdoored, defense_task, weights):
    names = ["clean_weight", "consistency_weight", "wrong_class_weight", "attacked_class_weight"]
    method = dataclasses.replace(SHORT, **dict(zip(names, weights, strict=True)))
    ours = method.defend(backdoored(), defense_task()).get_submodule("network.8.0").state_dict()
    plain = plainly(method, backdoored(), defense_task()).state_dict()
    assert ours.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["cnn-small", "resnet18-quarter"])
def test_the_new_layer_is_the_identity_up_to_the_epsilon_of_batch_norm(backdoored, defense_task, architecture):
    model = backdoored(architecture)
    task = defense_task(insertion_point=insertion_point(architecture, model))
    before = logits_of(model, task.clean)
    polarizer = insert_polarizer(model, task)
    torch.testing.assert_close(logits_of(model, task.clean), before, rtol=1e-3, atol=1e-3)
    maps = torch.randn(2, polarizer[1].num_features, 5, 5)
    torch.testing.assert_close(polarizer(maps), maps / math.sqrt(1 + 1e-5))


@pytest.mark.parametrize("train_statistics", [False, True])
def test_the_network_around_the_layer_stays_as_it_was_to_the_last_bit(backdoored, defense_task, train_statistics):
    method = dataclasses.replace(SHORT, train_statistics=train_statistics)
    after = method.defend(backdoored(), defense_task())
    assert same_bits(backbone(after), backdoored().state_dict())
    assert all(parameter.requires_grad for parameter in after.parameters())


def test_a_saved_and_reloaded_model_gives_the_same_logits(backdoored, defense_task):
    after = SHORT.defend(backdoored(), defense_task())
    fresh = rebuild(build_model("cnn-small", channels=3, num_classes=8, seed=9), insertions_of(after))
    fresh.load_state_dict(after.state_dict())
    clean = defense_task().clean
    assert torch.equal(logits_of(fresh, clean), logits_of(after, clean))
    assert not torch.equal(logits_of(after, clean), logits_of(backdoored(), clean))


@pytest.mark.parametrize("train_statistics", [False, True])
def test_the_layers_statistics_come_from_the_warm_up_alone_unless_asked_for(backdoored, defense_task, train_statistics):
    def statistics(epochs):
        method = dataclasses.replace(SHORT, epochs=epochs, train_statistics=train_statistics)
        return dict(method.defend(backdoored(), defense_task()).get_submodule("network.8.0").named_buffers())

    warm, trained = statistics(0), statistics(3)
    assert int(warm["1.num_batches_tracked"]) == 2 * 2
    assert int(trained["1.num_batches_tracked"]) == 2 * 2 + train_statistics * 3 * 2
    assert same_bits(warm, trained) != train_statistics


@pytest.mark.parametrize("channels", [1, 3])
def test_the_radius_shrinks_with_the_root_of_the_images_numbers(backdoored, dataset, channels):
    model = backdoored(channels=channels).eval()
    # All steps are taken (nothing can exceed a share of 1), and grey images are far from 0 and 1: no clipping.
    images = dataset.images[240:256, :channels].float() / 255 * 0.2 + 0.4
    method = NeuralPolarizer(success_share=1.0)
    delta = method.perturbed(model, images, torch.zeros(16, dtype=torch.int64)) - images
    expected = torch.full((16,), 3.0 * math.sqrt(channels * 28 * 28 / 3072))
    torch.testing.assert_close(delta.flatten(1).norm(dim=1), expected, rtol=1e-4, atol=1e-4)


def test_inside_the_ball_a_perturbation_is_left_alone(backdoored, dataset):
    images = dataset.images[240:256].float() / 255 * 0.2 + 0.4
    method = NeuralPolarizer(success_share=1.0, radius=100.0)
    delta = method.perturbed(backdoored().eval(), images, torch.zeros(16, dtype=torch.int64)) - images
    torch.testing.assert_close(delta.abs().amax(dim=(1, 2, 3)), torch.full((16,), 0.2))


def test_perturbed_images_are_images_and_nearer_to_their_target(backdoored, defense_task):
    model, (images, labels) = backdoored().eval(), next(defense_task().clean.in_order())
    target = strongest_other(model(images), labels)
    perturbed = NeuralPolarizer().perturbed(model, images, target)
    assert perturbed.min() >= 0
    assert perturbed.max() <= 1
    assert cross_entropy(model(perturbed), target) < cross_entropy(model(images), target)


def test_a_batch_that_is_already_taken_for_its_target_is_not_perturbed(backdoored, defense_task):
    model, (images, _) = backdoored().eval(), next(defense_task().clean.in_order())
    own = model(images).argmax(1)
    assert torch.equal(NeuralPolarizer().perturbed(model, images, own), images)
    assert not torch.equal(NeuralPolarizer(success_share=1.0).perturbed(model, images, own), images)


def test_the_runner_up_is_found_however_low_the_other_logits_are():
    logits = torch.tensor([[-50.0, -20.0, -30.0], [-50.0, -20.0, -30.0], [5.0, -80.0, -70.0]])
    assert strongest_other(logits, torch.tensor([1, 0, 0])).tolist() == [2, 1, 2]
    assert strongest_other(logits[:, :2], torch.tensor([0, 1, 0])).tolist() == [1, 0, 1]


def test_the_backdoor_weakens_while_clean_images_are_still_recognised(backdoored, defense_task, triggered):
    def share(model, split):
        return float((logits_of(model, split).argmax(1) == split.labels).float().mean())

    after = NeuralPolarizer(epochs=40, warmup_epochs=20).defend(backdoored(), defense_task())
    assert share(backdoored(), triggered) > 0.9
    assert share(after, triggered) < 0.3
    assert share(after, defense_task().clean) > 0.5  # of eight classes, by a model that began at 0.75


def test_it_draws_nothing_and_repeats_itself_to_the_last_bit(backdoored, defense_task):
    first = SHORT.defend(backdoored(), defense_task())
    torch.manual_seed(77)
    assert same_bits(first.state_dict(), SHORT.defend(backdoored(), defense_task()).state_dict())


def test_images_are_not_augmented(backdoored, defense_task, dataset):
    augmented = []

    def notice(images, generator):
        augmented.append(len(images))
        return images

    clean = Split(dataset.images[240:260], dataset.labels[240:260], 0, augmentation=notice)
    SHORT.defend(backdoored(), defense_task(clean=clean))
    assert augmented == []


def test_grey_images_work_too(backdoored, defense_task, dataset):
    clean = Split(dataset.images[240:260, :1], dataset.labels[240:260], 0)
    after = SHORT.defend(backdoored(channels=1), defense_task(clean=clean))
    assert torch.isfinite(logits_of(after, clean)).all()


@pytest.mark.parametrize("place, reason", [(None, "no place"), ("network.13", "feature maps")])
def test_an_architecture_without_feature_maps_is_not_supported(backdoored, defense_task, place, reason):
    model = backdoored()
    with pytest.raises(Unsupported, match=reason):
        SHORT.defend(model, defense_task(insertion_point=place))
    assert same_bits(model.state_dict(), backdoored().state_dict())


def test_looking_for_the_channels_leaves_no_hook_behind(backdoored, defense_task):
    model, (images, _) = backdoored(), next(defense_task().clean.in_order(2))
    assert channels_before(model, "network.8", images) == 32
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_defaults_are_the_published_ones():
    assert dataclasses.asdict(NeuralPolarizer()) == {
        "epochs": 50, "warmup_epochs": 5, "lr": 0.01, "warmup_lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4,
        "batch_size": 128, "inner_steps": 2, "inner_step_size": 0.1, "radius": 3.0, "success_share": 0.6,
        "clean_weight": 1.0, "consistency_weight": 0.4, "wrong_class_weight": 0.4, "attacked_class_weight": 0.4,
        "train_statistics": False,
    }  # fmt: skip
    assert NeuralPolarizer().updates(2_500) == 1_000


@pytest.mark.parametrize("wrong", [{"radius": 0.0}, {"inner_step_size": -0.1}])
def test_a_perturbation_without_room_is_refused(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        NeuralPolarizer(**wrong)
