"""A workbench on the tiny data set, and a pool that is trained in seconds."""

import pytest
import torch

from benchmark.audits.pool import Pool
from benchmark.store.artifacts import ArtifactStore
from benchmark.training import RECIPES
from benchmark.workbenches import Setup, Workbenches


@pytest.fixture
def open_bench(tiny_npz, cache, short_recipe):
    """Opens a workbench over a cache, as a process of its own would."""

    def go(folder=None, **changes):
        wanted = {"non_member_share": 0.5, **changes}
        setup = Setup(str(tiny_npz), None, None, "cnn-small", RECIPES["cpu"], torch.device("cpu"), **wanted)
        return Workbenches(ArtifactStore(folder or cache)).open(setup)

    return go


@pytest.fixture
def pool(open_bench):
    """Four shadows."""
    return Pool(open_bench(), shadows=4)
