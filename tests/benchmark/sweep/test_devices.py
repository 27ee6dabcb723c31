"""Which worker computes where."""

import os

import pytest
import torch

from benchmark.errors import MedsafeError
from benchmark.sweep.devices import worker_devices


def test_a_cpu_feeds_as_many_workers_as_it_has_cores_for(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert worker_devices("cpu", None, threads=1) == ["cpu"] * 8
    assert worker_devices("cpu", None, threads=3) == ["cpu"] * 2
    assert worker_devices("cpu", None, threads=16) == ["cpu"]
    assert worker_devices("cpu", 3, threads=1) == ["cpu"] * 3


def test_workers_share_the_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert worker_devices("auto", None, threads=1) == ["cuda:0", "cuda:1"]
    assert worker_devices("auto", 5, threads=1) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    assert worker_devices("cuda:1", 2, threads=1) == ["cuda:1", "cuda:1"]


def test_no_worker_is_an_error():
    with pytest.raises(MedsafeError, match="workers 0"):
        worker_devices("cpu", 0, threads=1)
