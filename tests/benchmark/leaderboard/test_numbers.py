"""What stands in a row, recomputed from its records with plain loops (PROTOCOL 3.1 to 3.3)."""

import itertools
import math
import statistics

import pytest
from scipy import stats

from benchmark.leaderboard.table import leaderboard
from metrics import nearness
from tests.benchmark.leaderboard.factory import DECLARED, make_record, make_row

HEADLINE = ("ua", "ra", "ta", "mia_svc")
RETRAINS = 3
T_95_OF_10, T_90_OF_10 = 2.262157162798205, 1.8331129326562374
"""Student's t for 9 degrees of freedom, from a printed table."""


@pytest.fixture(scope="module")
def records():
    return make_row("salun", 10, error=0.1, retrains=RETRAINS)


@pytest.fixture(scope="module")
def row(records):
    return leaderboard(records).iloc[0]


def mean(values):
    return math.fsum(values) / len(values)


def half_width(values, quantile=T_95_OF_10):
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def gap(record, k, metric):
    return abs(record["metrics"][metric] - record["references"]["retrain"][k][metric])


def null(record, k, other, metric):
    first, second = record["references"]["retrain"][k], record["references"]["retrain"][other]
    return abs(first[metric] - second[metric])


PAIRS = list(itertools.combinations(range(RETRAINS), 2))


@pytest.mark.parametrize("metric", HEADLINE)
def test_a_headline_metric_has_mean_interval_target_gap_and_null(records, row, metric):
    values = [record["metrics"][metric] for record in records]
    assert row[metric] == pytest.approx(mean(values))
    assert row[f"{metric}_low"] == pytest.approx(mean(values) - half_width(values))
    assert row[f"{metric}_high"] == pytest.approx(mean(values) + half_width(values))
    targets = [scores[metric] for record in records for scores in record["references"]["retrain"]]
    assert row[f"retrain_{metric}"] == pytest.approx(mean(targets))
    assert row[f"original_{metric}"] == pytest.approx(
        mean([record["references"]["original"][metric] for record in records])
    )
    gaps = [gap(record, k, metric) for record in records for k in range(RETRAINS)]
    assert row[f"{metric}_gap"] == pytest.approx(mean(gaps))
    nulls = [null(record, *pair, metric) for record in records for pair in PAIRS]
    assert row[f"{metric}_null"] == pytest.approx(mean(nulls))
    assert row[f"{metric}_gap_of_means"] == pytest.approx(abs(mean(values) - mean(targets)))


@pytest.mark.parametrize("metric", HEADLINE)
def test_the_signed_difference_to_retrain_has_an_interval_over_blocks(records, row, metric):
    differences = [
        record["metrics"][metric] - mean([scores[metric] for scores in record["references"]["retrain"]])
        for record in records
    ]
    assert row[f"{metric}_difference"] == pytest.approx(mean(differences))
    assert row[f"{metric}_difference_low"] == pytest.approx(mean(differences) - half_width(differences))
    assert row[f"{metric}_difference_high"] == pytest.approx(mean(differences) + half_width(differences))


def average_gaps(records, metrics=HEADLINE):
    """Avg. Gap of every block: over metrics for each Retrain first, then over Retrains."""
    return [mean([mean([gap(record, k, metric) for metric in metrics]) for k in range(RETRAINS)]) for record in records]


def test_avg_gap_is_the_mean_over_blocks_with_an_interval_and_a_null(records, row):
    blocks = average_gaps(records)
    assert row["avg_gap"] == pytest.approx(mean(blocks))
    assert row["avg_gap_low"] == pytest.approx(mean(blocks) - half_width(blocks))
    assert row["avg_gap_high"] == pytest.approx(mean(blocks) + half_width(blocks))
    nulls = [mean([null(record, *pair, metric) for metric in HEADLINE]) for record in records for pair in PAIRS]
    assert row["avg_gap_null"] == pytest.approx(mean(nulls))
    assert row["avg_gap_of_means"] == pytest.approx(mean([row[f"{metric}_gap_of_means"] for metric in HEADLINE]))
    assert row["avg_gap_metrics"] == "ua ra ta mia_svc"


