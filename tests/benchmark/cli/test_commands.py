"""What works: a run, and what follows it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from benchmark import training
from benchmark.data.datasets import load_dataset
from benchmark.models import build_model
from benchmark.store.artifacts import ArtifactStore
from benchmark.tracks.scoring import metrics_of
from benchmark.tracks.stored import predictions_of
from tests.benchmark.cli.said import Said
from tests.benchmark.leaderboard.factory import make_record
from tests.helpers import records


def test_a_run_prints_its_outcome_and_the_leaderboard_and_leaves_record_and_csv(run):
    said = run("salun", "--threads", 1)
    assert said.code == 0, said.err
    (record,) = records()
    assert f"salun on tiny-blood, random:0.1, block 0 ({record['id']}): ok" in said.out
    assert "1 of 1 runs computed, 0 already recorded in results/local" in said.out
    assert "tiny-blood · cnn-small · cpu · none · random:0.1: own runs" in said.out
    assert "leaderboard: results/local/leaderboards/unlearning.csv" in said.out
    table = pd.read_csv("results/local/leaderboards/unlearning.csv")
    assert table["method"].tolist() == ["salun"]
    assert table["ua"].item() == pytest.approx(record["metrics"]["ua"], abs=1e-5)


def test_the_same_run_again_computes_nothing_and_says_so(run, monkeypatch):
    run("finetune")
    before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    monkeypatch.setattr("benchmark.runner.execute", lambda *_: pytest.fail("computed again"))
    said = run("finetune")
    assert said.code == 0
    assert "0 of 1 runs computed, 1 already recorded in results/local" in said.out
    assert "block 0" in said.out
    assert "): already recorded" in said.out
    assert {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()} == before


def test_a_record_has_the_shape_that_the_synthetic_ones_of_these_tests_have(run):
    def shape(value):
        return {name: shape(part) for name, part in value.items()} if isinstance(value, dict) else ...

    run("finetune")
    (real,), synthetic = records(), make_record("finetune", retrains=1)
    for record in (real, synthetic):
        record["unresolved"] = record["spec"]["method"]["hyperparameters"] = {}  # their names are not fixed
    assert shape(real) == shape(synthetic)
    assert shape(real["references"]["retrain"][0]) == shape(synthetic["references"]["retrain"][0])
    assert real["declarations"].keys() == metrics_of("unlearning").keys()


def test_hyper_parameters_of_ones_own_make_the_row_custom(run):
    run("finetune", "--params", "lr=0.02 epochs=1")
    (record,) = records()
    assert record["spec"]["method"]["preset"] == "custom"
    assert record["spec"]["method"]["hyperparameters"]["lr"] == 0.02
    assert pd.read_csv("results/local/leaderboards/unlearning.csv")["standing"].tolist() == ["custom"]


def test_the_leaderboard_is_rebuilt_from_records_alone_to_the_same_bytes(run, medsafe, monkeypatch):
    run("finetune")
    run("original")
    folder = Path("results/local/leaderboards")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setenv("MEDSAFE_CACHE", "/nonexistent/file")
    said = medsafe("leaderboard")
    assert said.code == 0
    assert "finetune" in said.out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_published_rows_stand_beside_ones_own(run, medsafe):
    run("finetune")
    medsafe("publish")
    said = run("original")
    assert said.out.count("own runs") == 1
    own, published = said.out.split("own runs")[1].split(": published")
    assert "original" in own
    assert "finetune" in own
    assert "finetune" in published
    assert "original" not in published.splitlines()[3]
    assert medsafe("leaderboard", "--results", "results").out.count("tiny-blood") == 1  # not beside themselves


def test_failures_are_published_with_the_rest_and_nobodys_own_tuning_is(run, medsafe, plugin):
    run("finetune")
    run("finetune", "--params", "lr=0.02 epochs=1")
    run("mine", "--plugin", plugin("raise RuntimeError('no')"))
    assert len(records()) == 3
    said = medsafe("publish")
    assert said.code == 0
    assert "2 records published to results" in said.out
    published = records("results/records")
    assert all(record in records() for record in published)
    assert {(record["spec"]["method"]["name"], record["status"]) for record in published} == {
        ("finetune", "ok"),
        ("mine", "error"),
    }
    table = pd.read_csv("results/leaderboards/unlearning.csv").set_index("method")
    assert table.loc["mine", "standing"] == "incomplete"
    assert set(table["preset"]) == {"published"}


def test_a_published_record_never_stands_in_for_a_run(run, medsafe):
    run("finetune")
    medsafe("publish")
    for path in Path("results/local").rglob("*.json"):
        path.unlink()
    assert "1 of 1 runs computed" in run("finetune").out


def test_the_cache_can_be_shown_and_cleared(run, medsafe, cache):
    run("finetune")
    said = medsafe("cache")
    assert said.code == 0
    assert str(cache) in said.out
    for kind in ("original: 1,", "retrain: 1,", "unlearned: 1,", "scores: 3,"):
        assert f"  {kind}" in said.out
    assert "0 artifacts" in medsafe("cache", "--clear").out
    assert ArtifactStore(cache).listing() == []


def test_an_exported_model_gives_the_stored_logits_and_its_card_says_what_it_is(run, medsafe, cache, tiny_npz):
    run("finetune")
    (record,) = records()
    assert medsafe("export", record["id"][:8], "--output", "taken").code == 0
    model = build_model("cnn-small", channels=3, num_classes=8, seed=1)
    model.load_state_dict(load_file("taken/model.safetensors"))
    images = load_dataset(str(tiny_npz)).images
    stored = predictions_of(ArtifactStore(cache).find(record["artifacts"]["model"]))["logits"]
    assert np.array_equal(training.predict(model, images).numpy(), stored)
    assert json.loads(Path("taken/record.json").read_text()) == record
    card = Path("taken/README.md").read_text()
    for fact in (record["id"], "finetune", "tiny-blood", "`random:0.1` (36 images)", record["spec"]["data"]["sha256"]):
        assert fact in card
    assert f"| UA | {record['metrics']['ua']:.4f} |" in card


def test_an_export_that_cannot_be_made_says_why_and_leaves_nothing(run, medsafe, cache):
    run("finetune")
    run("original")
    run("finetune", "--params", "lr=1e30 epochs=1")
    by_status = {(record["status"], record["spec"]["method"]["name"]): record["id"] for record in records()}
    good = by_status["ok", "finetune"]
    Path("there").mkdir()
    for words, answer in (
        (("0123456789abcdef",), "run '0123456789abcdef' is not in results/local/records"),
        (("",), "may be any of 3"),
        ((by_status["diverged", "finetune"],), "has no model: its status is diverged"),
        ((good, "--output", "there"), "output folder 'there' exists"),
    ):
        said = medsafe("export", *words)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert answer in said.err
    ArtifactStore(cache).clear()
    assert f"the model of run '{good}' is not in the cache" in medsafe("export", good).err
    assert not Path("export").exists()


# The same in processes of their own

MEDSAFE = [str(Path(sys.executable).with_name("medsafe"))]


def process(*words, cwd, limit=300):
    started = time.monotonic()
    done = subprocess.run(
        [*MEDSAFE, *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=limit, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr), time.monotonic() - started


def test_the_installed_command_answers_bad_input_with_one_line_and_code_2(tmp_path):
    said, _ = process("run", "--method", "salum", cwd=tmp_path)
    assert said == Said(2, "", "medsafe: unknown method 'salum': did you mean 'salun'?\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_installed_command_from_a_first_run_to_an_exported_model(tmp_path, tiny_npz):
    listed, _ = process("list", cwd=tmp_path)
    assert listed.code == 0
    for name in ("salun", "bloodmini", "pathmnist", "cnn-small", "medmnist", "random:0.1", "quick"):
        assert name in listed.out
    words = ("run", "--method", "salun", "--dataset", tiny_npz, "--blocks", 1, "--retrains", 1, "--threads", 1)
    first, first_seconds = process(*words, cwd=tmp_path)
    assert (first.code, first.err) == (0, "")
    assert "1 of 1 runs computed" in first.out
    second, seconds = process(*words, cwd=tmp_path)
    assert second.code == 0
    assert "1 already recorded" in second.out
    assert seconds < 15
    assert seconds < first_seconds
    csv = tmp_path / "results/local/leaderboards/unlearning.csv"
    before = csv.read_bytes()
    csv.unlink()
    assert process("leaderboard", cwd=tmp_path)[0].code == 0
    assert csv.read_bytes() == before
    assert "unlearned: 1," in process("cache", cwd=tmp_path)[0].out
    assert "up to date" in process("rescore", cwd=tmp_path)[0].out
    assert "1 records published" in process("publish", cwd=tmp_path)[0].out
    (record,) = records(tmp_path / "results/local")
    assert process("export", record["id"], cwd=tmp_path)[0].code == 0
    assert (tmp_path / "export" / "model.safetensors").is_file()
    assert "0 artifacts" in process("cache", "--clear", cwd=tmp_path)[0].out
