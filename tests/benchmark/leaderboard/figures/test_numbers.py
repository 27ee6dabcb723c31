"""What the figures of the unlearning track show is what the CSV says."""

import numpy as np
import pytest

from benchmark.leaderboard.figures import cost, figures, forest, roc, tradeoff
from benchmark.leaderboard.table import leaderboard
from metrics.intervals import t_interval
from tests.benchmark.leaderboard.factory import make_record, make_row
from tests.benchmark.leaderboard.figures.figure_factory import COSTS, whole_setting, with_curves

METHODS = ["finetune", "salun", "gradient_ascent"]

pytestmark = pytest.mark.usefixtures("style")


def table(records):
    return leaderboard(records).set_index("method")


def points(axes, marker):
    """Where a marker stands."""
    return [tuple(np.concatenate(line.get_data())) for line in axes.lines if line.get_marker() == marker]


def segments(axes):
    """Ends of all straight lines between two points."""
    return [line.get_xydata().tolist() for line in axes.lines if len(line.get_xydata()) == 2]


def marker_of(comparison, method):
    return next(row.look.marker for row in comparison.rows if row.group.method == method)


def words(drawing):
    return [text.get_text() for axes in drawing.canvas.axes for text in axes.texts]


# forgetting against test accuracy


@pytest.mark.parametrize("method", METHODS)
def test_a_method_stands_at_its_error_and_accuracy_with_both_intervals(comparison, method):
    records = whole_setting()
    found, row = (
        comparison(records),
        100 * table(records).loc[method, ["ua", "ua_low", "ua_high", "ta", "ta_low", "ta_high"]],
    )
    (axes, *_) = tradeoff.draw(found).canvas.axes
    assert points(axes, marker_of(found, method)) == [pytest.approx((row["ua"], row["ta"]))]
    assert any(np.allclose(one, [[row["ua_low"], row["ta"]], [row["ua_high"], row["ta"]]]) for one in segments(axes))
    assert any(np.allclose(one, [[row["ua"], row["ta_low"]], [row["ua"], row["ta_high"]]]) for one in segments(axes))


def test_the_lines_cross_at_retrain_and_original_is_there_too(comparison):
    records = whole_setting()
    (axes, *_) = tradeoff.draw(comparison(records)).canvas.axes
    row = 100 * table(records).iloc[0][["retrain_ua", "retrain_ta", "original_ua", "original_ta"]].astype(float)
    across = [line.get_xdata()[0] for line in axes.lines if list(line.get_ydata()) == [0, 1]]
    assert across == [pytest.approx(row["retrain_ua"])]
    assert points(axes, "*") == [pytest.approx((row["original_ua"], row["original_ta"]))]


def test_the_band_of_retrain_is_the_interval_of_its_means_over_blocks(comparison):
    records = make_row("finetune")
    (axes, *_) = tradeoff.draw(comparison(records)).canvas.axes
    means = [np.mean([scores["ua"] for scores in record["references"]["retrain"]]) for record in records]
    low, high = t_interval(means)
    band = axes.patches[0].get_window_extent().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((100 * low, 100 * high))


def test_methods_that_crowd_in_a_corner_get_a_panel_of_their_own(comparison):
    near = [record for error in (0.0, 0.01, 0.02) for record in make_row(f"near_{error}", error=error)]
    assert len(tradeoff.draw(comparison(near)).canvas.axes) == 1
    far = [record for number in (0, 1) for record in make_row(f"far_{number}", error=-0.5 + number / 10)]
    first, second = tradeoff.draw(comparison(near + far)).canvas.axes
    assert second.get_xlim()[1] - second.get_xlim()[0] < 0.5 * (first.get_xlim()[1] - first.get_xlim()[0])


# cost


@pytest.mark.parametrize("method", METHODS)
def test_cost_and_gap_are_those_of_the_table(comparison, method):
    records = whole_setting()
    found = comparison(records)
    (axes,) = cost.draw(found).canvas.axes
    expected = (100 * COSTS[method], 100 * table(records).loc[method, "avg_gap"])
    assert points(axes, marker_of(found, method)) == [pytest.approx(expected)]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")


