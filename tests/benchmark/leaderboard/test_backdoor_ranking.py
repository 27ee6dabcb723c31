"""Which defences compete, who comes first, and what never counts (PROTOCOL 1.3, 1.4, 7.1 to 7.6)."""

import random

import pandas as pd
import pytest

from benchmark.leaderboard.backdoor.duels import CORE_ATTACKS
from benchmark.leaderboard.backdoor.table import leaderboard, long_leaderboard
from tests.benchmark.leaderboard.backdoor_factory import (
    BACKDOORED,
    ORACLE,
    WEAK,
    attackless,
    broken,
    make_run,
    make_runs,
    shifted,
)
from tests.benchmark.leaderboard.factory import make_row


def by_defense(records):
    return {row["defense"]: row for row in leaderboard(records).to_dict("records")}


def test_more_cured_core_attacks_come_first_and_then_the_smaller_rest():
    records = [
        *make_runs("sau", "badnets"), *make_runs("sau", "blended", rates=shifted(asr=0.30)),
        *make_runs("npd", "badnets", rates=shifted(asr=0.04)),
        *make_runs("npd", "blended", rates=shifted(recovery=-0.04)),
        *make_runs("anp", "badnets", rates=shifted(acc=-0.01)), *make_runs("anp", "blended", rates=shifted(asr=0.60)),
        *make_runs("none", "badnets", rates=BACKDOORED), *make_runs("none", "blended", rates=BACKDOORED),
    ]  # fmt: skip
    table = leaderboard(records)
    assert table["defense"].tolist() == ["npd", "sau", "anp", "none"]
    assert table["rank"].tolist()[:3] == [1, 2, 3]
    assert table["standing"].tolist() == ["ranked"] * 3 + ["reference"]
    assert table["core_cured"].tolist() == [2, 1, 1, 0]
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
    weak = [make_run("npd", "blended", block, backdoored=WEAK) for block in blocks_of]
    records = [
        *make_runs("sau", "badnets"), *make_runs("sau", "blended"), *make_runs("npd", "badnets"),
        *(run for run in make_runs("npd", "blended") if run["spec"]["block"] not in blocks_of), *weak,
    ]  # fmt: skip
    found = by_defense(records)
    for row in (found["sau"], found["npd"]):
        assert row["attacks_run"] == 2
        assert (row["attacks_passed"], row["attacks_cured"]) == ((1, 1) if weak else (2, 2))
        assert row["blended_cured"] == ("attack failed" if weak else "10 of 10")
        assert pd.isna(row["blended_asr"]) == bool(weak)
        assert (row["standing"], row["rank"]) == ("ranked", 1)
    long = long_leaderboard(records)
    failed = long[long["attack"] == "blended"]
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


@pytest.mark.parametrize("controls_training", [True, False])
def test_defences_that_train_have_a_gate_of_their_own_where_their_poisoned_set_makes_another_model(controls_training):
    weak = make_runs("abl", backdoored=WEAK, power="in-training", controls_training=controls_training)
    found = by_defense(make_runs("sau", controls_training=controls_training) + weak)
    assert found["abl"]["standing"] == "attack failed"
    assert found["sau"]["standing"] == ("ranked" if controls_training else "attack failed")


@pytest.mark.parametrize("power", ["post-training", "in-training"])
def test_an_attack_that_came_to_nothing_has_failed_for_all_alike(power):
    records = make_runs("abl", "lf", power=power, controls_training=True) + make_runs("abl", power=power)
    records += [*make_runs("sau"), *make_runs("sau", "lf", 9, controls_training=True), attackless("sau", "lf", 9)]
    found = by_defense(records)
    for row in found.values():
        assert (row["standing"], row["rank"], row["lf_cured"]) == ("ranked", 1, "attack failed")
        assert (row["attacks_run"], row["attacks_passed"]) == (2, 1)
    long = long_leaderboard(records)
    assert set(long[long["attack"] == "lf"]["gate"]) == {"block 9: weights are not finite"}


def test_an_attack_that_always_came_to_nothing_is_a_row_all_the_same():
    records = [attackless(block=b) for b in range(2)]
    (wide,), (long,) = (build(records).to_dict("records") for build in (leaderboard, long_leaderboard))
    assert (wide["standing"], wide["blocks"], wide["statuses"]) == ("attack failed", 0, "attack-failed:2")
    assert (long["standing"], long["cured"]) == ("attack failed", "attack failed")
    assert pd.isna(long["backdoored_asr"])


