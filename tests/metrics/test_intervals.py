import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metrics import intervals
from metrics.declaration import Unresolved
from metrics.intervals import bootstrap_interval, clopper_pearson, holm, paired_t, t_interval, verdict

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


# the bootstrap


def coverage(samples, truth, groups=None):
    intervals_found = [bootstrap_interval(sample, groups, seed=0, draws=999) for sample in samples]
    return np.mean([low <= truth <= high for low, high in intervals_found])


@pytest.mark.parametrize("size", [10, 20, 50])
@pytest.mark.parametrize("distribution", ["normal", "exponential", "beta"])
def test_a_bootstrap_interval_of_95_percent_holds_the_true_mean_in_93_to_97_of_a_hundred_cases(distribution, size):
    generator = np.random.default_rng(2)
    draw, truth = {
        "normal": (lambda: generator.normal(0.3, 0.1, (1000, size)), 0.3),
        "exponential": (lambda: generator.exponential(1, (1000, size)), 1.0),
        "beta": (lambda: generator.beta(2, 8, (1000, size)), 0.2),
    }[distribution]
    assert 0.93 <= coverage(draw(), truth) <= 0.97


def test_with_five_groups_it_still_holds_the_mean_of_normal_values():
    assert 0.93 <= coverage(np.random.default_rng(0).normal(size=(1000, 5)), 0) <= 0.97


@pytest.mark.parametrize("sizes", [[20] * 12, [5, 10, 15, 20, 25, 30] * 3])
def test_values_of_one_group_are_drawn_together_whatever_its_size(sizes):
    """Images of a patient share an effect as large as their own spread; alone they would seem many times as sure."""
    generator, groups = np.random.default_rng(0), np.repeat(np.arange(len(sizes)), sizes)
    effects = generator.normal(size=(1000, len(sizes)))[:, groups]
    samples = effects + generator.normal(size=effects.shape)
    assert 0.93 <= coverage(samples, 0, groups) <= 0.97
    assert coverage(samples[:100], 0) < 0.7


def test_many_values_get_the_t_interval_and_a_seed_gives_one_interval():
    sample = np.random.default_rng(0).normal(size=2000)
    found = bootstrap_interval(sample, seed=0)
    assert found == pytest.approx(t_interval(sample), abs=0.004)
    assert found == bootstrap_interval(sample, seed=0) != bootstrap_interval(sample, seed=1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_the_interval_moves_and_grows_with_the_values(seed, scale, shift):
    sample = np.random.default_rng(seed).normal(size=8)
    low, high = bootstrap_interval(sample, seed=seed)
    assert bootstrap_interval(scale * sample + shift, seed=seed) == pytest.approx(
        (scale * low + shift, scale * high + shift), rel=1e-6, abs=1e-6
    )


def test_names_and_order_of_the_groups_do_not_matter():
    sample = np.arange(30.0) ** 2
    groups = np.arange(30) // 5
    assert bootstrap_interval(sample, groups * 7 + 3, seed=0) == bootstrap_interval(sample, groups, seed=0)


def test_draws_in_batches_are_the_draws_of_one(monkeypatch):
    sample = np.random.default_rng(0).normal(size=10)
    whole = bootstrap_interval(sample, seed=0, draws=500)
    monkeypatch.setattr(intervals, "_CELLS", 35)
    assert bootstrap_interval(sample, seed=0, draws=500) == pytest.approx(whole)


def test_equal_values_give_a_bootstrap_interval_without_width_and_nearly_equal_ones_none():
    assert bootstrap_interval([0.1] * 5, seed=0) == pytest.approx((0.1, 0.1))
    with pytest.raises(Unresolved, match="too few different values"):
        bootstrap_interval([0.1] * 9 + [0.2], seed=0)


def test_four_groups_are_too_few_for_a_bootstrap_however_many_values_they_have():
    with pytest.raises(Unresolved, match="4 group"):
        bootstrap_interval(np.arange(40.0), np.arange(40) % 4, seed=0)
    with pytest.raises(Unresolved, match="no values"):
        bootstrap_interval([], seed=0)
    with pytest.raises(ValueError, match="40 values, but 39 groups"):
        bootstrap_interval(np.arange(40.0), np.arange(39), seed=0)


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
