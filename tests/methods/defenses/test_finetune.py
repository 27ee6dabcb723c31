"""Fine-tuning and no defence; and what every defence by training on clean images has to keep to."""

import copy
import dataclasses
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmark.api import Split
from benchmark.registry import find
from methods.defenses.finetune import FineTune
from methods.defenses.ft_sam import FTSAM
from methods.defenses.i_bau import IBAU
from methods.defenses.nad import NAD
from methods.defenses.neural_cleanse import NeuralCleanse
from methods.defenses.none import NoDefense
from tests.helpers import same_bits

SHORT = {
    "finetune": FineTune(epochs=2, batch_size=24),
    "ft_sam": FTSAM(epochs=2, batch_size=24),
    "i_bau": IBAU(rounds=2, batch_size=24),
    "nad": NAD(teacher_epochs=1, epochs=2, batch_size=24),
    "neural_cleanse": NeuralCleanse(trigger_epochs=2, epochs=2, batch_size=24, anomaly=-1.0),  # something is flagged
}
every = pytest.mark.parametrize("method", SHORT.values(), ids=SHORT.keys())


def test_no_defence_returns_the_very_model(backdoored, defense_task):
    model = backdoored()
    assert NoDefense().defend(model, defense_task()) is model
    assert same_bits(model.state_dict(), backdoored().state_dict())


def test_fine_tuning_is_sgd_under_a_cosine_over_the_epochs(backdoored, defense_task):
    method = FineTune(epochs=3, batch_size=24, lr=0.02)
    tuned = method.defend(backdoored(), defense_task())

    model, clean = backdoored().train(), defense_task().clean
    velocity = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for epoch in range(3):
        lr = 0.02 * (1 + math.cos(math.pi * epoch / 3)) / 2
        for images, labels in clean.batches(24, epochs=1):
            gradients = torch.autograd.grad(cross_entropy(model(images), labels), list(model.parameters()))
            for parameter, gradient, speed in zip(model.parameters(), gradients, velocity, strict=True):
                speed.mul_(0.9).add_(gradient + 5e-4 * parameter.detach())
                parameter.data -= lr * speed
    for ours, plain in zip(tuned.state_dict().values(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def test_fine_tuning_fits_the_clean_images(backdoored, defense_task):
    task = defense_task()
    images, labels = next(task.clean.in_order())
    before = cross_entropy(backdoored().eval()(images), labels)
    after = cross_entropy(FineTune(epochs=5, batch_size=16).defend(backdoored(), task).eval()(images), labels)
    assert after < before


@every
def test_the_same_seed_gives_the_same_bits_and_no_global_draw(method, backdoored, defense_task):
    state = torch.get_rng_state()
    first, second = (method.defend(backdoored(), defense_task(seed=7)).state_dict() for _ in range(2))
    assert same_bits(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@every
def test_another_seed_gives_another_model(method, backdoored, defense_task):
    first, second = (method.defend(backdoored(), defense_task(seed=seed)).state_dict() for seed in (0, 1))
    assert not same_bits(first, second)


@every
def test_the_model_keeps_its_structure_has_no_hook_and_is_finite(method, backdoored, defense_task):
    before, after = backdoored(), method.defend(backdoored(), defense_task())
    assert after.state_dict().keys() == before.state_dict().keys()
    assert not same_bits(after.state_dict(), before.state_dict())
    assert all(torch.isfinite(value).all() for value in after.state_dict().values())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in after.modules())
    assert all(parameter.requires_grad for parameter in after.parameters())


@every
@pytest.mark.parametrize(("architecture", "channels"), [("cnn-small", 1), ("resnet18-quarter", 3)])
def test_every_architecture_and_grey_images_are_defended(method, architecture, channels, backdoored, defense_task):
    pool = defense_task().clean
    clean = Split(pool.images[:24, :channels].contiguous(), pool.labels[:24], seed=0)
    length = {name: 1 for name in ("epochs", "rounds", "trigger_epochs") if hasattr(method, name)}
    model = backdoored(architecture, channels)
    before = copy.deepcopy(model.state_dict())
    after = dataclasses.replace(method, **length).defend(model, defense_task(clean=clean)).state_dict()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert not same_bits(before, after)


@every
def test_no_other_model_is_built_or_trained_and_the_clean_images_stay_as_they_are(method, backdoored, defense_task):
    def never(*_):
        raise AssertionError("called")

    task = dataclasses.replace(defense_task(), fresh_model=never, fit=never)
    images, labels = task.clean.images.clone(), task.clean.labels.clone()
    method.defend(backdoored(), task)
    assert torch.equal(task.clean.images, images)
    assert torch.equal(task.clean.labels, labels)


@pytest.mark.parametrize("name", ["finetune", "ft_sam", "nad"])
def test_every_image_that_the_model_sees_is_one_of_the_clean_ones(name, backdoored, defense_task):
    task, seen, model = defense_task(), [], backdoored()
    model.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    SHORT[name].defend(model, task)
    clean = {image.numpy().tobytes() for image in next(task.clean.in_order())[0].contiguous()}
    assert {image.contiguous().numpy().tobytes() for image in seen} == clean


@pytest.mark.parametrize("name", SHORT)
def test_the_scaled_preset_keeps_rate_times_updates(name):
    plugin = find("defenses", name)
    published, scaled = plugin.configure("published", {}), plugin.configure("scaled", {}, (200,))
    assert published == plugin.cls()
    for field in dataclasses.fields(published):
        is_rate = field.name == "lr" or field.name.endswith("_lr")
        factor = 10 if is_rate else 1  # ten batches of 256 in an epoch of 2,500, one in an epoch of 200
        value = getattr(published, field.name)
        assert getattr(scaled, field.name) == (value if factor == 1 else pytest.approx(10 * value))


SGD = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 256}


@pytest.mark.parametrize(
    ("method", "published"),
    [
        (FineTune, SGD | {"epochs": 100}),
        (FTSAM, SGD | {"epochs": 100, "rho": 2, "label_smoothing": 0.1, "schedule_per_iteration": False}),
        (NAD, SGD | {"teacher_epochs": 10, "epochs": 10, "power": 2, "shallow_weight": 500, "deep_weight": 1000}),
        (IBAU, {"rounds": 5, "lr": 1e-4, "inner_lr": 10, "penalty": 0.001, "fixed_point_steps": 5}),
        (NeuralCleanse, SGD | {"epochs": 100, "reversal_step_size": 0.1, "cost": 1e-3, "success": 0.98, "anomaly": 2}),
    ],
)
def test_defaults_are_the_published_ones(method, published):
    assert dataclasses.asdict(method()).items() >= published.items()


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (FTSAM, {"rho": -1}),
        (FTSAM, {"label_smoothing": 1.0}),
        (NAD, {"teacher_epochs": -1}),
        (NAD, {"schedule_epochs": 0}),
        (NAD, {"power": 0}),
        (IBAU, {"perturbed_share": 0}),
        (IBAU, {"fixed_point_steps": -1}),
        (IBAU, {"norm_cap": -1}),
        (NeuralCleanse, {"trigger_epochs": 0}),
        (NeuralCleanse, {"cost_patience": 0}),
        (NeuralCleanse, {"success": 1.5}),
        (NeuralCleanse, {"stamped_share": -0.1}),
        (NeuralCleanse, {"cost": 0}),
        (NeuralCleanse, {"reversal_step_size": -1}),
    ],
)
def test_hyper_parameters_out_of_range_are_refused_by_name(method, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        method(**wrong)
