"""What a method leaves changed in its process is named, and put back before anybody else runs."""

import os

import pytest
import torch
from torch import nn

from benchmark.conformance.surroundings import SETTINGS, Surroundings

LEFT = {
    "the seed of torch's global generator": lambda: torch.manual_seed(12345),
    "the number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "the default dtype": lambda: torch.set_default_dtype(torch.float64),
    "the default device": lambda: torch.set_default_device("meta"),
    "grad mode": lambda: torch.set_grad_enabled(False),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "float32 matmul precision": lambda: torch.set_float32_matmul_precision("medium"),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "cudnn.benchmark": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cudnn.deterministic": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "the working folder": lambda: os.chdir("/"),
}
REPLACED = {
    "torch.nn.functional.cross_entropy": (nn.functional, "cross_entropy"),
    "torch.randperm": (torch, "randperm"),
    "Tensor.backward": (torch.Tensor, "backward"),
    "Module.__call__": (nn.Module, "__call__"),
    "Optimizer.zero_grad": (torch.optim.Optimizer, "zero_grad"),
    "ReLU.forward": (nn.ReLU, "forward"),
}


@pytest.fixture
def before():
    found = Surroundings.of(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    yield found
    found.restore()


@pytest.mark.parametrize("what", LEFT)
def test_a_setting_that_was_left_is_named_and_put_back(before, what):
    LEFT[what]()
    assert before.restore() == [what]
    assert before.restore() == []


def test_every_setting_is_among_them():
    assert LEFT.keys() == SETTINGS.keys()


@pytest.mark.parametrize("what", REPLACED)
def test_a_function_that_was_replaced_is_named_and_put_back(before, what):
    owner, name = REPLACED[what]
    function = getattr(owner, name)
    setattr(owner, name, lambda *_: None)
    assert before.restore() == [what]
    assert getattr(owner, name) is function


def test_training_leaves_nothing(before):
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model(torch.rand(3, 2)).sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert before.restore() == []
