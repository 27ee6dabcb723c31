"""Defences by attacks: the numbers of the tables, and in their place what says why there is none."""

import pytest

from benchmark.leaderboard.backdoor.table import long_leaderboard
from benchmark.leaderboard.figures import figures, heatmap
from tests.benchmark.leaderboard.backdoor_factory import WEAK, broken, make_runs, shifted

pytestmark = pytest.mark.usefixtures("style")


def panel(drawn, number=0):
    """Name of a row -> attack -> the text of a cell."""
    axes = drawn.canvas.axes[number]
    names = dict(zip(axes.get_yticks(), labels(drawn.canvas.axes[0].get_yticklabels()), strict=True))
    attacks = labels(drawn.canvas.axes[-1].get_xticklabels())
    cells = {name: {} for name in names.values()}
    for text in axes.texts:
        place, height = text.get_position()
        if place != -0.5:  # a heading
            cells[names[height]][attacks[place]] = text.get_text()
    return cells


def labels(ticks):
    return [tick.get_text() for tick in ticks]


def hatched(drawn, number=0):
    """How many cells are."""
    return sum(len(found.get_paths()) for found in drawn.canvas.axes[number].collections if found.get_hatch())


def headings(drawn):
    return [text.get_text() for text in drawn.canvas.axes[0].texts if text.get_position()[0] == -0.5]


@pytest.fixture
def records():
    return [
        *make_runs("none", "badnets"), *make_runs("sau", "badnets", rates=shifted(asr=0.1, acc=-0.03, recovery=-0.2)),
        *make_runs("sau", "blended"), *make_runs("clp", "badnets", power="data-free", rates=shifted(asr=0.5)),
        *make_runs("sau", "wanet"), *make_runs("sau", "clean"),
    ]  # fmt: skip


def test_cells_are_the_means_of_the_long_table_in_percent(encounters, records):
    drawn = heatmap.draw(encounters(records), core=True)
    table = long_leaderboard(records).set_index(["defense", "attack"])
    asr = panel(drawn)
    for defense, attack in (("sau", "badnets"), ("sau", "blended"), ("clp", "badnets")):
        assert asr[defense][attack] == f"{100 * table.loc[(defense, attack), 'asr']:.0f}"
    lost = -100 * table.loc[("sau", "badnets"), ["recovery_gap", "acc_gap"]].astype(float)
    assert (lost["recovery_gap"], lost["acc_gap"]) == pytest.approx((20, 3))
    assert (axes_titles(drawn)) == ["ASR (%)", "RA loss (%)", "ACC loss (%)"]


def axes_titles(drawn):
    return [axes.get_title(loc="left") for axes in drawn.canvas.axes]


def test_the_models_before_and_the_oracles_stand_on_top(encounters, records):
    asr = panel(heatmap.draw(encounters(records), core=True))
    assert list(asr) == ["backdoored", "oracle", "sau", "clp"]
    assert asr["backdoored"] == {"badnets": "99", "blended": "99"}
    assert asr["oracle"] == {"badnets": "2", "blended": "2"}
    assert headings(heatmap.draw(encounters(records), core=True)) == ["post-training", "data-free"]


def test_losses_are_what_is_missing_to_the_oracle(encounters, records):
    drawn = heatmap.draw(
        encounters([record for record in records if record["spec"]["attack"]["name"] != "blended"]), core=True
    )
    names = labels(drawn.canvas.axes[0].get_yticklabels())
    lost = [text.get_text() for axes in drawn.canvas.axes[1:] for text in axes.texts if text.get_position()[0] != -0.5]
    assert names == ["backdoored", "oracle", "sau", "clp"]
    assert lost == ["92", "0", "20", "0", "0", "0", "3", "0"]  # recovery, then ACC


def test_attacks_that_do_not_rank_have_a_figure_of_their_own(encounters, records):
    assert list(panel(heatmap.draw(encounters(records), core=False))["sau"]) == ["wanet"]


def test_the_control_is_no_attack(encounters, records):
    for core in (True, False):
        assert "clean" not in labels(heatmap.draw(encounters(records), core).canvas.axes[-1].get_xticklabels())


def test_an_attack_that_failed_is_hatched_for_every_defence_whether_it_was_run_or_not(encounters):
    records = [
        *make_runs("none", "wanet", backdoored=WEAK), *make_runs("sau", "wanet", backdoored=WEAK),
        *make_runs("sau", "lf"), *make_runs("clp", "lf", power="data-free"),
    ]  # fmt: skip
    drawn = heatmap.draw(encounters(records), core=False)
    assert [hatched(drawn, number) for number in range(3)] == [2, 2, 2]
    cells = panel(drawn)
    assert cells["sau"] == cells["clp"] == {"lf": "2"}
    assert cells["backdoored"] == {"lf": "99", "wanet": "60"}
    assert "1 of 2 attacks failed their gate and are hatched" in drawn.description


def test_a_failed_block_is_a_dash_and_what_was_not_run_is_empty(encounters):
    records = [
        *make_runs("sau", "badnets"),
        *make_runs("anp", "badnets", 9),
        broken("anp", "badnets", 9),
        *make_runs("sau", "blended"),
    ]
    asr = panel(heatmap.draw(encounters(records), core=True))
    assert asr["anp"] == {"badnets": "–"}
    assert hatched(heatmap.draw(encounters(records), core=True)) == 0


def test_outdated_versions_are_left_out(encounters):
    records = make_runs("sau", rates=shifted(asr=0.5)) + make_runs("sau", method__version="2")
    assert panel(heatmap.draw(encounters(records), core=True))["sau"] == {"badnets": "2"}


def test_many_attacks_stand_in_panels_one_below_the_other(encounters):
    few = heatmap.draw(encounters(make_runs("sau", "wanet", 1)), core=False).canvas
    many = heatmap.draw(
        encounters([r for n in range(9) for r in make_runs("sau", f"attack_{n}", 1)]), core=False
    ).canvas
    assert len({axes.get_position().x0 for axes in few.axes}) == 3
    assert len({axes.get_position().x0 for axes in many.axes}) == 1
    assert len({axes.get_position().y0 for axes in many.axes}) == 3


def test_the_description_gives_the_numbers_of_the_first_defence(records):
    (figure, _) = figures(records)
    said = figure.description.replace("\u00a0", " ")
    assert "2 defences against 2 attacks, in the order of the table" in said
    assert "badnets: ASR 99.0 % before, 12.0 % after sau, 2.0 % of the oracle." in said


def test_of_very_many_defences_and_attacks_the_first_are_drawn_and_the_caption_says_so(encounters):
    records = [run for n in range(35) for run in make_runs(f"defense_{n:02}", "badnets", 1)]
    records += [run for n in range(14) for run in make_runs("sau", f"attack_{n:02}", 1)]
    drawn = heatmap.draw(encounters(records), core=True)
    assert len(panel(drawn)) == 2 + 30
    assert "30 of 35 defences against 1 attack" in drawn.description
    assert "1 defence against 12 of 14 attacks" in heatmap.draw(encounters(records), core=False).description
