"""A model that breaks the contract is not scored, and a bill is not left unpaid."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.api import Diverged, Recipe, Split
from benchmark.checks import BrokenMethod, check_model
from benchmark.cost import CostCounter
from benchmark.models import build_model
from benchmark.training import train
from tests.helpers import same_bits

IMAGES = torch.randint(0, 256, (300, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def model(num_classes=4):
    return build_model("cnn-small", channels=3, num_classes=num_classes, seed=1)


class ReadsItsBatch(nn.Sequential):
    """Normalises its logits over the batch: at test time the answer for one patient would depend on the others."""

    def forward(self, images):
        logits = super().forward(images)
        return logits - logits.mean(0)


def test_a_healthy_model_passes_with_its_weights():
    healthy = build_model("cnn-small", channels=3, num_classes=4, seed=2)
    assert same_bits(check_model(healthy, model(), IMAGES).state_dict(), healthy.state_dict())


def test_a_model_whose_answers_are_not_in_its_weights_is_refused():
    hooked = model()
    hooked.register_forward_hook(lambda module, inputs, output: -output)
    with pytest.raises(BrokenMethod, match="weights alone give other logits"):
        check_model(hooked, model(), IMAGES)


@pytest.mark.parametrize("result", [None, 3, model().state_dict()])
def test_what_is_no_module_is_refused(result):
    with pytest.raises(BrokenMethod, match="not a model"):
        check_model(result, model(), IMAGES)


def test_another_number_of_classes_is_another_structure():
    with pytest.raises(BrokenMethod, match="another structure"):
        check_model(model(5), model(), IMAGES)


def test_weights_that_are_not_finite_mean_diverged():
    broken = model()
    next(broken.parameters()).data[0] = float("nan")
    with pytest.raises(Diverged, match="weights that are not finite"):
        check_model(broken, model(), IMAGES)


def test_logits_that_are_not_finite_mean_diverged():
    broken = model()
    broken.get_submodule("network")[-1].weight.data.fill_(3e38)
    with pytest.raises(Diverged, match="logits that are not finite"):
        check_model(broken, model(), IMAGES)


def test_a_model_that_reads_its_batch_is_refused():
    with pytest.raises(BrokenMethod, match="reads its batch"):
        check_model(
            ReadsItsBatch(*copy.deepcopy(model()).children()).eval(), ReadsItsBatch(*model().children()), IMAGES
        )


def test_the_bill_is_torchs_own_count_of_every_pass():
    recipe = Recipe("short", "sgd", 0.1, epochs=1, batch_size=64)
    split = [Split(IMAGES, torch.arange(300) % 4, 0) for _ in range(2)]
    with CostCounter(torch.device("cpu")) as cost:
        train(model(), split[0], recipe)
    reference = FlopCounterMode(display=False)
    with reference:
        train(model(), split[1], recipe)
    assert cost.flops == reference.get_total_flops() > 0
    assert cost.seconds > 0


def test_gradients_of_the_input_are_on_the_bill():
    images = torch.rand(4, 3, 12, 12)
    bills = []
    for needs_gradient in (False, True):
        with CostCounter(torch.device("cpu")) as cost:
            model()(images.clone().requires_grad_(needs_gradient)).sum().backward()
        bills.append(cost.flops)
    assert bills[1] > bills[0]
