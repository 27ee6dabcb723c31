"""Which records make a row, which rows are ranked, and which are never put together (PROTOCOL 1.3, 1.4, 3.3, 4.1)."""

import random

import pandas as pd
import pytest

from benchmark.leaderboard.table import leaderboard
from tests.benchmark.leaderboard.factory import make_record, make_row


def standings(records):
    table = leaderboard(records)
    return {f"{row['method']} {row['preset']}": row["standing"] for _, row in table.iterrows()}


@pytest.mark.parametrize(
    ("dataset", "blocks", "standing"),
    [
        ("bloodmini", 10, "ranked"), ("bloodmini", 9, "exploratory"), ("bloodmini", 1, "exploratory"),
        ("pneumoniamnist", 5, "ranked"), ("pneumoniamnist", 4, "exploratory"), ("tiny-blood", 5, "ranked"),
    ],
)  # fmt: skip
def test_a_row_needs_ten_blocks_on_bloodmini_and_five_elsewhere_to_be_ranked(dataset, blocks, standing):
    (row,) = leaderboard(make_row("salun", blocks, data__name=dataset)).to_dict("records")
    assert (row["standing"], row["blocks"]) == (standing, blocks)
    assert pd.isna(row["rank"]) == (standing != "ranked")


def test_a_row_without_a_null_is_not_ranked():
    assert standings(make_row("salun", 10, retrains=1)) == {"salun published": "exploratory"}


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({"method__preset": "custom"}, "custom"),
        ({"original_sha256": "c" * 64}, "custom"),
        ({"data__non_member_share": 0.0}, "control"),
        ({"method__preset": "scaled"}, "ranked"),
    ],
)
def test_ones_own_values_and_controls_are_not_ranked(changes, standing):
    (row,) = leaderboard(make_row("salun", 10, **changes)).to_dict("records")
    assert row["standing"] == standing


@pytest.mark.parametrize("method", ["original", "retrain"])
def test_references_do_not_compete(method):
    assert standings(make_row(method, 10)) == {f"{method} published": "reference"}


@pytest.mark.parametrize("status", ["diverged", "error", "timeout", "skipped"])
def test_a_failed_block_is_counted_in_sight_and_neither_ranked_nor_averaged_away(status):
    records = make_row("salun", 10, error=0.1) + make_row("finetune", 10)
    records[3] = make_record("salun", 3, status=status, reason="weights are not finite")
    table = leaderboard(records).set_index("method")
    row = table.loc["salun"]
    assert (row["standing"], row["blocks"]) == ("incomplete", 9)
    assert sorted(row["statuses"].split()) == sorted(["ok:9", f"{status}:1"])
    assert row[["rank", "avg_gap", "ua", "ua_gap", "tow", "flops_share", "p_vs_finetune"]].isna().all()
    assert row["reasons"] == "weights are not finite"
    assert table.loc["finetune", "rank"] == 1


def test_a_row_of_failures_alone_is_a_row_all_the_same():
    (row,) = leaderboard([make_record("salun", b, status="error", reason="raised") for b in range(3)]).to_dict(
        "records"
    )
    assert (row["standing"], row["blocks"], row["statuses"]) == ("incomplete", 0, "error:3")


def test_ranked_rows_come_first_by_their_gap_and_the_rest_follows_without_a_place():
    records = [
        *make_row("salun", error=0.02),
        *make_row("finetune", error=0.3),
        *make_row("l1_sparse", error=0.1),
        *make_row("random_label", 3),
        *make_row("retrain"),
        *make_row("neggrad_plus", method__preset="custom"),
    ]
    table = leaderboard(records)
    assert table["method"].tolist()[:3] == ["salun", "l1_sparse", "finetune"]
    assert table["rank"].tolist()[:3] == [1, 2, 3]
    assert table["rank"][3:].isna().all()
    assert sorted(table["standing"][3:]) == ["custom", "exploratory", "reference"]


