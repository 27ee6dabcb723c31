"""What the options of an engine mean together."""

import pytest
import torch

from benchmark.errors import MedsafeError
from benchmark.sweep.engine import Engine


@pytest.fixture
def gpus(monkeypatch):
    """Two of them, as far as torch is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_several_workers_share_each_gpu(gpus):
    assert Engine(per_gpu=2).devices == ["cuda:0", "cuda:1"] * 2
    assert Engine(device="cuda:1", per_gpu=3).devices == ["cuda:1"] * 3


def test_a_cluster_computes_on_the_kind_of_device_that_this_machine_has(gpus, monkeypatch):
    assert Engine("ray", workers=5, per_gpu=2).devices == ["cuda"] * 5
    assert set(Engine("ray", device="cpu").devices) == {"cpu"}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert set(Engine("ray").devices) == {"cpu"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"executor": "slurm"}, "unknown executor 'slurm'"),
        ({"address": "head:6379"}, "head:6379.*--executor ray"),
        ({"per_gpu": 0}, "per-gpu 0"),
        ({"per_gpu": 2, "device": "cpu"}, "no GPU to share"),
        ({"per_gpu": 2, "workers": 2}, "leave one out"),
        ({"executor": "ray", "device": "cuda:1"}, "--device cuda"),
        ({"executor": "ray", "workers": 0}, "workers 0"),
    ],
)
def test_an_option_that_would_have_no_effect_is_an_error(gpus, options, says):
    with pytest.raises(MedsafeError, match=says) as caught:
        Engine(**options)
    assert len(str(caught.value).splitlines()) == 1
