"""The training loop against a loop written out, and the recipes against their sources."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmark.api import Diverged, MedsafeError, Recipe, Split
from benchmark.models import build_model
from benchmark.training import RECIPES, get_recipe, make_optimizer, make_scheduler, predict, resolve_device, train
from tests.helpers import same_bits


@pytest.fixture
def images():
    return torch.randint(0, 256, (50, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def split(images):
    return lambda seed=0: Split(images, torch.arange(50) % 4, seed)


def model(seed=1):
    return build_model("cnn-small", channels=3, num_classes=4, seed=seed)


def test_the_loop_is_plain_sgd_on_cross_entropy(split):
    recipe = Recipe("plain", "sgd", 0.1, epochs=2, batch_size=16, weight_decay=1e-3)
    trained, plain = train(model(), split(), recipe), model().train()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    for images, labels in split().batches(16, epochs=2):
        optimizer.zero_grad()
        cross_entropy(plain(images), labels).backward()
        optimizer.step()
    assert same_bits(trained.state_dict(), plain.state_dict())


def rates(recipe, steps_per_epoch):
    """The learning rate of every step."""
    optimizer = make_optimizer(torch.nn.Linear(1, 1), recipe)
    scheduler = make_scheduler(optimizer, recipe, steps_per_epoch)
    seen = []
    for _ in range(recipe.epochs * steps_per_epoch):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_the_medmnist_recipe_is_adam_with_a_tenth_of_the_rate_after_50_and_75_of_100_epochs():
    recipe = get_recipe("medmnist")
    assert (recipe.optimizer, recipe.batch_size, recipe.epochs, recipe.augmentation) == ("adam", 128, 100, "none")
    seen = rates(recipe, steps_per_epoch=2)
    assert seen == pytest.approx([1e-3] * 100 + [1e-4] * 50 + [1e-5] * 50)


def test_the_salun_recipe_is_sgd_with_a_tenth_of_the_rate_after_91_and_136_of_182_epochs():
    recipe = get_recipe("salun")
    expected = ("sgd", 0.9, 5e-4, 256, "standard")
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.batch_size, recipe.augmentation) == expected
    assert rates(recipe, steps_per_epoch=1) == pytest.approx([0.1] * 91 + [0.01] * 45 + [0.001] * 46)


def test_the_cpu_recipe_is_one_cycle_up_and_down():
    seen = rates(get_recipe("cpu"), steps_per_epoch=10)
    peak = seen.index(max(seen))
    assert max(seen) == pytest.approx(0.1, rel=1e-3)
    assert seen == sorted(seen[:peak]) + sorted(seen[peak:], reverse=True)
    assert seen[-1] < 1e-4


def test_the_augmentation_is_a_named_part_of_the_recipe():
    assert get_recipe("cpu+trivialaugment").augmentation == "trivialaugment"
    assert get_recipe("salun+none").augmentation == "none"
    with pytest.raises(MedsafeError, match="did you mean 'medmnist'"):
        get_recipe("medmnst")


def test_the_same_seeds_give_the_same_bits_and_another_order_does_not(split):
    recipe = Recipe("short", "sgd", 0.1, epochs=2, batch_size=16)
    first, second, other = (train(model(), split(seed), recipe).state_dict() for seed in (0, 0, 1))
    assert same_bits(first, second)
    assert not same_bits(first, other)


def test_training_that_leaves_the_finite_numbers_is_caught_in_its_epoch(split):
    with pytest.raises(Diverged, match="loss is nan in epoch"):
        train(model(), split(), Recipe("wild", "sgd", 1e18, epochs=5, batch_size=16))


def test_predictions_are_of_eval_mode_and_do_not_depend_on_the_batch_size(images):
    trained = model().train()
    before = copy.deepcopy(trained.state_dict())
    whole, single = predict(trained, images), predict(trained, images, batch_size=1)
    assert whole.dtype == torch.float32
    torch.testing.assert_close(whole, single)
    assert same_bits(before, trained.state_dict())


def test_after_each_epoch_a_caller_may_look_at_the_model(split):
    seen = []
    train(model(), split(), Recipe("short", "sgd", 0.1, epochs=3, batch_size=16), after_epoch=seen.append)
    assert len(seen) == 3


def test_the_mean_loss_of_every_epoch_is_told_and_leaves_the_bits_alone(split):
    recipe, told, expected = Recipe("short", "sgd", 0.1, epochs=2, batch_size=16), [], []
    trained = train(model(), split(), recipe, on_loss=told.append)
    plain, served = model().train(), split()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        losses = []
        for images, labels in served.batches(16, epochs=1):
            optimizer.zero_grad()
            loss = cross_entropy(plain(images), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        expected.append(sum(losses) / len(losses))
    assert told == pytest.approx(expected, rel=1e-6)
    assert same_bits(trained.state_dict(), plain.state_dict())


def test_a_device_that_is_not_there_is_one_line():
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(MedsafeError, match="did you mean 'cuda'"):
        resolve_device("cud")
    if not torch.cuda.is_available():
        with pytest.raises(MedsafeError, match="use --device cpu"):
            resolve_device("cuda")


def test_every_recipe_is_found_under_its_own_name():
    assert all(get_recipe(name).name == name for name in RECIPES)
