"""Neural Cleanse: the rule of outliers, the search for a trigger, and unlearning with it."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from attacks.badnets import BadNets
from benchmark.api import Split
from methods.defenses.neural_cleanse import NeuralCleanse, Search, outliers_below, squash, stamp
from tests.helpers import same_bits


class Planted(nn.Module):
    """Of the 64 places of an image class c has ten; the target class wins, besides, where the last four are white."""

    def __init__(self, target: int) -> None:
        super().__init__()
        self.evidence = nn.Linear(64, 6, bias=False)
        self.evidence.weight.data.zero_()
        for c in range(6):
            self.evidence.weight.data[c, 10 * c : 10 * c + 10] = 2.0
        self.evidence.weight.data[target, 60:] = 15.0

    def forward(self, images):
        """Float images (n, channels, 8, 8) -> logits (n, 6)."""
        return self.evidence(images.mean(1).flatten(1))


@pytest.fixture
def planted_task(defense_task):
    """48 noisy images whose own class's places are brighter."""
    labels = torch.arange(48) % 6
    images = torch.randint(0, 30, (48, 3, 64), generator=torch.Generator().manual_seed(0))
    for image, label in zip(images, labels, strict=True):
        image[:, 10 * label : 10 * label + 10] += 150
    clean = Split(images.to(torch.uint8).view(48, 3, 8, 8), labels, seed=0)
    return lambda: dataclasses.replace(defense_task(clean=clean), num_classes=6)


@pytest.mark.parametrize("seed", range(20))
def test_an_outlier_is_what_the_median_absolute_deviation_says_and_lies_below(seed):
    norms = np.random.default_rng(seed).lognormal(sigma=1.5, size=8 + seed % 4)
    index = np.abs(norms - np.median(norms)) / (1.4826 * np.median(np.abs(norms - np.median(norms))))
    expected = [c for c in range(len(norms)) if index[c] > 0.9 and norms[c] < np.median(norms)]
    assert outliers_below(torch.tensor(norms), 0.9).tolist() == expected


def test_a_single_small_norm_is_flagged_and_a_single_large_one_is_not():
    norms = torch.tensor([50.0, 52, 49, 5, 51, 48, 53, 50])
    assert outliers_below(norms, 2.0).tolist() == [3]
    assert outliers_below(100 - norms, 2.0).tolist() == []


@pytest.mark.parametrize("norms", [[1.0, 100.0], [100.0, 1.0], [3.0, 3.0]])
def test_of_two_classes_none_can_be_flagged(norms):
    assert outliers_below(torch.tensor(norms), 2.0).tolist() == []


def test_a_stamp_mixes_image_and_pattern_by_the_mask():
    draw = torch.Generator().manual_seed(0)
    images, raw = torch.rand(2, 3, 4, 4, generator=draw), torch.randn(4, 4, 4, generator=draw) * 5
    mask, pattern = squash(raw)
    stamped = stamp(images, mask, pattern)
    for place in np.ndindex(2, 3, 4, 4):
        _, c, i, j = place
        m, p = ((np.tanh(raw[k, i, j].item()) + 1) / 2 for k in (0, 1 + c))
        assert stamped[place].item() == pytest.approx((1 - m) * images[place].item() + m * p, abs=1e-6)
    assert 0 <= stamped.min() <= stamped.max() <= 1


def test_the_cost_follows_the_success_and_the_smallest_mask_that_succeeds_is_kept():
    search = Search(cost=1.0, patience=2, success=0.9)
    trigger = {size: (torch.full((1,), float(size)), torch.zeros(1)) for size in range(1, 9)}
    kept, costs = [], []
    for success, size in [(0.5, 3), (0.5, 2), (0.95, 8), (0.9, 7), (0.2, 1), (1, 7), (1, 6), (1, 6), (1, 8)]:
        search.after_epoch(success, trigger[size])
        kept.append(search.best[0].item())
        costs.append(search.cost)
    down = 2**-1.5
    assert kept == [3, 2, 8, 7, 7, 7, 6, 6, 6]  # as long as none succeeds, the last one
    assert costs == pytest.approx([1, down, down, 2 * down, 2 * down, 2 * down, 4 * down, 4 * down, 8 * down])
    assert search.moved == {"up", "down"}
    assert search.stale == 2


