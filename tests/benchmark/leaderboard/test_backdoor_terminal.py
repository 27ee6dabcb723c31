"""The backdoor leaderboard on an ordinary terminal of 80 columns, and everything that a person is shown."""

import io

import pytest
from rich.console import Console

from benchmark.leaderboard.backdoor.terminal import LEGEND, SHORT
from benchmark.leaderboard.report import report
from benchmark.leaderboard.table import Leaderboards
from tests.benchmark.leaderboard.backdoor_factory import (
    BACKDOORED,
    WEAK,
    attackless,
    broken,
    make_run,
    make_runs,
    shifted,
)
from tests.benchmark.leaderboard.factory import make_row

ATTACKS = ("badnets", "blended", "wanet", "input_aware", "lf", "bpp", "sig", "adaptive_blend")


def show(own, published=(), shown=None):
    console = Console(width=80, file=io.StringIO(), highlight=False, emoji=False)
    for piece in report(Leaderboards(own), Leaderboards(published), shown):
        console.print(piece)
    return console.file.getvalue()


def line_of(text, name):
    (line,) = [line for line in text.splitlines() if name in line.split()]
    return line.split()


@pytest.fixture(scope="module")
def everything():
    """Wide cells, every standing, all powers."""
    wide = [make_run("neural_polarizer", "badnets", b, rates=shifted(asr=0.9 * (b % 2))) for b in range(10)]
    return [
        *wide, *make_runs("sau"), *make_runs("activation_clustering", power="in-training"), *make_runs("fp", blocks=3),
        *make_runs("none", rates=BACKDOORED), broken("nad"), *make_runs("i_bau", method__preset="custom"),
        *make_runs("nad", method__preset="authors-code-2024"), *make_runs("clp", power="data-free"),
        *(run for attack in ATTACKS[1:] for run in make_runs("sau", attack, 2)), make_run("npd", "lf", backdoored=WEAK),
    ]  # fmt: skip


def test_the_tables_fit_eighty_columns_and_no_name_is_cut(everything):
    for text in (show(everything), show(everything, shown=everything), show(everything[:5], everything, everything)):
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 80
    text = show(everything, shown=everything)
    for name in ("neural_polarizer", "activation_clustering", "(custom)"):
        assert name in text


def test_a_run_shows_its_attack_with_the_references_on_top():
    text = show(make_runs("sau", rates=shifted(asr=0.03)), shown=make_runs("sau", blocks=1))
    lines = text.splitlines()
    assert lines[0].strip() == "bloodmini · cnn-small · cpu · none · reserved · badnets: own runs"
    assert lines[3].split() == ["clean", "model", "10", "95.0", "1.0", "94.0"]
    assert lines[4].split() == ["backdoored", "10", "94.0", "99.0", "1.0"]
    assert lines[5].split() == ["oracle", "10", "94.0", "2.0", "93.0"]
    assert lines[6].split() == ["1", "sau", "10", "94.0", "5.0", "±0.0", "93.0", "10/10", "97.0", "25.0"]


def test_an_attack_that_failed_says_so_on_one_line_with_its_asr():
    runs = [make_run("sau", "wanet", b, backdoored=WEAK) for b in range(2)]
    text = " ".join(show(runs + make_runs("sau", blocks=2), shown=runs).split())
    assert "wanet: own runs attack failed (mean ASR 60.0): block 0: ASR 60.00% is below 80%; block 1" in text


def test_only_the_attacks_that_were_run_are_shown_but_ranks_follow_from_all():
    both = [
        *make_runs("sau", "badnets"), *make_runs("sau", "blended", rates=shifted(asr=0.5)),
        *make_runs("npd", "badnets"), *make_runs("npd", "blended"),
    ]  # fmt: skip
    text = show(both, shown=make_runs("sau", "badnets"))
    assert "blended: own" not in text
    assert line_of(text, "npd")[0] == "1"
    assert line_of(text, "sau")[0] == "2"


def test_the_overview_holds_asr_of_defences_by_attacks_with_the_cured_ones_marked():
    records = [
        *make_runs("sau", "badnets"), *make_runs("sau", "wanet", rates=shifted(asr=0.5)), *make_runs("npd", "badnets"),
        *make_runs("npd", "clean"), *make_runs("npd", "lf", backdoored=WEAK),
    ]  # fmt: skip
    lines = show(records).splitlines()
    text = "\n".join(lines)
    assert lines[0].strip() == "bloodmini · cnn-small · cpu · none · reserved · ASR: own runs"
    assert lines[1].split() == ["rank", "defence", "badnets", "lf", "wanet"]
    assert line_of(text, "sau") == ["1", "sau", "2.0", "✓", "52.0"]
    assert line_of(text, "npd")[2:] == ["2.0", "✓", "failed"]
    assert lines[3].split() == ["backdoored", "99.0", "60.0", "99.0"]


