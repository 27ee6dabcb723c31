import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from metrics import epsilon
from metrics.declaration import Unresolved
from metrics.epsilon import eps_lower_bound

seeds = st.integers(0, 2**32 - 1)


def gaussians(seed, images=1, models=400, retrains=None, shift=1.0):
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, (images, models)), generator.normal(0, 1, (images, retrains or models))


def gaussian_epsilon(shift, delta):
    """The epsilon of two Gaussians of variance 1: delta = F(m/2 - e/m) - exp(e) F(-m/2 - e/m).

    Source: Balle and Wang, Improving the Gaussian Mechanism for Differential Privacy, ICML 2018, theorem 8.
    """

    def excess(value):
        first, second = stats.norm.cdf([shift / 2 - value / shift, -shift / 2 - value / shift])
        return first - math.exp(value) * second - delta

    return optimize.brentq(excess, 0, 50)


def restated(unlearned, retrained, confidence, delta):
    """The bound of one image, rule by rule: every interval and complement, chosen on one half, judged on the other."""
    tail = (1 - confidence) / 2

    def rates(margins, inside):
        hits, trials = sum(map(inside, margins)), len(margins)
        low = stats.beta.ppf(tail, hits, trials - hits + 1) if hits else 0.0
        high = stats.beta.ppf(1 - tail, hits + 1, trials - hits) if hits < trials else 1.0
        return low, high

    def shown(numerator, denominator, inside):
        low, high = rates(numerator, inside)[0], rates(denominator, inside)[1]
        return math.log((low - delta) / high) if low > delta else -math.inf

    def bound_of(rule, unlearned, retrained):
        low, high, outside, reverse = rule
        sides = (retrained, unlearned) if reverse else (unlearned, retrained)
        return shown(*sides, lambda margin: (low < margin <= high) != outside)

    half, half_of_retrained = len(unlearned) // 2, len(retrained) // 2
    chosen = unlearned[:half], retrained[:half_of_retrained]
    judged = unlearned[half:], retrained[half_of_retrained:]
    values = sorted({*chosen[0], *chosen[1]})
    cuts = [-math.inf, *((a + b) / 2 for a, b in pairwise(values)), math.inf]
    rules = [(*ends, outside, reverse) for ends in combinations(cuts, 2) for outside in (0, 1) for reverse in (0, 1)]
    scores = [bound_of(rule, *chosen) for rule in rules]
    best = max(scores)
    return best, {max(bound_of(rule, *judged), 0.0) for rule, score in zip(rules, scores, strict=True) if score == best}


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from([0.0, 0.7, 3.0]), st.sampled_from([(10, 10), (9, 12), (7, 16)]), st.booleans())
def test_the_sweep_finds_what_trying_every_rule_finds_ties_included(seed, shift, models, tied):
    unlearned, retrained = gaussians(seed, 1, *models, shift=shift)
    if tied:
        unlearned, retrained = unlearned.round(), retrained.round()
    half, half_of_retrained = (count // 2 for count in models)
    table = epsilon._bounds(half, half_of_retrained, 0.5, 0.01)
    event = epsilon._most_telling(unlearned[:, :half], retrained[:, :half_of_retrained], table)
    best, possible = restated(unlearned[0], retrained[0], 0.5, 0.01)
    assert event.score[0] == pytest.approx(best)
    found = eps_lower_bound(unlearned, retrained, confidence=0.5, delta=0.01).per_sample[0]
    assert any(found == pytest.approx(each) for each in possible)


def expected_bound(shift, delta, models):
    """What the best threshold between two Gaussians shows where exactly the expected shares of the models pass it."""
    share = stats.norm.sf(np.linspace(-2, 4, 601) - shift), stats.norm.sf(np.linspace(-2, 4, 601))
    above, below = (np.round(models / 2 * each).astype(int) for each in share)
    return epsilon._bounds(models // 2, models // 2, 0.95, delta)[0, above, below].max()


@pytest.mark.parametrize(("shift", "delta"), [(1.0, 0.05), (2.0, 0.2), (2.0, 1e-5)])
def test_bounds_of_gaussian_margins_lie_below_the_closed_form_where_the_best_threshold_puts_them(shift, delta):
    bounds = [eps_lower_bound(*gaussians(seed, 1, 2000, shift=shift), delta=delta).bound for seed in range(9)]
    assert max(bounds) <= gaussian_epsilon(shift, delta)
    assert np.mean(bounds) == pytest.approx(expected_bound(shift, delta, 2000), abs=0.3)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_all_bounds_together_are_wrong_in_at_most_one_of_twenty_cases(shift):
    truth = gaussian_epsilon(shift, 0.2) if shift else 0.0
    bounds = [eps_lower_bound(*gaussians(seed, 8, 64, shift=shift), delta=0.2).bound for seed in range(300)]
    assert np.mean(np.array(bounds) > truth) <= 0.05


def test_sides_that_never_overlap_get_the_resolution_which_follows_from_the_numbers_alone():
    unlearned, retrained = gaussians(0, 5, 32, 64, shift=100)
    found = eps_lower_bound(unlearned, retrained)
    tail = 0.05 / 10
    expected = math.log((tail ** (1 / 16) - 1e-5) / (1 - tail ** (1 / 32)))
    assert found.resolution == pytest.approx(expected)
    assert found.per_sample == pytest.approx([expected] * 5)
    assert found.bound == found.per_sample.max()
    assert eps_lower_bound(*gaussians(1, 5, 32, 64, shift=0)).resolution == found.resolution


@pytest.mark.parametrize("models", [40, 100, 400])
def test_more_models_resolve_more_and_more_images_less(models):
    def resolution(images, count):
        return eps_lower_bound(*gaussians(0, images, count)).resolution

    assert resolution(2, 2 * models) > resolution(2, models) > resolution(20, models)


def test_what_only_an_interval_can_tell_is_found_from_either_side():
    """Margins of equal mean, one side narrow: within an interval it is more frequent, outside of it the other."""
    generator = np.random.default_rng(0)
    narrow, wide = generator.normal(0, 0.01, (1, 400)), generator.normal(0, 1, (1, 400))
    for pair in [(narrow, wide), (wide, narrow)]:
        found = eps_lower_bound(*pair)
        assert found.bound > 0.8 * found.resolution


def test_testing_only_the_most_exposed_image_gives_it_more_confidence_and_the_others_no_bound():
    unlearned, retrained = gaussians(0, 50, 64, shift=0)
    unlearned[17] += 100
    alone, all_of_them = eps_lower_bound(unlearned, retrained, tested=1), eps_lower_bound(unlearned, retrained)
    assert alone.bound == alone.per_sample[17] == alone.resolution > all_of_them.bound == all_of_them.resolution
    assert np.flatnonzero(alone.per_sample).tolist() == [17]


def test_images_are_swept_in_chunks_without_a_trace(monkeypatch):
    sides = gaussians(0, 23, 64, shift=3)
    whole = eps_lower_bound(*sides)
    monkeypatch.setattr(epsilon, "CHUNK", 5)
    assert eps_lower_bound(*sides).per_sample.tolist() == whole.per_sample.tolist()


@pytest.mark.parametrize(("models", "reason"), [(10, "are too few for 100 images"), (1, "in one half")])
def test_so_few_models_that_nothing_can_be_shown_are_no_bound_of_zero(models, reason):
    with pytest.raises(Unresolved, match=reason):
        eps_lower_bound(*gaussians(0, 100, models, shift=1000))


def test_no_image_has_no_bound_and_impossible_settings_are_refused():
    with pytest.raises(Unresolved, match="no images"):
        eps_lower_bound(*gaussians(0, 0))
    with pytest.raises(ValueError, match="5 and of 4 images"):
        eps_lower_bound(gaussians(0, 5)[0], gaussians(0, 4)[1])
    for setting in (
        {"confidence": 95},
        {"confidence": 0},
        {"delta": 1.0},
        {"delta": -0.1},
        {"tested": 0},
        {"tested": 3},
    ):
        with pytest.raises(ValueError, match="must be in"):
            eps_lower_bound(*gaussians(0, 2), **setting)
