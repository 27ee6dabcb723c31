"""U-LiRA from the runs of audits on disjoint forget sets: one row for each method, with Retrain as its null."""

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark.audits.ulira import u_lira_table
from benchmark.cli import app
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.tracks.stored import predictions_of
from metrics.intervals import t_interval
from metrics.lira import u_lira
from metrics.membership import attack_auc, log_odds
from tests.benchmark.leaderboard.factory import make_record

PARTS, TARGETS = 2, 6


@pytest.fixture
def runs(bench, tmp_path):
    """All parts of six targets under one method, and their records' store."""
    store = RecordStore(tmp_path / "results")
    for part in range(PARTS):
        for record in bench("finetune", scenario=f"part:{part}/{PARTS}", blocks=str(TARGETS), retrains=1, shadows=4):
            store.write(record)
    return store


def test_a_method_is_judged_from_all_of_its_runs(runs, cache):
    (row,) = u_lira_table(runs, ArtifactStore(cache)).to_dict("records")
    assert (row["method"], row["parts"], row["targets"], row["runs"]) == ("finetune", 2, 6, 12)
    # An image is forgotten once for each of three targets that had it, and unseen twice for each of the others.
    assert row["pairs"] == 400 * (3 + 3 * PARTS)
    assert "1.00% FPR needs" in row["unresolved"]  # 200 unseen images


def test_the_auc_is_that_of_u_lira_on_the_stored_predictions(runs, cache):
    records = sorted(runs, key=lambda record: (record["spec"]["block"], record["spec"]["scenario"]))
    stored = [predictions_of(ArtifactStore(cache).find(record["artifacts"]["model"])) for record in records]
    values = np.stack([log_odds(each["logits"], each["labels"]) for each in stored], axis=1)
    forgotten, unseen = (
        np.stack([np.isin(np.arange(len(values)), each[name]) for each in stored], axis=1)
        for name in ("rows.forget", "rows.non_members")
    )
    targets = np.repeat(range(TARGETS), PARTS)
    judged = u_lira(values, forgotten, unseen, targets // 2)
    areas = [
        attack_auc(judged.scores[own & judged.is_member], judged.scores[own & ~judged.is_member])
        for own in (targets[judged.runs] == target for target in range(TARGETS))
    ]
    (row,) = u_lira_table(runs, ArtifactStore(cache)).to_dict("records")
    assert row["auc"] == pytest.approx(np.mean(areas))


class Predictions:
    """A store of runs on eight targets in complementary pairs, whose log-odds say nothing of who was forgotten."""

    def __init__(self, images, seed=0):
        self.generator, self.unseen = np.random.default_rng(seed), {}
        for target in range(0, 8, 2):
            order = self.generator.permutation(images)
            self.unseen |= {target: order[images // 2 :], target + 1: order[: images // 2]}
        self.usual = self.generator.normal(2, 2, images)
        self.records = [
            make_record("finetune", target, track="audit", scenario=f"part:{part}/{PARTS}", shadows=4,
                        artifacts={"model": (target, part)})
            for target in range(8) for part in range(PARTS)
        ]  # fmt: skip

    def has(self, name):
        return True

    def find(self, name):
        return name

    def predictions(self, name):
        target, part = name
        values = self.usual + self.generator.normal(size=len(self.usual))
        return {
            "labels": np.zeros(len(values), int), "logits": np.stack([values, np.zeros(len(values))], axis=1),
            "rows.forget": np.array_split(self.unseen[target ^ 1], PARTS)[part],
            "rows.non_members": self.unseen[target],
            "rows.retain": np.arange(0), "rows.test": np.arange(0), "rows.test_deduplicated": np.arange(0),
            "rows.test_forgotten_class": np.arange(0), "forgotten_class": np.arange(0),
        }  # fmt: skip


def row_of(store, monkeypatch):
    monkeypatch.setattr("benchmark.audits.ulira.predictions_of", store.predictions)
    (row,) = u_lira_table(store.records, store).to_dict("records")
    return row


def test_on_exchangeable_predictions_the_auc_is_a_half_within_its_interval(monkeypatch):
    areas = [row_of(Predictions(400, seed), monkeypatch)["auc"] for seed in range(12)]
    low, high = t_interval(areas, 0.99)
    assert low <= 0.5 <= high
    assert high - low < 0.02


def test_unseen_images_are_counted_once_where_a_rate_is_resolved(monkeypatch):
    few, enough = (row_of(Predictions(images), monkeypatch) for images in (1200, 2000))
    assert np.isnan(few["tpr_1"])  # 600 images, which two runs make 1,200 pairs
    assert "600 non-members" in few["unresolved"]
    assert enough["tpr_1"] == pytest.approx(0.01, abs=0.01)
    assert enough["unresolved"] == ""


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
