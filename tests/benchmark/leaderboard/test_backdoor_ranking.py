"""Which defences compete, who comes first, and what never counts (PROTOCOL 1.3, 1.4, 7.1 to 7.6)."""

import random

import pandas as pd
import pytest

from benchmark.leaderboard.backdoor.table import leaderboard, long_leaderboard
from tests.benchmark.leaderboard.backdoor_factory import (
    BACKDOORED,
    ORACLE,
    WEAK,
    broken,
    make_run,
    make_runs,
    shifted,
)
from tests.benchmark.leaderboard.factory import make_row


def by_defense(records):
    return {row["defense"]: row for row in leaderboard(records).to_dict("records")}


def test_more_cured_attacks_come_first_and_then_the_smaller_rest():
    records = [
        *make_runs("sau", "badnets"), *make_runs("sau", "wanet", rates=shifted(asr=0.30)),
        *make_runs("npd", "badnets", rates=shifted(asr=0.04)),
        *make_runs("npd", "wanet", rates=shifted(recovery=-0.04)),
        *make_runs("anp", "badnets", rates=shifted(acc=-0.01)), *make_runs("anp", "wanet", rates=shifted(asr=0.60)),
        *make_runs("none", "badnets", rates=BACKDOORED), *make_runs("none", "wanet", rates=BACKDOORED),
    ]  # fmt: skip
    table = leaderboard(records)
    assert table["defense"].tolist() == ["npd", "sau", "anp", "none"]
    assert table["rank"].tolist()[:3] == [1, 2, 3]
    assert table["standing"].tolist() == ["ranked"] * 3 + ["reference"]
    assert table["attacks_cured"].tolist() == [2, 1, 1, 0]
    assert table["residual"].tolist()[:3] == pytest.approx([(0.04 + 0.04) / 6, 0.30 / 6, (0.01 + 0.60) / 6])


def test_doing_better_than_the_oracle_makes_up_for_nothing():
    better = make_runs("sau", rates=shifted(acc=0.05, asr=-0.02, recovery=0.05))
    as_good = make_runs("npd", rates=ORACLE)
    table = leaderboard(better + as_good)
    assert table["residual"].tolist() == [0, 0]
    assert table["rank"].tolist() == [1, 1]


def test_der_never_ranks():
    # no trigger left, but also less of everything else: DER praises it, the distance to the oracle does not
    spoilt = {"acc": 0.80, "asr": 0.0, "recovery": 0.80}
    found = by_defense(make_runs("spoilt", rates=spoilt) + make_runs("sau", rates=shifted(asr=0.25)))
    assert found["spoilt"]["der"] > found["sau"]["der"]
    assert (found["sau"]["rank"], found["spoilt"]["rank"]) == (1, 2)


def test_one_block_that_is_not_cured_is_enough_for_the_attack_not_to_be():
    records = make_runs("sau")
    records[4] = make_run("sau", block=4, rates=shifted(asr=0.06))
    (row,) = leaderboard(records).to_dict("records")
    assert (row["attacks_cured"], row["badnets_cured"]) == (0, "9 of 10")


@pytest.mark.parametrize("blocks_of", [[], [3]])
def test_an_attack_that_failed_in_one_block_of_one_defence_gives_no_defence_credit(blocks_of):
    weak = [make_run("npd", "wanet", block, backdoored=WEAK) for block in blocks_of]
    records = [
        *make_runs("sau", "badnets"), *make_runs("sau", "wanet"), *make_runs("npd", "badnets"),
        *(run for run in make_runs("npd", "wanet") if run["spec"]["block"] not in blocks_of), *weak,
    ]  # fmt: skip
    found = by_defense(records)
    for row in (found["sau"], found["npd"]):
        assert row["attacks_run"] == 2
        assert (row["attacks_passed"], row["attacks_cured"]) == ((1, 1) if weak else (2, 2))
        assert row["wanet_cured"] == ("attack failed" if weak else "10 of 10")
        assert pd.isna(row["wanet_asr"]) == bool(weak)
        assert (row["standing"], row["rank"]) == ("ranked", 1)
    long = long_leaderboard(records)
    failed = long[long["attack"] == "wanet"]
    assert set(failed["standing"]) == ({"attack failed"} if weak else {"ranked"})
    if weak:
        assert failed["rank"].isna().all()
        assert failed["acc"].isna().all()
        assert failed["der"].isna().all()
        assert set(failed["gate"]) == {"block 3: ASR 60.00% is below 80%"}


