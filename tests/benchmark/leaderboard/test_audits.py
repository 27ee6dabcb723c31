"""`audits.csv`: what strong attacks find, row by row, beside the ordinary metrics' Avg. Gap."""

import numpy as np
import pandas as pd
import pytest

from benchmark.leaderboard.audits import audit_columns, audits
from benchmark.leaderboard.table import Leaderboards, documentation, write_leaderboard
from metrics.intervals import t_interval
from tests.benchmark.leaderboard.factory import make_audit, make_record


@pytest.fixture
def records():
    return [
        *(make_audit("finetune", block, (0.7, 0.9 + block / 100, [0.5, 0.52])) for block in range(3)),
        *(make_audit("salun", block, (0.55, 0.9 + block / 100, [0.5, 0.52])) for block in range(3)),
        make_record("salun"),
    ]


def test_a_row_has_the_audit_beside_avg_gap(records):
    table = audits(records).set_index("method")
    assert list(table.index) == ["salun", "finetune"]  # nearest to Retrain first
    assert table.loc["finetune", "lira_auc"] == pytest.approx(0.7)
    assert table.loc["finetune", "original_lira_auc"] == pytest.approx(0.91)
    assert table.loc["finetune", "lira_auc_null"] == pytest.approx(0.02)
    assert table.loc["finetune", "lira_auc_verdict"] == "differs"
    assert table.loc["finetune", "shadows"] == 16
    assert table["avg_gap"].notna().all()


def test_what_u_lira_is_made_of_has_no_row(records):
    part = make_audit("salun", 0, (0.5, 0.9, [0.5, 0.5]), scenario="part:0/10")
    pd.testing.assert_frame_equal(audits([*records, part]), audits(records))


def test_removed_is_a_ratio_of_means_over_targets_with_an_interval(records):
    row = audits(records).set_index("method").loc["finetune"]
    assert row["lira_removed"] == pytest.approx((0.91 - 0.7) / (0.91 - 0.51))
    assert row["lira_removed_low"] < row["lira_removed"] < row["lira_removed_high"]


def test_the_interval_of_removed_is_about_the_jackknifes():
    rng = np.random.default_rng(0)
    before, own = rng.normal(0.8, 0.02, 40), rng.normal(0.65, 0.02, 40)
    records = [make_audit("salun", block, (own[block], before[block], [0.5, 0.51])) for block in range(40)]
    row = audits(records).iloc[0]
    means = [np.mean(np.delete([own, before], block, axis=1), axis=1) - 0.505 for block in range(40)]
    left_out = [1 - left / removable for left, removable in means]
    low, high = t_interval(40 * row["lira_removed"] - 39 * np.array(left_out))
    assert row["lira_removed_high"] - row["lira_removed_low"] == pytest.approx(high - low, rel=0.02)


def test_a_distance_to_retrain_has_an_interval_and_its_null_beside_it(records):
    row = audits(records).set_index("method").loc["finetune"]
    assert row["kl_forget"] == row["kl_forget_low"] == row["kl_forget_high"] == pytest.approx(0.7)
    assert row["kl_forget_null"] == pytest.approx(0.51)
    assert row["original_kl_forget"] == pytest.approx(0.91)
    assert "kl_forget_gap" not in row  # it is one
    assert "zrf_forget_gap" not in row  # two points of it mean nothing
    assert row["retrain_zrf_forget"] == pytest.approx(0.51)
    assert row["probe_forget_gap"] == pytest.approx(0.19)
    assert row["cka_test_null"] == pytest.approx(0.51)


def test_relearn_time_is_a_ratio_to_retrains_and_says_how_many_never_got_there():
    steps = [(10, 0, [40, 20]), (200, 0, [30, 200])]
    records = [make_audit("salun", block, (0.5, 0.9, [0.5, 0.5])) for block in range(2)]
    for record, (own, before, retrains) in zip(records, steps, strict=True):
        models = record["metrics"], record["references"]["original"], *record["references"]["retrain"]
        for scores, value in zip(models, (own, before, *retrains), strict=True):
            scores["relearn_steps"] = float(value)
    row = audits(records).iloc[0]
    assert (row["relearn_steps"], row["retrain_relearn_steps"]) == (105, 72.5)
    assert row["relearn_ratio"] == pytest.approx(105 / 72.5)
    assert row["relearn_steps_null"] == (20 + 170) / 2
    assert row["relearn_steps_capped"] == 2


def test_a_target_without_exposure_does_not_rule_the_share():
    exposed, hidden = (
        make_audit("salun", block, (0.6, before, [0.5, 0.52])) for block, before in enumerate((0.9, 0.511))
    )
    assert audits([exposed, hidden])["lira_removed"].iloc[0] == pytest.approx((0.7055 - 0.6) / (0.7055 - 0.51))


@pytest.mark.parametrize("retrains", [[0.5], [0.5, 0.5]])
def test_the_share_is_empty_where_it_is_not_resolved(retrains):
    hidden = [make_audit("salun", block, (0.3, 0.5 + 0.4 * (len(retrains) < 2), retrains)) for block in range(2)]
    assert pd.isna(audits(hidden)["lira_removed"].iloc[0])


def test_other_numbers_of_shadows_never_share_a_row(records):
    others = [make_audit("salun", 0, (0.5, 0.9, [0.5]))]
    others[0]["spec"]["shadows"] = 32
    assert sorted(audits([*records, *others]).query("method == 'salun'")["shadows"]) == [16, 32]


def test_audits_are_no_rows_of_the_unlearning_leaderboard(records):
    assert len(Leaderboards(records).unlearning) == 1
    assert len(Leaderboards(records[:-1]).unlearning) == 0


def test_the_file_is_there_where_there_are_audits_and_documented(records, tmp_path):
    written = write_leaderboard(tmp_path, Leaderboards(records))
    assert [path.name for path in written] == ["unlearning.csv", "audits.csv"]
    assert pd.read_csv(written[1]).columns.tolist() == [column.name for column in audit_columns()]
    assert "# Columns of `audits.csv`" in documentation()
    assert [path.name for path in write_leaderboard(tmp_path, Leaderboards([]))] == ["unlearning.csv"]
