"""The leaderboard on an ordinary terminal of 80 columns."""

import io

import pytest
from rich.console import Console

from benchmark.leaderboard.table import leaderboard
from benchmark.leaderboard.terminal import LEGEND, SHORT, tables
from tests.benchmark.leaderboard.factory import make_record, make_row

METHODS = ["original", "retrain", "finetune", "random_label", "gradient_ascent", "neggrad_plus", "l1_sparse", "salun"]


def show(own, published=(), shown=None, width=80):
    """What a person sees."""
    local = leaderboard(own)
    console = Console(width=width, file=io.StringIO(), highlight=False, emoji=False)
    for table in tables(local, leaderboard(published), local if shown is None else leaderboard(shown)):
        console.print(table)
    return console.file.getvalue()


def joined(text):
    """The method column, its lines run together."""
    header = text.splitlines()[1]
    column = slice(header.index("method"), header.index("blocks") - 1)
    return "".join(line[column].strip() for line in text.splitlines())


@pytest.fixture(scope="module")
def everything():
    """All methods with wide cells: intervals of two digits, every verdict, failures, presets."""
    records = [record for method in METHODS for record in make_row(method, error=0.3)]
    records += make_row("gradient_ascent", error=-0.4, method__preset="published-class")
    records += make_row("salun", error=-0.4, method__preset="authors-code-2024")
    records += make_row("neggrad_plus", 2, method__preset="custom")
    records += [make_record("flaky", 0), make_record("flaky", 1, status="diverged", reason="loss is nan")]
    records += [make_record("broken", b, status="error", reason="raised") for b in range(3)]
    for record in records:
        if "cost" in record:
            record["cost"]["flops_share"] = 1.0
    return records


def test_the_table_fits_eighty_columns_and_no_name_is_cut(everything):
    text = show(everything)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    for name in (*METHODS, "flaky", "broken"):
        assert name in text
    for preset in ("(published-class)", "(authors-code-2024)", "(custom)"):
        assert preset in text


def test_a_method_with_a_preset_keeps_its_whole_name():
    text = show(make_row("gradient_ascent", method__preset="published-class"))
    lines = [line for line in text.splitlines() if "gradient_ascent" in line or "(published-class)" in line]
    assert len(lines) == 2
    assert "…" not in text


def test_even_a_name_without_end_is_folded_instead_of_cut():
    name = "a_method_whose_author_could_not_stop_naming_it_" * 2
    text = show(make_row(name, 3))
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert name in joined(text)


def test_every_standing_has_a_short_form_and_failures_show_their_counts(everything):
    text = show(everything)
    flaky = next(line for line in text.splitlines() if "flaky" in line)
    assert flaky.split()[0] == "fail"
    assert "diverged:1" in text
    assert "ok:1" in text
    assert "error:3" in text
    own_values = show(make_row("salun", original_sha256="c" * 64) + make_row("salun", data__non_member_share=0.0))
    assert "cust." in own_values
    assert "ctrl." in own_values
    unpaired = make_row("finetune") + make_row("l1_sparse") + [make_record("salun", b) for b in range(5, 15)]
    assert "unp." in show(unpaired)
    for short in SHORT.values():
        assert short in LEGEND


def test_cells_are_percent_with_verdict_and_interval():
    records = make_row("salun", 10)
    for record in records:
        for scores in (record["metrics"], *record["references"]["retrain"]):
            scores |= {"ua": 0.104, "ra": 0.997, "ta": 0.9, "mia_svc": 0.25}
        record["metrics"] |= {"ra": 0.5, "mia_loss_auc": 0.512}
    (line,) = [line for line in show(records).splitlines() if "salun" in line]
    assert line.split() == [
        "1", "salun", "10", "10.4", "=", "50.0", "≠", "90.0", "=", "25.0", "=", "12.4", "±0.0", "51.2", "25.0",
    ]  # fmt: skip


def test_what_is_not_there_is_a_dash():
    (line,) = [
        line
        for line in show([make_record("salun", 0, status="error", reason="raised")]).splitlines()
        if "salun" in line
    ]
    assert line.split() == ["fail", "salun", "0", *["-"] * 7]


def test_original_retrains_and_null_stand_on_top(everything):
    lines = show(everything).splitlines()
    assert lines[0].strip() == "bloodmini · cnn-small · cpu · none · random:0.1: own runs"
    assert lines[3].split()[0] == "Original"
    assert lines[4].split()[:3] == ["2", "Retrains", "10"]
    assert lines[4].split()[-2] == "null"


def test_the_references_on_top_come_from_a_row_that_has_means():
    failed = make_row("salun", 6)
    failed[5] = make_record("salun", 5, status="error", reason="raised")
    lines = show(failed + make_row("finetune", 3)).splitlines()
    assert "-" not in lines[3]
    assert lines[3].split()[:2] == ["Original", "3"]


def test_published_rows_stand_in_a_table_of_their_own_below():
    text = show(make_row("salun", 3), published=make_row("finetune", 10, retrains=3))
    own, published = text.split(": published")
    assert "salun" in own
    assert "finetune" not in own
    assert "finetune" in published
    assert "3 Retrains" in published


def test_only_the_settings_that_were_run_are_shown():
    own = make_row("salun", 3) + make_row("salun", 3, scenario="class:6")
    text = show(own, shown=own[:3])
    assert "random:0.1" in text
    assert "class:6" not in text


@pytest.mark.parametrize(
    "changes", [{"data__sha256": "b" * 64}, {"retrains": 3}, {"protocol_version": 2}, {"recipe__lr": 0.2}]
)
def test_rows_that_look_alike_but_do_not_compete_stand_in_tables_of_their_own(changes):
    text = show(make_row("salun", 3) + make_row("finetune", 3, **changes))
    first, second = text.split("own runs")[1:]
    assert ("salun" in first) != ("salun" in second)
    assert ("finetune" in first) != ("finetune" in second)
    assert text.count("setting") == 2


def test_names_that_look_like_markup_are_shown_as_they_are():
    text = show(make_row("[bold]x[/]", 3, scenario="ids:[red]", method__preset=":bug:"))
    assert "[bold]x[/]" in text
    assert "ids:[red]" in text
    assert ":bug:" in text


def test_the_legend_explains_every_mark():
    for mark in ("=", "≠", "?", "±", "UA", "RA", "TA", "MIA", "Gap", "AUC", "Cost"):
        assert mark in LEGEND
