"""Anti-backdoor learning: its formulas, its phases, and the whole of it."""

import copy
import dataclasses
from functools import partial

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmark.registry import find
from methods.defenses.abl import AntiBackdoorLearning, lowest_losses
from tests.helpers import poisoned_task, same_bits

SHORT = AntiBackdoorLearning(warm_epochs=2, train_epochs=2, unlearn_epochs=2, isolated_share=0.05)


@pytest.fixture
def poisoned(dataset):
    """The task of training on poisoned images; a new one for each call."""
    return partial(poisoned_task, dataset)


def losses_of(model, split):
    model.eval()
    with torch.no_grad():
        return cross_entropy(model(split.images.float() / 255), split.labels, reduction="none")


def test_local_ascent_descends_above_gamma_and_climbs_below_it():
    losses = torch.tensor([0.1, 0.4, 0.9, 2.0], requires_grad=True)
    value = AntiBackdoorLearning(gamma=0.5).ascending(losses)
    torch.testing.assert_close(value.item(), (-0.1 - 0.4 + 0.9 + 2.0) / 4)
    value.backward()
    assert torch.equal(losses.grad, torch.tensor([-0.25, -0.25, 0.25, 0.25]))


@pytest.mark.parametrize("level", [0.2, 3.0])
def test_flooding_keeps_the_batchs_mean_loss_above_gamma(level):
    losses = torch.tensor([0.1, 0.4, 0.9, 2.0], requires_grad=True)
    value = AntiBackdoorLearning(ascent="flooding", gamma=level).ascending(losses)
    torch.testing.assert_close(value.item(), abs(0.85 - level) + level)
    value.backward()
    assert torch.equal(losses.grad, torch.full((4,), 0.25 if level < 0.85 else -0.25))


@pytest.mark.parametrize(("images", "count"), [(50_000, 500), (240, 2), (30, 1)])
def test_one_percent_is_isolated_and_at_least_one_image(images, count):
    assert AntiBackdoorLearning().isolated_count(images) == count


def test_isolation_finds_the_lowest_losses_in_eval_mode_without_augmentation(poisoned):
    split = poisoned(augmentation=lambda images, generator: images * 0).train
    model = poisoned().fit(poisoned().fresh_model(), poisoned().train)
    before = copy.deepcopy(model.state_dict())
    isolated = lowest_losses(model, split, 12)
    losses = losses_of(model, split)
    assert int(isolated.sum()) == 12
    assert losses[isolated].max() <= losses[~isolated].min()
    assert same_bits(before, model.state_dict())


@pytest.mark.parametrize("freeze", [False, True])
def test_unlearning_raises_the_isolated_images_loss(poisoned, freeze):
    trained = dataclasses.replace(SHORT, unlearn_epochs=0, freeze_statistics=freeze)
    unlearned = dataclasses.replace(SHORT, unlearn_epochs=10, unlearn_lr=0.005, freeze_statistics=freeze)
    start = warmed(poisoned(), SHORT)
    isolated = lowest_losses(start, poisoned().train, 12)
    before, after = (losses_of(method.train(poisoned()), poisoned().train) for method in (trained, unlearned))
    assert after[isolated].mean() > before[isolated].mean() + 0.1


def warmed(task, method):
    """The model after the warm-up alone, restated with the formula of the paper."""
    model = task.fresh_model().train()
    optimizer = torch.optim.SGD(model.parameters(), method.lr, method.momentum, weight_decay=method.weight_decay)
    for images, labels in task.train.batches(method.batch_size, epochs=method.warm_epochs):
        losses = cross_entropy(model(images), labels, reduction="none")
        optimizer.zero_grad()
        torch.where(losses > method.gamma, losses, -losses).mean().backward()
        optimizer.step()
    return model


def test_the_warm_up_is_the_papers_objective(poisoned):
    method = dataclasses.replace(SHORT, gamma=1.8, train_epochs=0, unlearn_epochs=0)
    assert same_bits(method.train(poisoned()).state_dict(), warmed(poisoned(), method).state_dict())


def test_training_never_serves_the_isolated_images_and_unlearning_no_other(poisoned):
    served = []

    class Watched(AntiBackdoorLearning):
        def fit(self, model, split, objective, rates):
            served.append((split, list(rates)))
            super().fit(model, split, objective, served[-1][1])

    method = dataclasses.replace(SHORT, train_epochs=4, milestone=3)
    Watched(**dataclasses.asdict(method)).train(poisoned())
    (whole, _), (rest, rates), (suspects, unlearning) = served
    assert (len(whole), len(rest), len(suspects)) == (240, 228, 12)
    images = {image.numpy().tobytes() for image in rest.images}
    assert not any(image.numpy().tobytes() in images for image in suspects.images)
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.01])
    assert unlearning == [5e-4, 5e-4]


@pytest.mark.parametrize("ascent", ["local", "flooding"])
def test_the_model_is_finite_and_the_same_seeds_give_the_same_bits(poisoned, ascent):
    first, second = (dataclasses.replace(SHORT, ascent=ascent).train(poisoned()) for _ in range(2))
    assert all(bool(torch.isfinite(weight).all()) for weight in first.state_dict().values())
    assert first.state_dict().keys() == poisoned().fresh_model().state_dict().keys()
    assert same_bits(first.state_dict(), second.state_dict())


def test_frozen_statistics_stay_where_training_left_them(poisoned):
    frozen = dataclasses.replace(SHORT, freeze_statistics=True)
    before = dataclasses.replace(frozen, unlearn_epochs=0).train(poisoned())
    after = frozen.train(poisoned())
    assert same_bits(dict(before.named_buffers()), dict(after.named_buffers()))
    assert not same_bits(before.state_dict(), after.state_dict())


def test_training_from_scratch_has_no_scaled_preset():
    assert "scaled" not in find("defenses", "abl").info.presets


def test_defaults_are_the_published_ones():
    published = {"warm_epochs": 20, "train_epochs": 60, "unlearn_epochs": 20, "gamma": 0.5, "isolated_share": 0.01}
    assert dataclasses.asdict(AntiBackdoorLearning()).items() >= (published | {"unlearn_lr": 5e-4}).items()


@pytest.mark.parametrize(("name", "value"), [("isolated_share", 0.0), ("gamma", -1.0), ("train_epochs", -1)])
def test_hyper_parameters_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        AntiBackdoorLearning(**{name: value})