def test_what_an_attack_wants_is_known_from_its_other_runs_too():
    records = [*make_runs("sau", "turn", goal="all-to-all"), *make_runs("npd"), attackless("npd", "turn")]
    assert by_defense(records)["npd"]["attacks_run"] == 1


def test_all_to_all_stands_apart_from_every_mean():
    all_to_all = make_runs("sau", "badnets_all_to_all", goal="all-to-all", rates=shifted(asr=0.9))
    (row,) = leaderboard(make_runs("sau") + all_to_all).to_dict("records")
    assert (row["attacks_run"], row["attacks_cured"], row["residual"]) == (1, 1, 0)
    assert row["badnets_all_to_all_asr"] == pytest.approx(0.92)
    assert (row["rank"], row["standing"]) == (1, "ranked")
    (alone,) = leaderboard(all_to_all).to_dict("records")
    assert alone["standing"] == "apart"


@pytest.mark.parametrize(("ratio", "counted"), [(0.5, 2), (0.6, 1)])
def test_clean_label_poison_of_more_than_half_of_the_class_is_not_counted(ratio, counted):
    clean_label = make_runs("sau", "sig", victims="target", ratio=ratio, rates=shifted(asr=0.5))
    (row,) = leaderboard(make_runs("sau") + clean_label).to_dict("records")
    assert (row["attacks_run"], row["asr_gap"]) == (counted, 0.0)
    assert set(long_leaderboard(clean_label)["standing"]) == {"exploratory" if counted == 2 else "apart"}


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


@pytest.mark.parametrize("attack", ["wanet", "badnets"])
def test_another_preset_of_an_attack_stands_apart_from_every_mean_and_count(attack):
    small = make_runs("sau", attack, 3, attack__preset="small-data", rates=shifted(asr=0.5))
    (row,) = leaderboard(make_runs("sau") + small).to_dict("records")
    assert [row[f"attacks_{what}"] for what in ("run", "passed", "cured")] == [1, 1, 1]
    assert (row["rank"], row["standing"], row["blocks"], row["residual"]) == (1, "ranked", 10, 0)
    assert row[f"{attack}-small-data_asr"] == pytest.approx(0.52)
    assert leaderboard(small)["standing"].tolist() == ["apart"]


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


def both(defense, **changes):
    return [run for attack in CORE_ATTACKS for run in make_runs(defense, attack, **changes)]


def test_only_rows_with_the_same_core_attacks_and_blocks_compete_and_most_rows_decide():
    one = make_runs("anp", blocks=30)
    other_blocks = [make_run("ftsam", attack, b) for attack in CORE_ATTACKS for b in range(5, 40)]
    found = by_defense(both("sau") + both("npd") + one + other_blocks)
    standings = {name: row["standing"] for name, row in found.items()}
    assert standings == {"sau": "ranked", "npd": "ranked", "anp": "unpaired", "ftsam": "unpaired"}
    assert pd.isna(found["ftsam"]["rank"])


def test_of_designs_with_equally_many_rows_the_one_with_most_runs_decides():
    found = by_defense(both("sau") + make_runs("anp", blocks=15))
    assert (found["sau"]["standing"], found["anp"]["standing"]) == ("ranked", "unpaired")


EXTRAS = {
    "cured": make_runs("sau", "wanet"),
    "missed": make_runs("sau", "wanet", rates=BACKDOORED),
    "few blocks": make_runs("sau", "wanet", 2),
    "broke": [*make_runs("sau", "wanet", 2), broken("sau", "wanet", 2)],
    "does not fit": [make_run("sau", "wanet", b, status="skipped", reason="no batch norm") for b in range(2)],
    "diverged": [make_run("sau", "wanet", 0, status="diverged", reason="not finite")],
    "weak": [make_run("sau", "wanet", 0, backdoored=WEAK)],
    "nothing": [attackless("sau", "wanet")],
    "control broke": [broken("sau", "clean", 0)],
}
SHOWN_ONLY = ("attacks_run", "attacks_passed", "attacks_cured", "statuses", "reasons")


@pytest.mark.parametrize("extra", EXTRAS.values(), ids=EXTRAS)
def test_what_else_a_defence_was_run_against_changes_neither_its_rank_nor_any_mean(extra):
    records = both("sau", rates=shifted(asr=0.1)) + both("npd", rates=shifted(asr=0.2))
    before = leaderboard(records).drop(columns=list(SHOWN_ONLY))
    assert before["rank"].tolist() == [1, 2]
    after = leaderboard(records + extra)
    pd.testing.assert_frame_equal(after[before.columns], before)


