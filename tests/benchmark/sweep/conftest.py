"""A small suite on the tiny data set, and the stores that it fills."""

import pytest

from benchmark.plan import Request
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.sweep.estimate import Estimator
from benchmark.sweep.jobs import todo

SUITE = """
[defaults]
dataset = "{data}"
blocks = 2

[[grid]]
method = ["original", "finetune"]
retrains = 2

[[grid]]
attack = "badnets"
method = "clp"
"""


@pytest.fixture
def suite(tiny_npz, tmp_path):
    """Six runs that share two Originals, four Retrains, and of the attack two models and two oracles."""
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE.format(data=tiny_npz))
    return path


@pytest.fixture
def store(cache):
    return ArtifactStore(cache)


@pytest.fixture
def records(tmp_path):
    return RecordStore(tmp_path / "results")


@pytest.fixture
def left(store, records, tiny_npz):
    """What is to be done of requests on the tiny data set."""

    def go(*requests, known=()):
        base = {"dataset": str(tiny_npz), "blocks": "1", "retrains": 2, "device": "cpu"}
        return todo([Request(**base | request) for request in requests], store, [records, *known], Estimator(()))

    return go
