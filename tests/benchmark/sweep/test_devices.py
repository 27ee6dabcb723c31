"""Which worker computes where."""

import os

import pytest
import torch

from benchmark.errors import MedsafeError
from benchmark.sweep.devices import Share, worker_devices


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


def test_a_worker_of_a_cluster_gets_cores_or_its_share_of_a_gpu():
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 1e9}
    assert Share("cpu", threads=3).room(node) == 2
    assert Share("cpu", threads=3).resources == {"num_cpus": 3, "num_gpus": 0}
    assert Share("cuda", threads=8, per_gpu=4).room(node) == 8
    assert Share("cuda", threads=8, per_gpu=4).resources == {"num_cpus": 0, "num_gpus": 0.25}
    assert Share("cuda", threads=1).room({"CPU": 8.0}) == 0


@pytest.mark.parametrize("workers", range(1, 50))
def test_the_shares_of_a_gpu_are_no_more_than_one_as_ray_rounds_them(workers):
    share = Share("cuda", threads=1, per_gpu=workers).resources["num_gpus"]
    assert round(share * 10_000) * workers <= 10_000
