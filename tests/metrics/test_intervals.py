import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metrics.declaration import Unresolved
from metrics.intervals import clopper_pearson, holm, paired_t, t_interval, verdict

p_value_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


# t-intervals


@pytest.mark.parametrize("confidence", [0.90, 0.95, 0.99])
def test_the_t_interval_agrees_with_scipy(confidence):
    sample = np.random.default_rng(0).normal(size=10)
    expected = stats.ttest_1samp(sample, 0).confidence_interval(confidence)
    assert t_interval(sample, confidence) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("blocks", [3, 10])
def test_the_t_interval_holds_the_true_mean_as_often_as_it_says(blocks):
    samples = np.random.default_rng(0).normal(0.3, 0.1, size=(3000, blocks))
    covered = [low <= 0.3 <= high for low, high in map(t_interval, samples)]
    assert 0.93 <= np.mean(covered) <= 0.97


def test_blocks_that_all_agree_give_an_interval_without_width():
    assert t_interval([0.1, 0.1, 0.1]) == pytest.approx((0.1, 0.1), abs=1e-15)


def test_one_block_has_no_interval():
    with pytest.raises(Unresolved, match="1 block"):
        t_interval([0.5])


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_is_a_fraction(confidence):
    with pytest.raises(ValueError, match="confidence"):
        t_interval([0.1, 0.2], confidence)


# Clopper-Pearson


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (1, 20), (10, 20), (20, 20), (50, 1195)])
def test_the_clopper_pearson_interval_agrees_with_scipy(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="exact")
    assert clopper_pearson(successes, trials) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("rate", [0.003, 0.05, 0.3, 0.5, 0.97])
@pytest.mark.parametrize("trials", [15, 100])
def test_the_clopper_pearson_interval_never_covers_less_often_than_it_says(rate, trials):
    counts = np.arange(trials + 1)
    intervals = [clopper_pearson(int(count), trials) for count in counts]
    covers = np.array([low <= rate <= high for low, high in intervals])
    assert stats.binom.pmf(counts, trials, rate)[covers].sum() >= 0.95


def test_no_trial_has_no_interval_and_impossible_counts_are_refused():
    with pytest.raises(Unresolved):
        clopper_pearson(0, 0)
    for successes in (-1, 6):
        with pytest.raises(ValueError, match="in 5 trials"):
            clopper_pearson(successes, 5)


# verdicts


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([0.0, 0.0, 0.0], "matches"),
        ([0.001, -0.002, 0.001, 0.0, -0.001], "matches"),
        ([0.010, 0.011, 0.009, 0.010], "matches"),  # certain, but smaller than the margin
        ([0.05, 0.05, 0.05], "differs"),
        ([-0.050, -0.055, -0.045, -0.052], "differs"),
        ([0.021, 0.022, 0.0215, 0.0205], "differs"),
        ([0.10, -0.10, 0.05, -0.04], "undetermined"),
        ([0.00, 0.04], "undetermined"),
        ([0.015, 0.030, 0.045], "undetermined"),  # the 90 % interval excludes 0, the 95 % one does not
        ([0.0], "undetermined"),
        ([], "undetermined"),
    ],
)
def test_the_verdict_weighs_equivalence_before_difference(differences, expected):
    assert verdict(differences) == expected


def test_the_margin_is_two_points_unless_another_is_given():
    assert verdict([0.03, 0.031, 0.029, 0.03]) == "differs"
    assert verdict([0.03, 0.031, 0.029, 0.03], margin=0.05) == "matches"


def test_a_method_at_the_margin_is_said_to_match_in_at_most_one_of_twenty_cases():
    samples = np.random.default_rng(0).normal(0.02, 0.01, size=(2000, 10))
    assert np.mean([verdict(sample) == "matches" for sample in samples]) == pytest.approx(0.05, abs=0.015)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_the_verdict_knows_neither_the_order_nor_the_sign_of_the_differences(differences):
    assert verdict(differences) == verdict(sorted(differences)) == verdict(-np.array(differences))


# tests of a family


def test_the_paired_test_agrees_with_scipy():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=8), generator.normal(0.3, size=8)
    assert paired_t(first, second) == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_identical_results_are_no_evidence_and_a_constant_shift_is_full_evidence():
    results = np.array([0.5, 0.75, 0.25])
    assert paired_t(results, results) == 1
    assert paired_t(results, results + 0.125) == 0


def test_a_paired_test_needs_two_pairs_of_equal_number():
    with pytest.raises(Unresolved):
        paired_t([0.5], [0.4])
    with pytest.raises(ValueError, match="paired"):
        paired_t([0.5, 0.4], [0.4])


def test_holm_on_an_example_worked_by_hand():
    """Sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1; the last is lifted to the third."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@settings(max_examples=60, deadline=None)
@given(p_value_lists)
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values):
    raw, adjusted = np.array(p_values), holm(p_values)
    assert (raw <= adjusted).all()
    assert (adjusted <= np.minimum(raw * len(raw), 1)).all()
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()


def test_holm_of_no_test_is_empty_and_a_p_value_is_a_fraction():
    assert holm([]).tolist() == []
    with pytest.raises(ValueError, match="p-values"):
        holm([0.5, 1.5])