@pytest.mark.parametrize("name", ["broke", "does not fit", "diverged"])
def test_a_block_that_broke_under_another_attack_shows_in_that_attacks_columns_alone(name):
    records = both("sau") + EXTRAS[name]
    (row,) = leaderboard(records).to_dict("records")
    assert (row["wanet_cured"], row["badnets_cured"]) == ("incomplete", "10 of 10")
    assert pd.isna(row["wanet_asr"])
    assert long_leaderboard(records).set_index("attack")["standing"].to_dict() == {
        "badnets": "ranked", "blended": "ranked", "wanet": "incomplete",
    }  # fmt: skip


def test_counts_of_attacks_hold_all_of_them():
    (row,) = leaderboard(both("sau") + EXTRAS["missed"] + make_runs("sau", "lf")).to_dict("records")
    counts = [row[name] for name in ("core_cured", "attacks_run", "attacks_passed", "attacks_cured")]
    assert counts == [2, 4, 4, 3]


def test_a_row_without_a_core_attack_is_exploratory_and_has_no_means():
    records = both("npd") + make_runs("sau", "wanet", 12) + [broken("sau", "lf", 12)]
    row = by_defense(records)["sau"]
    assert (row["standing"], row["blocks"], row["core_cured"], row["attacks_cured"]) == ("exploratory", 12, 0, 1)
    empty = ["rank", "residual", "asr_gap", "acc_gap", "recovery_gap", "der", "flops_share", "seconds"]
    assert all(pd.isna(row[name]) for name in empty)
    assert row["wanet_asr"] == pytest.approx(ORACLE["asr"])


def test_under_another_attack_no_row_shows_a_rank():
    long = long_leaderboard(both("sau") + make_runs("sau", "wanet")).set_index("attack")
    assert long["standing"].to_dict() == {"badnets": "ranked", "blended": "ranked", "wanet": "exploratory"}
    assert pd.isna(long.loc["wanet", "rank"])


def test_an_older_version_of_a_defence_is_superseded_and_does_not_decide_who_is_paired():
    old = [run for version in ("2", "9") for run in make_runs("sau", method__version=version, blocks=12)]
    table = leaderboard(old + make_runs("sau", method__version="10") + make_runs("npd")).set_index(
        ["defense", "version"]
    )
    assert table["standing"].to_dict() == {
        ("npd", "1"): "ranked", ("sau", "10"): "ranked", ("sau", "2"): "superseded", ("sau", "9"): "superseded",
    }  # fmt: skip
    assert table["rank"].notna().tolist() == [True, True, False, False]
    assert set(long_leaderboard(old + make_runs("sau", method__version="10"))["standing"]) == {"ranked", "superseded"}


def test_two_states_of_a_plugin_under_one_version_have_no_order():
    table = leaderboard(make_runs("own", method__version="1+aaa") + make_runs("own", method__version="1+bbb"))
    assert table["standing"].tolist() == ["ranked", "ranked"]
    table = leaderboard(make_runs("own", method__version="1+bbb") + make_runs("own", method__version="2+aaa"))
    assert dict(zip(table["version"], table["standing"], strict=True)) == {"2+aaa": "ranked", "1+bbb": "superseded"}


@pytest.mark.parametrize(
    ("dataset", "blocks", "standing"),
    [("bloodmini", 10, "ranked"), ("bloodmini", 9, "exploratory"), ("pathmnist", 5, "ranked"),
     ("pathmnist", 4, "exploratory")],
)  # fmt: skip
def test_a_row_needs_ten_blocks_on_bloodmini_and_five_elsewhere(dataset, blocks, standing):
    (row,) = leaderboard(make_runs(blocks=blocks, data__name=dataset)).to_dict("records")
    assert (row["standing"], row["blocks"]) == (standing, blocks)


def test_a_block_that_broke_under_a_core_attack_takes_the_row_out_and_is_averaged_by_nobody():
    other = make_runs("sau", "blended")
    other[2] = broken("sau", "blended", 2)
    (row,) = leaderboard(make_runs("sau") + other).to_dict("records")
    assert (row["standing"], row["statuses"]) == ("incomplete", "error:1 ok:19")
    assert row["reasons"] == "blended: raised"
    assert row["blended_cured"] == "incomplete"
    assert all(pd.isna(row[name]) for name in ("rank", "asr_gap", "residual", "flops_share", "blended_asr"))
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