def test_rows_on_other_blocks_than_most_are_not_ranked_among_them():
    # blocks differ in difficulty: a gap over blocks 5 to 14 says nothing beside one over blocks 0 to 9
    records = make_row("finetune") + make_row("l1_sparse") + [make_record("salun", b) for b in range(5, 15)]
    found = standings(records)
    assert found == {"finetune published": "ranked", "l1_sparse published": "ranked", "salun published": "unpaired"}


DIFFERENCES = {
    "data": {"data__sha256": "b" * 64},
    "split": {"data__split_seed": 1},
    "share of non-members": {"data__non_member_share": 0.2},
    "groups": {"data__groups_sha256": "g" * 64},
    "architecture": {"architecture": "resnet18"},
    "recipe": {"recipe__epochs": 31},
    "augmentation": {"recipe__augmentation": "standard"},
    "precision": {"recipe__precision": "bf16"},
    "scenario": {"scenario": "random:0.5"},
    "Retrains": {"retrains": 3},
    "Original": {"original_sha256": "c" * 64},
    "protocol version": {"protocol_version": 2},
    "training version": {"training_version": 2},
}
OTHER_METHODS = {
    "method version": {"method__version": "2"},
    "plugin's source": {"method__version": "1+abc"},
    "preset": {"method__preset": "authors-code"},
    "hyper-parameters": {"method__hyperparameters": {"lr": 0.02}},
}


@pytest.mark.parametrize("changes", (DIFFERENCES | OTHER_METHODS).values(), ids=DIFFERENCES | OTHER_METHODS)
def test_records_that_differ_in_anything_but_the_block_never_share_a_row(changes):
    records = make_row("salun", 10) + [make_record("salun", b, **changes) for b in range(10, 15)]
    table = leaderboard(records)
    assert sorted(table["blocks"]) == [5, 10]


@pytest.mark.parametrize("changes", DIFFERENCES.values(), ids=DIFFERENCES)
def test_rows_of_different_settings_never_compete(changes):
    table = leaderboard(make_row("salun", 10) + make_row("finetune", 10, **changes))
    assert table["setting"].nunique() == 2
    assert set(table["rank"].dropna()) == {1}
    assert table["p_vs_finetune"].isna().all()


def test_metric_versions_are_never_mixed():
    old = make_row("salun", 10) + make_row("finetune", 10)
    new = make_row("salun", 10, error=0.1)
    for record in new:
        record["declarations"]["ua"]["version"] = 2
    table = leaderboard(old + new)
    assert sorted(table["blocks"]) == [10, 10, 10]
    assert table["setting"].nunique() == 2
    ranks = table[table["method"] == "salun"]["rank"].tolist()
    assert sorted(ranks) in ([1, 1], [1, 2])


def test_methods_of_different_versions_and_presets_compete_as_rows_of_their_own():
    records = make_row("salun", error=0.1) + make_row("salun", error=0.2, method__version="2")
    table = leaderboard(records + make_row("salun", error=0.3, method__preset="authors-code"))
    assert table["rank"].tolist() == [1, 2, 3]
    assert len(set(table["setting"])) == 1


def test_the_family_of_tests_spans_the_architectures_of_a_data_set_and_scenario():
    # one predeclared family per data set x scenario: a second net doubles the number of tests in it
    small = make_row("finetune", error=0.1) + make_row("salun", error=0.12)
    large = [
        *make_row("finetune", error=0.1, architecture="resnet18"),
        *make_row("salun", error=0.12, architecture="resnet18"),
    ]
    alone = leaderboard(small)["p_vs_finetune"].dropna().tolist()
    together = leaderboard(small + large)["p_vs_finetune"].dropna().tolist()
    assert len(alone) == 1
    assert together == pytest.approx([min(1.0, 2 * alone[0])] * 2)


def test_the_order_of_the_records_does_not_matter():
    records = make_row("salun") + make_row("finetune", error=0.1) + make_row("retrain", 3, scenario="class:6")
    shuffled = random.Random(0).sample(records, len(records))
    assert leaderboard(shuffled).to_csv() == leaderboard(records).to_csv()


def test_records_of_another_track_are_no_rows_here():
    assert leaderboard([make_record("salun", 0, track="backdoor")]).empty
