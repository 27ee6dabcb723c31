"""New metrics for old runs."""

import copy
from dataclasses import replace

import pandas as pd
import pytest

from benchmark.store.artifacts import ArtifactStore
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
    monkeypatch.setattr("benchmark.plan.load_dataset", lambda *_: pytest.fail("loaded the data"))
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
    assert "its predictions are not in this cache: run it again" in said.out
    assert records() == before


def test_rescoring_does_not_part_a_failed_block_from_its_row(run, medsafe, plugin, other_ua):
    # else the blocks that went well would look like a complete row (PROTOCOL 1.4)
    run("mine", "--plugin", plugin(NAN_IN_THE_SECOND_CALL), "--blocks", 2, "--in-process")
    assert sorted(record["status"] for record in records()) == ["diverged", "ok"]
    other_ua()
    assert medsafe("rescore").code == 0
    table = pd.read_csv("results/local/leaderboards/unlearning.csv")
    assert table[["standing", "statuses"]].to_numpy().tolist() == [["incomplete", "diverged:1 ok:1"]]
