"""U-LiRA from the runs of audits on disjoint forget sets: one row for each method, with Retrain as its null."""

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark.audits.ulira import u_lira_table
from benchmark.cli import app
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.tracks.stored import predictions_of
from metrics.lira import u_lira
from metrics.membership import attack_auc, log_odds

PARTS, TARGETS = 2, 4


@pytest.fixture
def runs(bench, tmp_path):
    """All parts of four targets under one method, and their records' store."""
    store = RecordStore(tmp_path / "results")
    for part in range(PARTS):
        for record in bench("finetune", scenario=f"part:{part}/{PARTS}", blocks=str(TARGETS), retrains=1, shadows=4):
            store.write(record)
    return store


def test_a_method_is_judged_from_all_of_its_runs(runs, cache):
    (row,) = u_lira_table(runs, ArtifactStore(cache)).to_dict("records")
    assert (row["method"], row["parts"], row["targets"], row["runs"]) == ("finetune", 2, 4, 8)
    # An image is forgotten once for each of the two targets that had it, and unseen twice for each of the other two.
    assert row["pairs"] == 400 * (2 + 2 * PARTS)
    assert row["auc_low"] <= row["auc"] <= row["auc_high"]
    assert "1.00% FPR needs" in row["unresolved"]  # 200 unseen images and two parts make 400 a target


def test_the_auc_is_that_of_u_lira_on_the_stored_predictions(runs, cache):
    records = sorted(runs, key=lambda record: (record["spec"]["block"], record["spec"]["scenario"]))
    stored = [predictions_of(ArtifactStore(cache).find(record["artifacts"]["model"])) for record in records]
    values = np.stack([log_odds(each["logits"], each["labels"]) for each in stored], axis=1)
    forgotten, unseen = (
        np.stack([np.isin(np.arange(len(values)), each[name]) for each in stored], axis=1)
        for name in ("rows.forget", "rows.non_members")
    )
    targets = np.repeat(range(TARGETS), PARTS)
    judged = u_lira(values, forgotten, unseen, targets)
    areas = [
        attack_auc(judged.scores[own & judged.is_member], judged.scores[own & ~judged.is_member])
        for own in (targets[judged.runs] == target for target in range(TARGETS))
    ]
    (row,) = u_lira_table(runs, ArtifactStore(cache)).to_dict("records")
    assert row["auc"] == pytest.approx(np.mean(areas))


def test_a_target_without_all_of_its_parts_is_left_out_and_said_so(runs, cache):
    broken = [record | {"status": "error"} if number == 0 else record for number, record in enumerate(runs)]
    (row,) = u_lira_table(broken, ArtifactStore(cache)).to_dict("records")
    assert row["targets"] == TARGETS - 1
    assert "1 targets left out" in row["unresolved"]


def test_the_command_writes_a_csv(runs, tmp_path):
    result = CliRunner().invoke(app, ["u-lira", "--results", str(tmp_path / "results")])
    assert result.exit_code == 0, result.output
    assert "finetune (published): AUC" in result.output
    assert (tmp_path / "results" / "audits" / "u_lira.csv").is_file()


def test_without_runs_the_command_says_what_makes_them(tmp_path):
    result = CliRunner().invoke(app, ["u-lira", "--results", str(tmp_path / "results")])
    assert result.exit_code != 0
    assert "suites/u-lira.toml" in str(result.exception)