def test_a_gate_holds_for_its_own_setting_alone():
    weak = [make_run("sau", "badnets", 0, backdoored=WEAK, architecture="resnet18")]
    table = leaderboard(make_runs("sau") + weak).set_index("architecture")
    assert table.loc["cnn-small", "attacks_passed"] == 1
    assert table.loc["resnet18", "standing"] == "attack failed"


def test_defences_that_train_have_a_gate_of_their_own_for_their_poisoned_set_is_another_model():
    weak = [make_run("abl", block=b, backdoored=WEAK, power="in-training") for b in range(10)]
    found = by_defense(make_runs("sau") + weak)
    assert (found["sau"]["rank"], found["abl"]["standing"]) == (1, "attack failed")


def test_all_to_all_stands_apart_from_every_mean():
    all_to_all = make_runs("sau", "badnets_all_to_all", goal="all-to-all", rates=shifted(asr=0.9))
    (row,) = leaderboard(make_runs("sau") + all_to_all).to_dict("records")
    assert (row["attacks_run"], row["attacks_cured"], row["residual"]) == (1, 1, 0)
    assert row["badnets_all_to_all_asr"] == pytest.approx(0.92)
    assert (row["rank"], row["standing"]) == (1, "ranked")
    (alone,) = leaderboard(all_to_all).to_dict("records")
    assert alone["standing"] == "apart"


@pytest.mark.parametrize(("ratio", "counted"), [(0.5, 2), (0.6, 1)])
def test_clean_label_poison_of_more_than_half_of_the_class_is_in_no_mean(ratio, counted):
    clean_label = make_runs("sau", "sig", victims="target", ratio=ratio, rates=shifted(asr=0.5))
    (row,) = leaderboard(make_runs("sau") + clean_label).to_dict("records")
    assert row["attacks_run"] == counted
    assert row["asr_gap"] == pytest.approx(0.25 if counted == 2 else 0.0)


def test_dirty_label_poison_of_more_than_half_is_not_meant():
    (row,) = leaderboard(make_runs("sau", ratio=0.6)).to_dict("records")
    assert row["attacks_run"] == 1


def test_an_attack_of_ones_own_has_its_own_columns_and_ranks_nobody():
    own = make_runs("sau", attack__preset="custom", attack__hyperparameters={"ratio": 0.01}, rates=shifted(asr=0.5))
    own += [make_run("sau", block=10, attack__preset="custom", status="error", reason="raised")]
    (row,) = leaderboard(make_runs("sau") + own).to_dict("records")
    assert (row["attacks_run"], row["standing"], row["residual"]) == (1, "ranked", 0)
    assert sum(name.startswith("badnets-custom-") and name.endswith("_asr") for name in row) == 2
    assert leaderboard(own[:10])["standing"].tolist() == ["custom"]


def test_an_outdated_attack_neither_counts_nor_parts_the_rows():
    old = make_runs("sau", rates=shifted(asr=0.5))
    new = make_runs("sau", attack__version="2") + make_runs("npd", attack__version="2")
    found = by_defense(old + new)
    assert (found["sau"]["rank"], found["npd"]["rank"]) == (1, 1)
    assert found["sau"]["badnets-v1_asr"] == pytest.approx(0.52)
    assert found["sau"]["attacks_run"] == 1


def test_powers_are_ranked_apart():
    records = [
        *make_runs("sau", rates=shifted(asr=0.10)), *make_runs("npd", rates=shifted(asr=0.20)),
        *make_runs("clp", power="data-free", rates=shifted(asr=0.05)),
        *make_runs("abl", power="in-training"), *make_runs("ordinary_training", power="in-training", rates=BACKDOORED),
    ]  # fmt: skip
    table = leaderboard(records)
    assert table["defense"].tolist() == ["sau", "npd", "clp", "abl", "ordinary_training"]
    assert table["rank"].tolist()[:4] == [1, 2, 1, 1]
    assert table["standing"].tolist()[4] == "reference"
    assert len(set(table["setting"])) == 1


def test_only_rows_with_the_same_attacks_and_blocks_compete_and_the_most_runs_decide():
    both = [*make_runs("sau"), *make_runs("sau", "wanet"), *make_runs("npd"), *make_runs("npd", "wanet")]
    one = [run for name in ("anp", "nad", "fp") for run in make_runs(name)]
    other_blocks = [make_run("ftsam", attack, b) for attack in ("badnets", "wanet") for b in range(5, 15)]
    found = by_defense(both + one + other_blocks)
    standings = {name: row["standing"] for name, row in found.items()}
    assert standings == dict.fromkeys(("sau", "npd"), "ranked") | dict.fromkeys(("anp", "nad", "fp"), "unpaired") | {
        "ftsam": "unpaired"
    }