@pytest.mark.parametrize("target", [0, 4])
def test_a_planted_patch_is_found_and_its_class_is_flagged(target, planted_task):
    method, model, task = NeuralCleanse(trigger_epochs=40, batch_size=16), Planted(target), planted_task()
    masks, patterns = zip(*(method.reverse(model, task, c) for c in range(6)), strict=True)
    norms = torch.stack([mask.sum() for mask in masks])
    assert target in outliers_below(norms, 2.0).tolist()  # the other classes are so alike that noise may flag one too
    assert all(norms[target] < norms[other] / 3 for other in range(6) if other != target)
    mask, pattern = masks[target], patterns[target]
    assert mask.flatten()[60:].mean() > 5 * mask.flatten()[:60].mean()
    predicted = model(stamp(next(task.clean.in_order())[0], mask, pattern)).argmax(1)
    assert (predicted == target).float().mean() > 0.9


def test_the_search_ends_early_once_the_cost_went_both_ways_and_nothing_smaller_comes(planted_task):
    def epochs_used(stop):
        task, count = planted_task(), 0
        model = Planted(2)

        def counted(*_):
            nonlocal count
            count += 1

        model.register_forward_hook(counted)
        NeuralCleanse(trigger_epochs=200, batch_size=48, stop_patience=stop).reverse(model, task, 2)
        return count

    assert epochs_used(3) < epochs_used(10_000) == 200


def test_the_reversal_leaves_the_model_as_it_is(backdoored, defense_task):
    model = backdoored().eval()
    NeuralCleanse(trigger_epochs=2, batch_size=32).reverse(model, defense_task(), 0)
    assert same_bits(model.state_dict(), backdoored().state_dict())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_model_is_returned_as_it_was_where_nothing_is_flagged(backdoored, defense_task):
    model = backdoored()
    defended = NeuralCleanse(trigger_epochs=1, anomaly=1e9).defend(model, defense_task())
    assert defended is model
    assert same_bits(defended.state_dict(), backdoored().state_dict())


def test_unlearning_with_the_true_trigger_takes_the_backdoor_away(backdoored, defense_task, triggered):
    mask = (BadNets().stamp(torch.zeros(1, 1, 28, 28, dtype=torch.uint8)) > 0)[:, 0].float()

    def attack_success(model):
        images, target = next(triggered.in_order())
        return (model.eval()(images).argmax(1) == target).float().mean()

    before = attack_success(backdoored())
    method = NeuralCleanse(epochs=10, batch_size=16)
    after = attack_success(method.unlearn(backdoored(), defense_task(), mask, torch.ones(1, 3, 28, 28)))
    assert after < before - 0.3


def test_a_fifth_of_every_batch_is_stamped_with_one_of_the_triggers(backdoored, defense_task):
    model, seen = backdoored(), []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    patterns = torch.stack([torch.zeros(3, 28, 28), torch.ones(3, 28, 28)])  # masks of ones: black images, or white
    NeuralCleanse(epochs=8, batch_size=24).unlearn(model, defense_task(), torch.ones(2, 28, 28), patterns)
    black, white = (sum(int((images == value).all((1, 2, 3)).sum()) for images in seen) for value in (0, 1))
    for images in seen:
        flat = images.flatten(1)
        assert int((flat.amin(1) == flat.amax(1)).sum()) == round(0.2 * len(images))
    assert black > 0
    assert white > 0


@pytest.mark.parametrize(("share", "cured"), [(0.2, True), (0.0, False)])
def test_the_whole_defence_unlearns_what_it_flags_by_stamping(share, cured, planted_task):
    task, model = planted_task(), Planted(1)
    images, labels = next(task.clean.in_order())
    images[:, :, 7, 4:] = 0.3  # the true trigger, faint: the reversed one is just strong enough
    assert (model(images).argmax(1) == 1).all()
    NeuralCleanse(trigger_epochs=40, epochs=40, lr=0.3, batch_size=16, stamped_share=share).defend(model, task)
    assert ((model(images).argmax(1) == labels).float().mean() > 0.9) == cured
