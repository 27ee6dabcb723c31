"""Real results of tiny runs, made once, and submissions of them."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark import training
from benchmark.config import canonical_json, identity
from benchmark.isolation.origin import Isolation
from benchmark.plan import Request
from benchmark.runner import run
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore, as_json
from benchmark.submission.contents import read_submission
from benchmark.submission.pack import Claim, pack
from benchmark.submission.verification import digest_of
from benchmark.submission.verify import verify

IN_PROCESS = Isolation(in_process=True)
"""Spares a plugin's tests the start of a process; `tests/benchmark/cli/test_submission.py` has one start."""


CPU = training.RECIPES["cpu"]


@contextmanager
def two_epochs():
    """The `cpu` recipe, made short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.RECIPES, "cpu", replace(CPU, epochs=2))
        yield


@pytest.fixture(autouse=True)
def short():
    """Whoever computes a submission again does so with two epochs too; yields the recipe as it is elsewhere."""
    with two_epochs():
        yield CPU


@pytest.fixture(scope="session")
def computed(tmp_path_factory, tiny_npz):
    """Runs requests on the tiny data set; results and cache are kept for all tests."""
    folder = tmp_path_factory.mktemp("computed")
    torch.set_num_threads(1)

    def go(method="finetune", results="results", **changes) -> Path:
        request = Request(method, **{"dataset": str(tiny_npz), "isolation": IN_PROCESS} | changes)
        store = ArtifactStore(folder / "cache")
        with two_epochs():
            for _ in run(request, store, RecordStore(folder / results)):
                pass
        return folder / results

    go.cache = folder / "cache"
    return go


@pytest.fixture(scope="session")
def packed(computed, tmp_path_factory):
    for scenario in ("random:0.1", "class:2"):
        results = computed(blocks="2", retrains=1, scenario=scenario)
    return pack(
        Claim("finetune", "Forgets little."), results, tmp_path_factory.mktemp("packed") / "s"
    ).submission.folder


@pytest.fixture
def submission(packed, tmp_path):
    """A submission of two rows of fine-tuning, two blocks each, with one Retrain; a copy for each test."""
    return shutil.copytree(packed, tmp_path / "submission")


@pytest.fixture
def verified(computed, tiny_npz):
    """Verifies a folder out of the cache of the runs themselves, all of it; keywords as of `verify`."""

    def go(folder, base=None, **changes):
        wanted = {"runs": None, "seed": 0, "files": [tiny_npz], "cache": computed.cache} | changes
        return list(verify(read_submission(folder), base or Request("", isolation=IN_PROCESS), **wanted))

    return go


def files_of(folder: Path) -> dict[str, bytes]:
    """Path within a folder -> content."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def paths_of(folder: Path, scenario: str | None = None) -> list[Path]:
    """The files of the records, by block."""
    found = [(json.loads(path.read_text())["spec"], path) for path in sorted(folder.rglob("records/**/*.json"))]
    wanted = [(spec["block"], path) for spec, path in found if scenario in (None, spec.get("scenario"))]
    return [path for _, path in sorted(wanted)]


def forge(path: Path, change, *, new_id=False) -> Path:
    """Change a record as somebody would who knows the suite: file name and manifest follow. Returns its path."""
    folder = next(parent for parent in path.parents if (parent / "submission.json").exists())
    record = json.loads(path.read_text())
    change(record)
    path.unlink()
    manifest = json.loads((folder / "submission.json").read_text())
    del manifest["records"][record["id"]]
    if new_id:
        record["id"] = identity(record["spec"])[:16]
    manifest["records"][record["id"]] = digest_of(record)
    written = RecordStore(folder).write(record)
    environments = {canonical_json(each["environment"]): each["environment"] for each in RecordStore(folder)}
    manifest["environments"] = [environments[text] for text in sorted(environments)]
    (folder / "submission.json").write_bytes(as_json(manifest))
    return written


PLUGIN = """
from dataclasses import dataclass
from benchmark.api import unlearning_method

@unlearning_method("mine", version=1)
@dataclass(frozen=True)
class Mine:
    def unlearn(self, model, task):
        {body}
"""


@pytest.fixture(scope="session")
def plugin_file(tmp_path_factory):
    """Writes a plugin file with this body."""

    def write(body: str) -> Path:
        path = tmp_path_factory.mktemp("plugin") / "mine.py"
        path.write_text(PLUGIN.format(body=body))
        return path

    return write


@pytest.fixture(scope="session")
def mine(computed, plugin_file):
    """A plugin file, and results of the method in it, which does nothing."""
    file = plugin_file("return model")
    return file, computed("mine", plugin=file, blocks="1", retrains=1, results="mine")


@pytest.fixture
def brought(mine, tmp_path):
    """A submission of them, with the file."""
    file, results = mine
    return pack(Claim("mine", "Does nothing.", plugin=file), results, tmp_path / "brought").submission.folder