def test_many_attacks_are_shown_in_several_tables():
    text = show([run for attack in ATTACKS for run in make_runs("sau", attack, 2)])
    assert text.count("ASR: own runs") == 3


def test_those_that_rank_come_first_and_other_presets_last_each_name_whole_or_parted_where_it_may():
    odd = {"goal": "all-to-all", "attack__preset": "small-data"}
    records = [run for attack in ATTACKS for run in make_runs("neural_polarizer", attack, 2)]
    records += make_runs("neural_polarizer", "badnets_all_to_all", 2, **odd)
    text = show(records + make_runs("sau", "blended", 2))
    heads = text.split("ASR: own runs")[1:]
    assert [line_of(part, "rank")[2:] for part in heads] == [
        ["badnets", "blended"], ["blend", "bpp", "input_aware", "lf", "sig"], ["wanet", "-small-data"],
    ]  # fmt: skip
    assert ["sau" in part for part in heads] == [True, False, False]
    assert [line.split() for line in heads[2].splitlines()[1:3]] == [["badnets_"], ["all_to_all"]]


def test_references_come_from_the_row_with_most_blocks():
    other = {"acc": 0.90, "asr": 0.90, "recovery": 0.05}
    few = [run for attack in ("badnets", "wanet") for run in make_runs("anp", attack, 2, backdoored=other)]
    many = [run for attack in ("badnets", "wanet") for run in make_runs("sau", attack, 3)]
    assert line_of(show(few + many), "backdoored")[1:] == ["99.0", "99.0"]
    assert line_of(show(few + many, shown=many[:1]), "backdoored")[1:] == ["3", "94.0", "99.0", "1.0"]


def test_a_block_that_broke_under_another_attack_is_marked_in_its_own_cell():
    text = show([*make_runs("sau"), broken("sau", "wanet")])
    assert line_of(text, "sau") == ["1", "sau", "2.0", "✓", "fail"]


def test_an_attack_that_came_to_nothing_is_a_line_without_numbers():
    text = show([attackless()], shown=[attackless()])
    assert "badnets: own runs attack failed: block 0: weights are not finite" in " ".join(text.split())
    assert line_of(show([attackless("sau", "lf"), *make_runs("sau")]), "sau") == ["1", "sau", "2.0", "✓", "failed"]


def test_older_versions_of_a_defence_are_marked():
    text = show(make_runs("sau") + make_runs("sau", method__version="2") + make_runs("npd"))
    assert [line.split()[0] for line in text.splitlines() if line.split()[1:2] == ["sau"]] == ["1", "old"]


def test_a_single_attack_needs_no_overview():
    assert "badnets: own runs" in show(make_runs("sau", blocks=2))


def test_powers_stand_in_tables_of_their_own():
    text = show(make_runs("sau", blocks=2) + make_runs("abl", blocks=2, power="in-training"))
    assert text.count("own runs") == 2


@pytest.mark.parametrize("power", ["in-training", "data-free"])
def test_defenders_without_clean_images_have_no_pool_in_their_titles(power):
    assert "none · reserved · badnets: own" in show(make_runs("sau", blocks=2))
    assert f"none · {power} · badnets: own" in show(make_runs("abl", blocks=2, power=power))


def test_rows_that_do_not_compete_stand_in_tables_of_their_own():
    text = show(make_runs("sau", blocks=2) + make_runs("npd", blocks=2, protocol_version=2))
    assert text.count("own runs (setting") == 2


def test_published_rows_stand_below_the_own_ones():
    own, published = show(make_runs("sau", blocks=2), make_runs("npd")).split(": published")
    assert "sau" in own
    assert "npd" in published


def test_every_standing_has_a_short_form_that_the_legend_explains():
    for standing, short in SHORT.items():
        assert standing == "attack failed" or f"{short}," in LEGEND
    assert "over badnets and blended alone" in LEGEND
    for mark in (
        "stamp leaves",
        "clean model's training",
        "✓",
        "±",
        "ACC",
        "ASR",
        "RA",
        "cured",
        "DER",
        "Cost",
        "Rank",
    ):
        assert mark in LEGEND


def test_both_tracks_are_reported_each_with_its_own_legend():
    text = " ".join(show(make_row("salun", 2) + make_runs("sau", blocks=2)).split())
    assert text.index("RA, TA: accuracy on the retained") < text.index("badnets: own runs") < text.index("DER never")
    assert "DER never" not in show(make_row("salun", 2))
    assert show([]) == ""


def test_names_that_look_like_markup_are_shown_as_they_are():
    text = show(make_runs("[bold]x[/]", "[red]y", 2) + make_runs("sau", "wanet", 2))
    assert "[bold]x[/]" in text
    assert "[red]y" in text
