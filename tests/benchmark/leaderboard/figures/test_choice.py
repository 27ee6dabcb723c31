"""Which settings and rows are drawn, and what is said of the others."""

import pytest

from benchmark.leaderboard.figures import figures, left_out, tradeoff
from benchmark.leaderboard.figures.settings import MOST_SETTINGS
from tests.benchmark.leaderboard.backdoor_factory import make_runs
from tests.benchmark.leaderboard.factory import make_record, make_row
from tests.benchmark.leaderboard.figures.figure_factory import whole_setting


def settings(records):
    return list(dict.fromkeys(figure.setting for figure in figures(records)))


def test_settings_with_most_ranked_rows_get_figures_and_the_others_are_counted():
    many = [record for number in range(MOST_SETTINGS + 2) for record in make_row(scenario=f"class:{number}")]
    best = make_row(scenario="class:11") + make_row("salun", scenario="class:11")
    chosen = settings(many + best)
    assert len(chosen) == MOST_SETTINGS
    assert chosen[0] == "bloodmini · cnn-small · cpu · none · class:11"
    assert left_out(many + best) == {"unlearning": 2, "backdoor": 0}


def test_exploratory_settings_come_after_ranked_ones():
    assert [text.split()[-1] for text in settings([*make_row("salun", 3, scenario="class:0"), *make_row()])] == [
        "random:0.1",
        "class:0",
    ]


def test_settings_that_would_read_alike_are_told_apart():
    first, second = settings(make_row() + make_row(data__sha256="b" * 64))
    assert first != second
    assert {first.partition(" (setting ")[0], second.partition(" (setting ")[0]} == {
        "bloodmini · cnn-small · cpu · none · random:0.1"
    }


@pytest.mark.parametrize("status", ["error", "diverged"])
def test_a_row_with_a_failed_block_is_not_drawn(status):
    broken = [*make_row("salun", 9), make_record("salun", 9, status=status, reason="raised")]
    assert figures(make_row() + broken) == figures(make_row())
    assert figures(broken) == []
    assert left_out(broken) == {"unlearning": 0, "backdoor": 0}


def test_references_alone_are_nothing_to_draw():
    assert figures(make_row("retrain") + make_row("original")) == []


def test_no_records_are_no_figures():
    assert figures([]) == []
    assert left_out([]) == {"unlearning": 0, "backdoor": 0}


@pytest.mark.usefixtures("style")
def test_of_very_many_methods_the_best_are_drawn_and_the_caption_says_so(comparison):
    records = [record for number in range(20) for record in make_row(f"method_{number:02}", error=number / 100)]
    found = comparison(records)
    drawn = tradeoff.draw(found)
    shown = [text.get_text() for text in drawn.canvas.legends[0].get_texts()]
    assert shown == ["Original", *(row.name for row in found.rows[:16])]
    assert "of 16 of 20 methods" in drawn.description


def test_a_method_looks_the_same_in_every_setting_and_apart_under_another_preset(comparison):
    def looks(records):
        return {row.name: row.look for row in comparison(records).rows}

    found = looks(whole_setting() + make_row("salun", method__preset="scaled", error=0.05))
    assert found["salun"].color == found["salun (scaled)"].color
    assert found["salun"].marker == found["salun (scaled)"].marker
    assert found["salun"].filled != found["salun (scaled)"].filled
    assert len({(look.color, look.marker) for look in found.values()}) == 4  # the references share one


def test_a_setting_without_a_defence_is_nothing_to_draw():
    assert figures(make_runs("none", "badnets")) == []
    assert figures(make_runs("sau", "clean")) == []