def test_the_lines_are_the_null_and_the_gap_of_doing_nothing(comparison):
    records = whole_setting()
    drawn = cost.draw(comparison(records))
    (axes,) = drawn.canvas.axes
    levels = [line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    rows = table(records)
    expected = [100 * rows["avg_gap_null"].iloc[0], 100 * rows.loc["original", "avg_gap"]]
    assert levels == pytest.approx(expected)
    assert words(drawn) == ["Original", "null"]  # from top to bottom
    assert "null {:.1f}, Original {:.1f}".format(*expected) in drawn.description


def test_a_method_without_a_known_cost_has_no_place_in_the_figure_of_costs(comparison):
    records = [*make_row("finetune"), *make_row("salun")]
    for record in records[:10]:
        record["cost"]["flops_share"] = None
    assert "of 1 of 2 methods" in cost.draw(comparison(records)).description
    for record in records:
        record["cost"]["flops_share"] = None
    assert cost.draw(comparison(records)) is None


# gaps and nulls


def test_the_forest_has_a_line_for_each_row_by_rank_and_prints_its_numbers(comparison):
    records = whole_setting()
    drawn = forest.draw(comparison(records))
    (axes,) = drawn.canvas.axes
    rows = 100 * table(records)[["avg_gap", "avg_gap_low", "avg_gap_high"]]
    order = [*METHODS, "retrain", "original"]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["1. finetune", "2. salun", "3. gradient_ascent", "retrain", "original"]
    expected = ["{:.1f} [{:.1f}, {:.1f}]".format(*rows.loc[method]) for method in order]
    assert words(drawn) == ["null", *expected]
    for height, method in enumerate(order):
        low, high = rows.loc[method, ["avg_gap_low", "avg_gap_high"]]
        assert any(np.allclose(one, [[low, height], [high, height]]) for one in segments(axes))


def test_every_row_stands_before_its_own_null(comparison):
    records = whole_setting()
    (axes,) = forest.draw(comparison(records)).canvas.axes
    null = 100 * table(records)["avg_gap_null"].iloc[0]
    for height in range(5):
        assert any(np.allclose(one, [[null, height - 0.5], [null, height + 0.5]]) for one in segments(axes))


def test_with_one_retrain_there_is_no_null_to_show(comparison):
    drawn = forest.draw(comparison(make_row("finetune", retrains=1)))
    assert "null" not in words(drawn)
    assert "The null" not in drawn.description


def test_with_one_block_there_is_a_point_without_an_interval(comparison):
    (axes,) = forest.draw(comparison([make_record("finetune")])).canvas.axes
    gap = 100 * table([make_record("finetune")]).loc["finetune", "avg_gap"]
    assert any(np.allclose(one, [[gap, 0], [gap, 0]]) for one in segments(axes))


# membership


def curve(axes, number):
    return axes.lines[number].get_ydata()


def test_a_curve_is_the_mean_over_blocks_and_models_and_the_lower_panel_divides_it_by_the_diagonal(comparison):
    records = with_curves(make_row("finetune"))
    upper, lower = roc.draw(comparison(records)).canvas.axes
    kept = [record["curves"]["roc"] for record in records]
    false = 100 * np.array(kept[0]["fpr"])
    expected = [
        false,
        100 * np.mean([one["retrain"] for one in kept], axis=(0, 1)),
        100 * np.mean([one["original"] for one in kept], axis=0),
        100 * np.mean([one["model"] for one in kept], axis=0),
    ]
    for number, rates in enumerate(expected):  # the diagonal, Retrain, Original, the method
        assert upper.lines[number].get_xdata() == pytest.approx(false)
        assert curve(upper, number) == pytest.approx(rates)
        assert curve(lower, number) == pytest.approx(rates / false)
    assert {axes.get_xscale() for axes in (upper, lower)} == {axes.get_yscale() for axes in (upper, lower)} == {"log"}


def test_no_rate_is_shown_below_what_the_sample_resolves(comparison):
    (upper, _) = roc.draw(comparison(with_curves(make_row("finetune"), non_members=200))).canvas.axes
    assert upper.get_xlim() == pytest.approx((5, 100))
    assert min(line.get_xdata().min() for line in upper.lines) == pytest.approx(5)


def test_old_records_without_curves_have_every_figure_but_the_roc():
    records = whole_setting()
    for record in records:
        del record["curves"]
    assert [figure.title for figure in figures(records)] == [
        "Forgetting against test accuracy", "Gaps to Retrain and their null", "Cost against the gap to Retrain",
    ]  # fmt: skip


@pytest.mark.parametrize("spoil", [lambda record: record.pop("curves"), lambda record: record["curves"].clear()])
def test_a_method_has_no_curve_unless_all_of_its_blocks_have_one(comparison, spoil):
    finetune, salun = with_curves(make_row("finetune")), with_curves(make_row("salun"))
    spoil(salun[3])
    drawn = roc.draw(comparison(finetune + salun))
    assert [text.get_text() for text in drawn.canvas.legends[0].get_texts()] == ["Retrain", "Original", "finetune"]


# descriptions


def test_descriptions_give_the_numbers_of_the_table():
    records = with_curves(whole_setting())
    row, found = 100 * table(records).loc["finetune"][["ua", "ta", "avg_gap"]], figures(records)
    said = {figure.title: figure.description.replace("\u00a0", " ") for figure in found}
    assert f"finetune: {row['ua']:.1f} % and {row['ta']:.1f} %" in said["Forgetting against test accuracy"]
    assert f"from finetune with {row['avg_gap']:.1f} points" in said["Gaps to Retrain and their null"]
    assert f"finetune: {row['avg_gap']:.1f} points at 30 % of" in said["Cost against the gap to Retrain"]
    assert "At 10.0 % false positives: Retrain" in said["Membership ROC"]
    assert not any("nan" in text.split() for text in said.values())


def test_a_table_that_is_already_made_gives_the_same_figures():
    records = with_curves(whole_setting()) + make_row("salun", scenario="class:1")
    assert figures(records, leaderboard(records)) == figures(records)