def test_tug_of_war_is_a_product_for_each_retrain_before_it_is_averaged(records, row):
    own = [
        math.prod(1 - gap(record, k, metric) for metric in ("ua", "ra", "ta"))
        for record in records for k in range(RETRAINS)
    ]  # fmt: skip
    between = [
        math.prod(1 - null(record, *pair, metric) for metric in ("ua", "ra", "ta"))
        for record in records for pair in PAIRS
    ]  # fmt: skip
    assert row["tow"] == pytest.approx(mean(own))
    assert row["tow_null"] == pytest.approx(mean(between))


@pytest.mark.parametrize(
    "metric", sorted(DECLARED.keys() - {*HEADLINE, *(entry.name for entry in nearness.DISTANCES), "sensitivity"})
)
def test_every_other_metric_stands_beside_its_target_and_its_start(records, row, metric):
    for column, of in (
        (metric, [record["metrics"] for record in records]),
        (f"retrain_{metric}", [scores for record in records for scores in record["references"]["retrain"]]),
        (f"original_{metric}", [record["references"]["original"] for record in records]),
    ):
        values = [scores[metric] for scores in of]
        if None in values:
            assert row[column] is None or math.isnan(row[column])
        else:
            assert row[column] == pytest.approx(mean(values))


def exact(differences):
    """A row whose signed difference in `ua` is the given one in each block; Retrains agree with each other."""
    records = []
    for block, difference in enumerate(differences):
        record = make_record("salun", block)
        for scores in record["references"]["retrain"]:
            scores["ua"] = 0.5
        record["metrics"]["ua"] = 0.5 + difference
        records.append(record)
    return leaderboard(records).iloc[0]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.0] * 10, "matches"),
        ([0.01, -0.01] * 5, "matches"),
        ([0.015] * 10, "matches"),  # certain, but smaller than the margin of 2 points
        ([0.021] * 10, "differs"),
        ([-0.05, -0.04] * 5, "differs"),
        ([0.3, -0.3] * 5, "undetermined"),
        ([0.025, 0.013] * 5, "differs"),  # the upper end of the 90 % interval lies above the margin
        ([0.0], "undetermined"),
    ],
)
def test_the_verdict_follows_from_two_intervals_of_the_signed_difference(differences, verdict):
    row = exact(differences)
    if len(differences) == 10:
        centre, narrow, wide = mean(differences), half_width(differences, T_90_OF_10), half_width(differences)
        certain = "differs" if abs(centre) > wide else "undetermined"
        expected = "matches" if abs(centre) + narrow <= 0.02 else certain
    else:
        expected = "undetermined"
    assert row["ua_verdict"] == verdict == expected


def test_the_gap_of_a_further_retrain_is_the_null():
    # what the suite's noise floor means: a method that is one more Retrain gets it, on average, as its gap
    records = make_row("retrain", 400, retrains=RETRAINS)
    row = leaderboard(records).iloc[0]
    assert row["avg_gap"] == pytest.approx(row["avg_gap_null"], rel=0.03)
    assert row["tow"] == pytest.approx(row["tow_null"], rel=0.01)