@pytest.mark.parametrize(
    ("dataset", "blocks", "standing"),
    [("bloodmini", 10, "ranked"), ("bloodmini", 9, "exploratory"), ("pathmnist", 5, "ranked"),
     ("pathmnist", 4, "exploratory")],
)  # fmt: skip
def test_a_row_needs_ten_blocks_on_bloodmini_and_five_elsewhere(dataset, blocks, standing):
    (row,) = leaderboard(make_runs(blocks=blocks, data__name=dataset)).to_dict("records")
    assert (row["standing"], row["blocks"]) == (standing, blocks)


@pytest.mark.parametrize("attack", ["wanet", "clean"])
def test_a_block_that_broke_takes_the_whole_row_out_and_is_averaged_by_nobody(attack):
    other = make_runs("sau", attack)
    other[2] = broken("sau", attack, 2)
    (row,) = leaderboard(make_runs("sau") + other).to_dict("records")
    assert (row["standing"], row["statuses"]) == ("incomplete", "error:1 ok:19")
    assert row["reasons"] == f"{attack}: raised"
    assert pd.isna(row["rank"])
    if attack == "wanet":
        assert pd.isna(row["asr_gap"])
        assert row["wanet_cured"] == "incomplete"
        assert pd.isna(row["wanet_asr"])
    assert row["badnets_asr"] == pytest.approx(ORACLE["asr"])


def test_a_defence_that_does_not_fit_the_model_is_incomplete_and_not_an_attack_that_failed():
    records = [make_run("sau", block=b, status="skipped", reason="no batch norm") for b in range(10)]
    (row,) = leaderboard(records).to_dict("records")
    assert (row["standing"], row["attacks_passed"], row["statuses"]) == ("incomplete", 1, "skipped:10")


def test_a_row_that_broke_everywhere_is_a_row_all_the_same():
    (row,) = leaderboard([broken(block=b) for b in range(3)]).to_dict("records")
    assert (row["standing"], row["blocks"], row["statuses"]) == ("incomplete", 0, "error:3")
    (row,) = long_leaderboard([broken(block=b) for b in range(3)]).to_dict("records")
    assert (row["standing"], row["attack"]) == ("incomplete", "badnets")


def test_controls_and_ones_own_defences_are_not_ranked():
    assert leaderboard(make_runs("sau", "clean"))["standing"].tolist() == ["control"]
    assert leaderboard(make_runs("sau", data__non_member_share=0.0))["standing"].tolist() == ["control"]
    assert leaderboard(make_runs("sau", method__preset="custom"))["standing"].tolist() == ["custom"]
    assert leaderboard(make_runs("sau", method__preset="scaled"))["standing"].tolist() == ["ranked"]


DIFFERENCES = [
    {"data__sha256": "b" * 64}, {"data__split_seed": 1}, {"architecture": "resnet18"}, {"recipe__epochs": 31},
    {"pool": "reserved:50"}, {"pool": "seen"}, {"protocol_version": 2}, {"training_version": 2},
    {"poisoning_version": 2},
]  # fmt: skip


@pytest.mark.parametrize("changes", DIFFERENCES, ids=str)
def test_rows_of_different_settings_never_compete(changes):
    table = leaderboard(make_runs("sau") + make_runs("npd", rates=shifted(asr=0.2), **changes))
    assert table["setting"].nunique() == 2
    assert table["rank"].tolist() == [1, 1]


def test_metric_versions_are_never_mixed():
    new = make_runs("sau")
    for record in new:
        record["declarations"]["asr"]["version"] = 2
    table = leaderboard(make_runs("sau") + new)
    assert sorted(table["blocks"]) == [10, 10]
    assert table["setting"].nunique() == 2


def test_the_order_of_the_records_does_not_matter():
    records = [
        *make_runs("sau"), *make_runs("npd", "wanet", 3), broken("abl"), *make_runs("sau", "clean"),
        make_run("npd", "lf", backdoored=WEAK),
    ]  # fmt: skip
    shuffled = random.Random(0).sample(records, len(records))
    for build in (leaderboard, long_leaderboard):
        assert build(shuffled).to_csv() == build(records).to_csv()


def test_records_of_another_track_are_no_rows_here():
    assert leaderboard(make_row("salun", 2)).empty
    assert long_leaderboard(make_row("salun", 2)).empty
