"""A bench to run whole experiments on, in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import training
from benchmark.plan import Request
from benchmark.runner import run
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore


@pytest.fixture
def short_recipe(monkeypatch):
    """The `cpu` recipe with two epochs."""
    monkeypatch.setitem(training.RECIPES, "cpu", replace(training.RECIPES["cpu"], epochs=2))


@pytest.fixture
def bench(tiny_npz, tmp_path, cache, short_recipe):
    """Runs a request on the tiny data set, two Retrains, one block; returns the records."""

    def go(method="finetune", results: Path | None = None, cache_folder: Path | None = None, **changes):
        wanted = {"dataset": str(tiny_npz), "blocks": "1", "retrains": 2, **changes}
        store, records = ArtifactStore(cache_folder or cache), RecordStore(results or tmp_path / "results")
        return [outcome.record for outcome in run(Request(method, **wanted), store, records)]

    return go