def literal_holm(p_values):
    """Holm's step-down, as a table is filled in by hand."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def test_the_family_is_tested_against_finetune_on_the_same_blocks_and_adjusted_by_holm():
    family = {
        "finetune": make_row("finetune", retrains=RETRAINS, error=0.1),
        "salun": make_row("salun", retrains=RETRAINS, error=0.05),
        "random_label": make_row("random_label", retrains=RETRAINS, error=0.12),
        "l1_sparse": make_row("l1_sparse", retrains=RETRAINS, error=0.2),
    }
    outside = [
        *make_row("retrain", retrains=RETRAINS),
        *make_row("original", retrains=RETRAINS),
        *make_row("salun", retrains=RETRAINS, method__preset="custom"),
        *make_row("neggrad_plus", 9, retrains=RETRAINS),  # other blocks
        *make_row("salun", retrains=RETRAINS, scenario="random:0.5"),  # another family, without finetune
    ]
    table = leaderboard([record for row in family.values() for record in row] + outside)
    base = average_gaps(family["finetune"])
    tested = ["salun", "random_label", "l1_sparse"]
    raw = [float(stats.ttest_rel(average_gaps(family[method]), base).pvalue) for method in tested]
    expected = dict(zip(tested, literal_holm(raw), strict=True))
    found = table[(table["scenario"] == "random:0.1") & (table["preset"] == "published")].set_index("method")
    for method, p_value in expected.items():
        assert found.loc[method, "p_vs_finetune"] == pytest.approx(p_value), method
    assert found.loc[["finetune", "retrain", "original", "neggrad_plus"], "p_vs_finetune"].isna().all()
    assert table[(table["preset"] == "custom") | (table["scenario"] == "random:0.5")]["p_vs_finetune"].isna().all()


def test_what_the_sample_cannot_resolve_is_an_empty_cell_with_its_reason(row):
    assert math.isnan(row["mia_loss_tpr_1"]) if row["mia_loss_tpr_1"] is not None else True
    assert "mia_loss_tpr_1: 24 members, 24 non-members; 1.00% FPR needs 1 and 1000" in row["unresolved"]


def test_avg_gap_leaves_out_a_headline_metric_that_is_not_resolved_and_says_so():
    records = make_row("salun", 10, retrains=RETRAINS)
    for record in records:
        for scores in (record["metrics"], record["references"]["original"], *record["references"]["retrain"]):
            scores["mia_svc"] = None
        record["unresolved"]["mia_svc"] = "10 non-members; 5 folds need 40"
    row = leaderboard(records).iloc[0]
    assert row["avg_gap_metrics"] == "ua ra ta"
    assert row["avg_gap"] == pytest.approx(mean(average_gaps(records, ("ua", "ra", "ta"))))
    assert not row["mia_svc_verdict"] or math.isnan(row["mia_svc_verdict"])


def test_with_a_single_retrain_there_is_a_gap_but_no_null():
    row = leaderboard(make_row("salun", 10, retrains=1)).iloc[0]
    assert row["avg_gap"] > 0
    assert math.isnan(row["avg_gap_null"] or math.nan)
    assert math.isnan(row["ua_null"] or math.nan)
    assert math.isnan(row["tow_null"] or math.nan)


def test_with_a_single_block_there_is_a_value_but_no_interval():
    row = leaderboard(make_row("salun", 1)).iloc[0]
    assert row["ua"] == make_record("salun", 0)["metrics"]["ua"]
    assert math.isnan(row["ua_low"] or math.nan)
    assert math.isnan(row["avg_gap_high"] or math.nan)


def test_cost_and_sensitivity_are_means_over_blocks():
    records = make_row("salun", 4)
    for block, record in enumerate(records):
        record["cost"] |= {"flops_share": 0.1 * block, "seconds": float(block)}
        record["metrics"]["sensitivity"] = [0.2 * block, None, 1.0]
    row = leaderboard(records).iloc[0]
    assert row["flops_share"] == pytest.approx(0.15)
    assert row["seconds"] == pytest.approx(1.5)
    assert row["sensitivity"] == "0.3000 nan 1.0000"


def test_a_cost_that_one_block_does_not_know_is_an_empty_cell():
    records = make_row("salun", 3)
    records[1]["cost"]["flops_share"] = None
    row = leaderboard(records).iloc[0]
    assert math.isnan(row["flops_share"] or math.nan)
    assert row["flops"] == 1e9
