"""A results folder with an honest row, in which strangers' plugins are run."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmark import training
from benchmark.isolation.origin import Isolation
from benchmark.isolation.process import Limits
from benchmark.leaderboard.table import write_leaderboard
from benchmark.plan import Request
from benchmark.runner import run
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import Record, RecordStore

HEAD = """
import gc, os, resource, shutil, socket, subprocess, sys, time
from dataclasses import dataclass
from pathlib import Path
import torch
from benchmark.api import Diverged, Unsupported, unlearning_method
"""
METHOD = """
@unlearning_method("stranger", version=1, source_sizes=(40, 360))
@dataclass(frozen=True)
class Stranger:
    lr: float = 0.01

    def updates(self, forget, retain):
        return forget + retain

    def unlearn(self, model, task):
        {body}
"""


@dataclass(frozen=True)
class Suite:
    """Runs methods on one tiny data set, with one cache and one results folder."""

    dataset: Path
    cache: Path
    results: Path

    def run(self, method: str, plugin: Path | None = None, isolation: Isolation | None = None, **changes) -> Record:
        """One block of a method."""
        wanted = {"dataset": str(self.dataset), "blocks": "1", "retrains": 1, "plugin": plugin, **changes}
        request = Request(method, isolation=isolation or Isolation(Limits(seconds=60)), **wanted)
        (outcome,) = run(request, ArtifactStore(self.cache), RecordStore(self.results))
        write_leaderboard(self.results)
        return outcome.record


@pytest.fixture(scope="module")
def suite(tiny_npz, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.RECIPES, "cpu", replace(training.RECIPES["cpu"], epochs=2))
        suite = Suite(tiny_npz, tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("results"))
        suite.run("finetune")
        yield suite


@pytest.fixture
def stranger(tmp_path):
    """A plugin file of a method whose body is given."""

    def write(body: str, top: str = "") -> Path:
        path = tmp_path / "stranger.py"
        path.write_text(HEAD + top + METHOD.format(body=body.strip().replace("\n", "\n        ")))
        return path

    return write
