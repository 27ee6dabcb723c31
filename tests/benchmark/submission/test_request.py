"""From a record back to the request for it."""

import json
import os
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmark import training
from benchmark.config import canonical_json
from benchmark.errors import MedsafeError
from benchmark.leaderboard.blocks import key_of
from benchmark.plan import Request, make_plan
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.submission.request import request_of

PUBLISHED = Path(__file__).parents[3] / "results"


@pytest.fixture
def as_published(short):
    """The `cpu` recipe as it is elsewhere; undone before what made it short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.RECIPES, "cpu", short)
        yield


@pytest.mark.slow
def test_every_published_run_is_still_what_the_suite_does_under_its_names(as_published, cache):
    folder = Path(os.environ.get("MEDSAFE_DATA", ""))
    rows = defaultdict(list)
    for record in RecordStore(PUBLISHED):
        name = record["spec"]["data"]["name"]
        if name == "bloodmini" or (folder / f"{name}.npz").is_file():
            rows[key_of(record, without=("block",))].append(record["spec"])
    assert len(rows) > 100
    for specs in rows.values():
        request = request_of(specs[0], [spec["block"] for spec in specs], Request(""), {})
        planned = make_plan(request, ArtifactStore(cache)).specs
        assert [json.loads(canonical_json(asdict(spec))) for spec in planned] == specs


def test_a_run_in_bf16_is_asked_for_on_a_gpu_and_nowhere_else(submission):
    spec = json.loads(next(submission.rglob("records/**/*.json")).read_text())["spec"]
    files = {spec["data"]["sha256"]: Path("data.npz")}
    assert request_of(spec, [0], Request(""), files).device == "cpu"
    spec["recipe"]["precision"] = "bf16"
    assert request_of(spec, [0], Request(""), files).device == "cuda"
    assert request_of(spec, [0], Request("", device="cuda:1"), files).device == "cuda:1"
    with pytest.raises(MedsafeError, match="records in bf16 are verified on cuda, not on cpu"):
        request_of(spec, [0], Request("", device="cpu"), files)


@pytest.mark.parametrize(("blocks", "text"), [([0], "0-0"), ([7], "7-7"), ([0, 2], "0,2")])
def test_blocks_are_written_as_a_user_writes_them(submission, blocks, text):
    spec = json.loads(next(submission.rglob("records/**/*.json")).read_text())["spec"]
    assert request_of(spec, blocks, Request(""), {spec["data"]["sha256"]: Path("x.npz")}).blocks == text
