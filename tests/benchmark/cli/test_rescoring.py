"""New metrics for old runs."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax
from sklearn.metrics import roc_curve

from benchmark.store.artifacts import ArtifactStore
from benchmark.tracks.stored import predictions_of
from metrics import unlearning as scores_of_unlearning
from metrics.unlearning import METRICS, SCORES
from tests.benchmark.cli.said import NAN_IN_THE_SECOND_CALL
from tests.helpers import records


@pytest.fixture
def other_ua(monkeypatch):
    """Brings in a new version of one metric, with values of its own."""

    def change():
        entries = [replace(entry, compute=lambda model: 0.125) if entry.name == "ua" else entry for entry in SCORES]
        monkeypatch.setattr(scores_of_unlearning, "SCORES", tuple(entries))
        monkeypatch.setitem(METRICS, "ua", replace(METRICS["ua"], version=7))

    return change


def test_a_changed_metric_is_computed_anew_from_stored_predictions_without_training(
    run, medsafe, monkeypatch, tiny_npz, other_ua
):
    run("finetune")
    (before,) = records()
    other_ua()
    monkeypatch.setattr("benchmark.tracks.models.train", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr("benchmark.workbenches.load_dataset", lambda *_: pytest.fail("loaded the data"))
    said = medsafe("rescore")
    assert said.code == 0, said.err
    assert said.out.count("): rescored") == 1
    (after,) = records()
    scores = [after["metrics"], after["references"]["original"], *after["references"]["retrain"]]
    assert [score["ua"] for score in scores] == [0.125] * 3
    assert after["declarations"]["ua"]["version"] == 7
    expected = copy.deepcopy(before)
    expected["declarations"]["ua"]["version"] = 7
    for score in (expected["metrics"], expected["references"]["original"], *expected["references"]["retrain"]):
        score["ua"] = 0.125
    assert after == expected
    assert pd.read_csv("results/local/leaderboards/unlearning.csv")["ua"].tolist() == [0.125]
    assert "up to date" in medsafe("rescore").out


def test_rescoring_leaves_records_alone_whose_predictions_are_gone(run, medsafe, cache, other_ua):
    run("finetune")
    before = records()
    ArtifactStore(cache).clear()
    other_ua()
    said = medsafe("rescore")
    assert said.code == 0
    assert "not all of its models are in this cache: run it again" in said.out
    assert records() == before


def test_rescoring_does_not_part_a_failed_block_from_its_row(run, medsafe, plugin, other_ua):
    # else the blocks that went well would look like a complete row (PROTOCOL 1.4)
    run("mine", "--plugin", plugin(NAN_IN_THE_SECOND_CALL), "--blocks", 2, "--in-process")
    assert sorted(record["status"] for record in records()) == ["diverged", "ok"]
    other_ua()
    assert medsafe("rescore").code == 0
    table = pd.read_csv("results/local/leaderboards/unlearning.csv")
    assert table[["standing", "statuses"]].to_numpy().tolist() == [["incomplete", "diverged:1 ok:1"]]


def test_a_row_of_which_a_block_is_not_in_the_cache_stays_as_it_is(run, medsafe, plugin, cache, other_ua):
    run("mine", "--plugin", plugin(NAN_IN_THE_SECOND_CALL), "--blocks", 3, "--in-process")
    before = records()
    assert sorted(record["status"] for record in before) == ["diverged", "ok", "ok"]
    lost = next(record for record in before if record["status"] == "ok")
    shutil.rmtree(cache / lost["artifacts"]["model"])
    other_ua()
    said = medsafe("rescore").out
    assert said.count("not all of its models are in this cache: run it again") == 1
    assert said.count("left as it is: another block of its row is not in this cache") == 2
    assert records() == before


@pytest.fixture
def old_record(run):
    """One run whose record was written before there were curves; what it would look like today."""
    run("finetune")
    (path,) = Path("results/local").rglob("*.json")
    today = json.loads(path.read_text())
    path.write_text(json.dumps({name: part for name, part in today.items() if name != "curves"}))
    return today


def test_an_old_record_gets_its_curves_and_nothing_else_changes(medsafe, monkeypatch, old_record):
    monkeypatch.setattr("benchmark.tracks.unlearning.score_unlearning", lambda *_, **__: pytest.fail("scored"))
    assert medsafe("rescore").out.count("): curves added") == 1
    assert records() == [old_record]
    assert "up to date" in medsafe("rescore").out


def test_a_run_without_curves_is_not_computed_again(run, old_record):
    assert "0 of 1 runs computed, 1 already recorded" in run("finetune").out
    assert "curves" not in records()[0]


def test_a_record_whose_predictions_are_gone_stays_without_curves(medsafe, cache, old_record):
    ArtifactStore(cache).clear()
    assert "up to date, but for curves: its predictions are not in this cache" in medsafe("rescore").out
    assert records() == [{name: part for name, part in old_record.items() if name != "curves"}]


def test_curves_are_those_of_the_stored_predictions_as_scikit_learn_draws_them(run, cache):
    run("finetune", "--retrains", 2)
    (record,) = records()
    store, names, kept = ArtifactStore(cache), record["artifacts"], record["curves"]["roc"]
    stored = predictions_of(store.find(names["model"]))
    rows = np.concatenate([stored["rows.forget"], stored["rows.non_members"]])
    is_member = np.arange(len(rows)) < len(stored["rows.forget"])
    assert kept["fpr"][0] == 10 / record["sizes"]["non_members"]
    for name, tpr in zip(
        ("model", "original", "retrain 0", "retrain 1"),
        (kept["model"], kept["original"], *kept["retrain"]),
        strict=True,
    ):
        logits = predictions_of(store.find(names[name]))["logits"].astype(np.float64)
        losses = -log_softmax(logits[rows], axis=1)[np.arange(len(rows)), stored["labels"][rows]]
        false, true, _ = roc_curve(is_member, -losses, drop_intermediate=False)
        assert tpr == pytest.approx([true[false <= rate + 1e-6].max() for rate in kept["fpr"]], abs=1e-6)


def test_too_few_non_members_have_no_curves_and_are_not_asked_again(run, medsafe):
    run("finetune", "--non-members", 0.02)
    assert [record["curves"] for record in records()] == [{}]
    assert "up to date" in medsafe("rescore").out.splitlines()[0]
