"""A step that is billed once costs what it costs when every operation is watched, and computes the same bits."""

import threading
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.api import Recipe, Split, derive_seed
from benchmark.cost import CostCounter
from benchmark.handout import Handout, Network, Share, carry_out
from benchmark.models import build_model
from benchmark.selection import train_selected
from benchmark.training import silent, train
from methods.unlearning.retrain import Retrain
from tests.helpers import same_bits

CPU = torch.device("cpu")
RECIPE = Recipe("short", "sgd", 0.1, epochs=3, batch_size=16)
IMAGES = torch.randint(0, 256, (53, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(53) % 4


def split():
    return Split(IMAGES, LABELS, seed=1)


def model(name="cnn-small"):
    return build_model(name, channels=3, num_classes=4, seed=2)


def watched(compute):
    """FLOPs of `compute(counted)` when every operation is seen, by torch's own counter, and what it returns."""
    reference = FlopCounterMode(display=False)
    with reference:
        result = compute()
    return reference.get_total_flops(), result


def billed(compute):
    """FLOPs of `compute(counted=...)` when repeated steps are billed as known, and what it returns."""
    with CostCounter(CPU) as cost:
        result = compute(counted=cost.repeated)
    return cost.flops, result


def frozen_stem():
    net = model()
    net.get_submodule("network")[0].weight.requires_grad_(False)
    return net


def an_attackers_step(net):
    net.eval()
    with torch.no_grad():
        net(torch.rand(5, 3, 12, 12))


CASES = {
    "the last batch is smaller": {},
    "a left-over image joins the batch before": {"size": 49},
    "one batch": {"recipe": replace(RECIPE, batch_size=64)},
    "adam": {"recipe": replace(RECIPE, optimizer="adam", lr=1e-3)},
    "another net": {"net": partial(model, "resnet18-quarter")},
    "weights that are not trained": {"net": frozen_stem},
    "a hook that computes": {"before_step": an_attackers_step},
    "validation after every epoch": {"after_epoch": an_attackers_step},
}


@pytest.mark.parametrize("case", CASES)
def test_the_bill_and_the_bits_are_those_of_watching_every_step(case):
    given = dict(CASES[case])
    size, net, recipe = given.pop("size", 53), given.pop("net", model), given.pop("recipe", RECIPE)

    def compute(**counted):
        torch.manual_seed(3)
        return train(net(), Split(IMAGES[:size], LABELS[:size], seed=1), recipe, **given, **counted)

    (expected, first), (flops, second) = watched(compute), billed(compute)
    assert flops == expected > 0
    assert same_bits(first.state_dict(), second.state_dict())


def test_validation_of_selected_epochs_is_on_the_bill():
    def compute(**counted):
        loop = partial(train, recipe=RECIPE, **counted)
        return train_selected(loop, IMAGES[:20], LABELS[:20], model(), split())

    (expected, first), (flops, second) = watched(compute), billed(compute)
    assert flops == expected
    assert same_bits(first.state_dict(), second.state_dict())


def test_two_trainings_on_one_bill_may_be_of_two_models():
    def compute(**counted):
        return [train(net, split(), RECIPE, **counted) for net in (model(), frozen_stem(), model("resnet18-quarter"))]

    assert billed(compute)[0] == watched(compute)[0]


def handout():
    share = Share(IMAGES, LABELS, seed=1)
    weights = model().state_dict()
    return Handout(
        "unlearning", {"forget": share, "retain": share, "validation": share}, ("none", ()),
        Network("cnn-small", 3, 4, 0.5, 0.5), 5, derive_seed(0, "draws"), RECIPE, selects_epoch=True, weights=weights,
    )  # fmt: skip


def test_a_method_that_calls_fit_is_billed_as_if_every_step_were_watched():
    result, cost = carry_out(Retrain(), handout(), seed=0, progress=silent)
    task, before = handout().task(silent), handout().model()
    expected, plain = watched(lambda: Retrain().unlearn(before, task))
    assert cost["flops"] == expected > 0
    assert same_bits(result.state_dict(), plain.state_dict())


def test_most_steps_run_unwatched(monkeypatch):
    seen = []
    dispatch = CostCounter.__torch_dispatch__

    def noticed(self, func, *rest):
        seen.append(func)
        return dispatch(self, func, *rest)

    monkeypatch.setattr(CostCounter, "__torch_dispatch__", noticed)
    billed(lambda counted: train(model(), split(), RECIPE, counted=counted))
    steps = sum(func is torch.ops.aten.nll_loss_forward.default for func in seen)
    assert steps == 2  # of twelve: one full batch and one at the end of an epoch


def multiply():
    return torch.ones(8, 8) @ torch.ones(8, 8)


def test_an_error_in_a_repeated_step_leaves_the_counter_watching():
    with CostCounter(CPU) as cost:
        for _ in range(2):
            with cost.repeated("product"):
                multiply()
        with pytest.raises(ZeroDivisionError), cost.repeated("product"):
            raise ZeroDivisionError
        once = cost.flops // 2
        multiply()
    assert cost.flops == 3 * once > 0


def test_a_step_that_failed_the_first_time_is_not_taken_as_known():
    with CostCounter(CPU) as cost:
        with pytest.raises(ZeroDivisionError), cost.repeated("product"):
            raise ZeroDivisionError
        with cost.repeated("product"):
            multiply()
    assert cost.flops == 2 * 8**3


def test_under_another_counter_both_see_every_step():
    inner = FlopCounterMode(display=False)
    with CostCounter(CPU) as cost, inner:
        for _ in range(3):
            with cost.repeated("product"):
                multiply()
    assert cost.flops == inner.get_total_flops() == 3 * 2 * 8**3


def test_a_thread_that_nobody_watches_teaches_the_bill_nothing():
    def elsewhere():
        with cost.repeated("product"):
            multiply()

    with CostCounter(CPU) as cost:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        with cost.repeated("product"):
            multiply()
    assert cost.flops == 2 * 8**3


def test_outside_of_the_counter_nothing_is_billed():
    cost = CostCounter(CPU)
    train(nn.Sequential(model()), split(), RECIPE, counted=cost.repeated)
    assert cost.flops == 0
