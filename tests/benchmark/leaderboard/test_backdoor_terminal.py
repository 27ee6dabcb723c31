"""The backdoor leaderboard on an ordinary terminal of 80 columns, and everything that a person is shown."""

import io

import pytest
from rich.console import Console

from benchmark.leaderboard.backdoor.terminal import LEGEND, SHORT
from benchmark.leaderboard.report import report
from tests.benchmark.leaderboard.backdoor_factory import BACKDOORED, WEAK, broken, make_run, make_runs, shifted
from tests.benchmark.leaderboard.factory import make_row

ATTACKS = ("badnets", "blended", "wanet", "input_aware", "lf", "bpp", "sig", "adaptive_blend")


def show(own, published=(), shown=None):
    console = Console(width=80, file=io.StringIO(), highlight=False, emoji=False)
    for piece in report(own, published, shown):
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
        *make_runs("sau", "badnets"), *make_runs("sau", "wanet", rates=shifted(asr=0.5)),
        *make_runs("npd", "badnets"), *make_runs("npd", "wanet"),
    ]  # fmt: skip
    text = show(both, shown=make_runs("sau", "badnets"))
    assert "wanet: own" not in text
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
    assert text.count("ASR: own runs") == 2


def test_a_single_attack_needs_no_overview():
    assert "badnets: own runs" in show(make_runs("sau", blocks=2))


def test_powers_stand_in_tables_of_their_own():
    text = show(make_runs("sau", blocks=2) + make_runs("abl", blocks=2, power="in-training"))
    assert "reserved · in-training · badnets: own runs" in text
    assert text.count("own runs") == 2


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
    for mark in ("✓", "±", "ACC", "ASR", "RA", "cured", "DER", "Cost", "Rank"):
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
