"""What stands in a backdoor row, recomputed from its records with plain loops (PROTOCOL 3.2, 7.3)."""

import math
import statistics

import numpy as np
import pytest

from benchmark.leaderboard.backdoor.table import leaderboard, long_leaderboard
from tests.benchmark.leaderboard.backdoor_factory import CLEAN, ORACLE, make_run, make_runs, shifted

T_95_OF_10 = 2.262157162798205
"""Student's t for 9 degrees of freedom, from a printed table."""
CORE = ("badnets", "blended")
ATTACKS = (*CORE, "wanet")


@pytest.fixture(scope="module")
def records():
    """The core attacks, one nearly cured and one not, each block another; and a third attack in fewer blocks."""
    rng = np.random.default_rng(0)
    return [
        make_run(
            "sau", attack, block,
            rates=shifted(*rng.normal((-0.01, distance, -0.02), 0.02)),
        )
        for attack, distance in zip(ATTACKS, (0.03, 0.4, 0.04), strict=True) for block in range(10)
    ] + make_runs("sau", "clean", rates={**CLEAN, "acc": 0.92})  # fmt: skip


def of(records, attack, name):
    return [record["metrics"][name] for record in records if record["spec"]["attack"]["name"] == attack]


def half_width(values):
    return T_95_OF_10 * statistics.stdev(values) / math.sqrt(len(values))


@pytest.mark.parametrize("name", ["acc_gap", "asr_gap", "recovery_gap"])
def test_a_gap_is_a_mean_over_core_attacks_within_a_block_with_an_interval_over_blocks(records, name):
    (row,) = leaderboard(records).to_dict("records")
    blocks = [statistics.fmean(values) for values in zip(*(of(records, a, name) for a in CORE), strict=True)]
    assert row[name] == pytest.approx(statistics.fmean(blocks))
    assert row[f"{name}_low"] == pytest.approx(statistics.fmean(blocks) - half_width(blocks))
    assert row[f"{name}_high"] == pytest.approx(statistics.fmean(blocks) + half_width(blocks))


def test_the_residual_counts_only_what_is_worse_than_the_oracle(records):
    shortfalls = [
        max(0, scores["asr_gap"]) + max(0, -scores["acc_gap"]) + max(0, -scores["recovery_gap"])
        for scores in (record["metrics"] for record in records if record["spec"]["attack"]["name"] in CORE)
    ]
    (row,) = leaderboard(records).to_dict("records")
    assert row["residual"] == pytest.approx(statistics.fmean(shortfalls) / 3)


def test_der_cost_and_the_control_stand_beside(records):
    (row,) = leaderboard(records).to_dict("records")
    assert row["der"] == pytest.approx(statistics.fmean(v for a in CORE for v in of(records, a, "der")))
    assert row["control_acc_gap"] == pytest.approx(0.92 - 0.95)
    assert (row["flops_share"], row["seconds"], row["device"]) == (0.25, 2.0, "cpu-1")
    assert (row["attacks_run"], row["attacks_passed"]) == (3, 3)
    assert "clean_asr" not in row


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_long_table_holds_each_attacks_own_numbers(records, attack):
    table = long_leaderboard(records).set_index("attack")
    (wide,) = leaderboard(records).to_dict("records")
    row = table.loc[attack]
    for name in ("acc", "asr", "recovery", "acc_gap", "asr_gap", "recovery_gap"):
        values = of(records, attack, name)
        assert row[name] == pytest.approx(statistics.fmean(values))
        assert row[f"{name}_high"] - row[name] == pytest.approx(half_width(values))
    for name in ("acc", "asr", "recovery"):
        assert wide[f"{attack}_{name}"] == pytest.approx(row[name])
        assert row[f"oracle_{name}"] == pytest.approx(ORACLE[name])
        assert row[f"clean_{name}"] == pytest.approx(CLEAN[name])
    cured = sum(
        scores["asr"] <= ORACLE["asr"] + 0.05
        and scores["acc"] >= ORACLE["acc"] - 0.05
        and scores["recovery"] >= ORACLE["recovery"] - 0.05
        for scores in (r["metrics"] for r in records if r["spec"]["attack"]["name"] == attack)
    )
    assert row["cured_blocks"] == cured
    assert wide[f"{attack}_cured"] == row["cured"] == f"{cured} of 10"
    assert row["gate"] == "passed"
    assert row["targets"].split("; ")[:4] == ["basophil", "lymphocyte", "platelet", "basophil"]
    assert row["clean_images"] == 200
    assert row["asr_by_class"].split()[1] == "nan"


def test_the_control_has_a_gap_of_acc_alone(records):
    row = long_leaderboard(records).set_index("attack").loc["clean"]
    assert (row["standing"], row["goal"]) == ("control", "none")
    assert row["acc_gap"] == pytest.approx(-0.03)
    assert row[["asr", "asr_gap", "recovery_gap", "der", "cured", "gate", "targets"]].isna().all()
    assert "asr_gap: " in row["unresolved"]


def test_a_row_takes_its_means_over_the_blocks_that_its_core_attacks_share():
    records = make_runs("sau", "badnets", 4, rates=shifted(asr=0.1)) + make_runs("sau", "blended", 3)
    records += make_runs("sau", "wanet", 1)
    records[3]["cost"] |= {"flops_share": 9.0, "seconds": 9.0}
    (row,) = leaderboard(records).to_dict("records")
    assert row["blocks"] == 3
    assert row["asr_gap"] == pytest.approx(0.05)
    assert row["asr_gap_low"] == pytest.approx(row["asr_gap_high"])
    assert (row["flops_share"], row["seconds"]) == (0.25, 2.0)


def test_the_control_is_the_newest_one_that_is_not_ones_own():
    own = make_runs("sau", "clean", 2, attack__preset="custom", rates={**CLEAN, "acc": 0.10})
    old, new = (
        make_runs("sau", "clean", 2, attack__version=v, rates={**CLEAN, "acc": a}) for v, a in (("9", 0.5), ("10", 0.9))
    )
    (row,) = leaderboard(make_runs("sau") + own + old + new).to_dict("records")
    assert row["control_acc_gap"] == pytest.approx(0.90 - 0.95)
    (alone,) = leaderboard(make_runs("sau") + own).to_dict("records")
    assert alone["control_acc_gap"] is None
