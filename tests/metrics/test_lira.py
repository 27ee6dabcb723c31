import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import softmax

from metrics.declaration import Unresolved
from metrics.intervals import t_interval
from metrics.lira import SMALLEST_SPREAD, lira_offline, lira_online, u_lira
from metrics.membership import attack_auc, cross_entropy, log_odds, tpr_at_fpr
from metrics.roc import membership_roc

seeds = st.integers(0, 2**32 - 1)
spreads = ("pooled", "shared", "per-sample")
centers = {"median": np.median, "mean": np.mean}


def pairs(generator: np.random.Generator, images: int, models: int) -> np.ndarray:
    """Which model was trained on which image: each pair of models shares the images out between its two."""
    first = generator.random((images, models // 2)) < 0.5
    return np.stack([first, ~first], axis=2).reshape(images, models)


def pool(generator, images, models, gain=1.0, spread=1.0):
    """Log-odds of all images under all models, and who was trained on what; gains and spreads may differ by image."""
    members = pairs(generator, images, models)
    usual = generator.normal(2.0, 2.0, (images, 1)) + np.reshape(gain, (-1, 1)) * members
    return usual + np.reshape(spread, (-1, 1)) * generator.normal(size=members.shape), members


def attacked(attack, log_odds, members, targets, **options):
    """(member scores, non-member scores) of the first model of each of the first pairs, by the pairs that are left."""
    found = []
    for target in range(0, 2 * targets, 2):
        scores = attack(log_odds[:, target], log_odds[:, 2 * targets :], members[:, 2 * targets :], **options)
        found.append((scores[members[:, target]], scores[~members[:, target]]))
    return found


def literal_lira(observed, shadows, members, spread, center):
    """Both scores of the docstring, one image after the other, with the normal distributions of scipy."""
    inside = [row[member] for row, member in zip(shadows, members, strict=True)]
    outside = [row[~member] for row, member in zip(shadows, members, strict=True)]

    def deviations(side):
        if spread == "per-sample":
            return [np.std(values, ddof=1) for values in side]
        squares = sum(((values - values.mean()) ** 2).sum() for values in side)
        return [np.sqrt(squares / sum(len(values) - 1 for values in side))] * len(side)

    deviations_in, deviations_out = deviations(inside), deviations(outside)
    if spread == "shared":
        deviations_out = deviations_in
    online, offline = [], []
    for image, value in enumerate(observed):
        of_members = stats.norm(centers[center](inside[image]), deviations_in[image])
        of_others = stats.norm(centers[center](outside[image]), deviations_out[image])
        online.append(of_members.logpdf(value) - of_others.logpdf(value))
        offline.append(-of_others.logsf(value))
    return np.array(online), np.array(offline)


# the statistic


@pytest.mark.parametrize("classes", [2, 7])
def test_log_odds_are_those_of_the_softmax(classes):
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(50, classes)), generator.integers(0, classes, 50)
    p = softmax(logits, axis=1)[np.arange(50), labels]
    assert log_odds(logits, labels) == pytest.approx(np.log(p) - np.log(1 - p))


def test_log_odds_of_a_very_confident_model_stay_apart():
    assert log_odds([[40.0, 0.0], [60.0, 0.0], [0.0, 90.0]], [0, 0, 0]).tolist() == [40, 60, -90]


def test_the_loss_is_a_function_of_the_log_odds():
    generator = np.random.default_rng(0)
    logits, labels = 10 * generator.normal(size=(50, 7)), generator.integers(0, 7, 50)
    assert cross_entropy(logits, labels) == pytest.approx(np.log1p(np.exp(-log_odds(logits, labels))))


# the formulas


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from(spreads), st.sampled_from(tuple(centers)), st.sampled_from([6, 8, 10]))
def test_the_scores_are_the_formulas_written_out_image_by_image(seed, spread, center, models):
    generator = np.random.default_rng(seed)
    log_odds, members = pool(generator, 12, models, spread=generator.uniform(0.5, 2, 12))
    observed, shadows, members = log_odds[:, 0], log_odds[:, 1:], members[:, 1:]  # an odd number: IN and OUT differ
    online, offline = literal_lira(observed, shadows, members, spread, center)
    assert lira_online(observed, shadows, members, spread=spread, center=center) == pytest.approx(online)
    if spread != "shared":
        scores = lira_offline(observed, shadows, members, spread=spread, center=center)
        assert -stats.norm.logsf(scores) == pytest.approx(offline)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_score_is_turned_round_when_in_and_out_change_places(seed):
    generator = np.random.default_rng(seed)
    shadows, members = pool(generator, 20, 8)
    for spread in ("pooled", "per-sample"):
        scores = lira_online(shadows[:, 0], shadows[:, 1:], members[:, 1:], spread=spread)
        assert lira_online(shadows[:, 0], shadows[:, 1:], ~members[:, 1:], spread=spread) == pytest.approx(-scores)


def test_an_image_is_judged_by_its_own_shadows_and_their_order_does_not_count():
    generator = np.random.default_rng(0)
    shadows, members = pool(generator, 50, 64)
    observed, order = generator.normal(size=50), generator.permutation(64)
    scores = lira_online(observed, shadows, members)
    assert lira_online(observed, shadows[:, order], members[:, order]) == pytest.approx(scores)
    assert lira_online(observed[7:9], shadows[7:9], members[7:9]) == pytest.approx(scores[7:9])


@pytest.mark.parametrize(("models", "spread"), [(62, "pooled"), (64, "per-sample")])
def test_spreads_are_pooled_below_64_shadows_and_per_sample_from_there(models, spread):
    generator = np.random.default_rng(0)
    shadows, members = pool(generator, 30, models, spread=generator.uniform(0.5, 2, 30))
    observed = generator.normal(size=30)
    for attack in (lira_online, lira_offline):
        given_by_name = attack(observed, shadows, members, spread=spread)
        assert attack(observed, shadows, members).tolist() == given_by_name.tolist()


def test_shadows_that_all_agree_give_large_scores_that_are_still_numbers():
    members = np.tile([True, False, True, False], (3, 1))
    shadows = np.where(members, 5.0, 4.0)
    scores = lira_online([5.0, 4.0, 4.5], shadows, members, spread="per-sample")
    assert scores == pytest.approx(np.array([1, -1, 0]) * 0.5 / SMALLEST_SPREAD**2)


def test_float32_is_taken_and_scores_are_double_precision():
    generator = np.random.default_rng(0)
    shadows, members = pool(generator, 30, 8)
    single = lira_online(np.zeros(30, np.float32), shadows.astype(np.float32), members)
    assert single.dtype == np.float64
    assert single == pytest.approx(lira_online(np.zeros(30), shadows, members), abs=1e-5)


# closed forms


@pytest.mark.parametrize("gain", [0.5, 1.5])
@pytest.mark.parametrize("spread", spreads)
def test_two_gaussians_of_one_width_give_the_known_auc_and_rates(gain, spread):
    """Shadows whose means and spreads are exactly right; all images gain the same, so AUC = Phi(gain / sqrt 2)."""
    generator = np.random.default_rng(0)
    hardness, is_member = generator.normal(2, 2, (40_000, 1)), np.arange(40_000) < 20_000
    members = np.tile([True, True, False, False], (40_000, 1))
    shadows = hardness + gain * members + np.tile([np.sqrt(0.5), -np.sqrt(0.5)], 2)
    observed = hardness[:, 0] + gain * is_member + generator.normal(size=40_000)
    attacks = [lira_online] if spread == "shared" else [lira_online, lira_offline]
    for scores in (attack(observed, shadows, members, spread=spread) for attack in attacks):
        inside, outside = scores[is_member], scores[~is_member]
        assert attack_auc(inside, outside) == pytest.approx(stats.norm.cdf(gain / np.sqrt(2)), abs=0.01)
        for fpr in (0.1, 0.01):
            expected = stats.norm.sf(stats.norm.isf(fpr) - gain)
            assert tpr_at_fpr(inside, outside, fpr) == pytest.approx(expected, abs=0.015)
        curve = membership_roc(inside, outside)
        assert curve.tpr == pytest.approx(stats.norm.sf(stats.norm.isf(curve.fpr) - gain), abs=0.015)


def test_two_gaussians_of_two_widths_give_the_exact_log_ratio_online_and_only_the_upper_tail_offline():
    members = np.tile([True, True, False, False], (1, 1))
    shadows = np.array([[9.0, 11.0, -3.0, 3.0]])  # mean 10, variance 2; mean 0, variance 18
    assert lira_online([4.0], shadows, members, center="mean") == pytest.approx(
        stats.norm.logpdf(4, 10, np.sqrt(2)) - stats.norm.logpdf(4, 0, np.sqrt(18))
    )
    low, high = (lira_offline([value], shadows, members) for value in (-9.0, 9.0))
    assert (low, high) == (pytest.approx(-9 / np.sqrt(18)), pytest.approx(9 / np.sqrt(18)))


# what the literature says of it


@pytest.mark.parametrize("attack", [lira_online, lira_offline])
@pytest.mark.parametrize("spread", ["pooled", "per-sample"])
def test_on_exchangeable_data_the_auc_is_a_half_within_its_interval(attack, spread):
    log_odds, members = pool(np.random.default_rng(0), 1000, 40, gain=0.0)
    aucs = [attack_auc(*scores) for scores in attacked(attack, log_odds, members, 12, spread=spread)]
    low, high = t_interval(aucs, 0.99)
    assert low <= 0.5 <= high
    assert high - low < 0.045


@pytest.mark.parametrize(
    ("sigma", "shadows", "better", "worse"),
    [(0.2, 16, "pooled", "per-sample"), (0.2, 128, "per-sample", "pooled"), (0.5, 16, "per-sample", "pooled")],
)
def test_pooled_spreads_find_more_at_low_rates_from_few_shadows_if_images_are_about_equally_noisy(
    sigma, shadows, better, worse
):
    """Spreads are lognormal; gains are half-normal with scale 2: most images are hardly memorised, some are.

    With a sigma of 0.2, the noisiest twentieth of the images has twice the spread of the calmest. With one of 0.5 it
    has five times that, the noisy images are the false positives of a pooled spread, and 16 shadows are enough.
    """
    generator = np.random.default_rng(0)
    spread, gain = generator.lognormal(0, sigma, 5000), np.abs(generator.normal(0, 2, 5000))
    log_odds, members = pool(generator, 5000, shadows + 16, gain, spread)
    more, less = (
        np.array([tpr_at_fpr(*found, 0.01) for found in attacked(lira_online, log_odds, members, 8, spread=kind)])
        for kind in (better, worse)
    )
    low, _ = t_interval(more - less)
    assert low > 0


def test_an_attack_per_image_finds_what_one_threshold_for_all_images_does_not():
    """Images differ by 2 in how hard they are, and gain 1.5 from training."""
    log_odds, members = pool(np.random.default_rng(0), 4000, 18, gain=1.5)
    [found] = attacked(lira_online, log_odds, members, 1)
    target, inside = log_odds[:, 0], members[:, 0]
    assert attack_auc(*found) > attack_auc(target[inside], target[~inside]) + 0.1


# what it refuses


def test_an_image_without_an_in_or_an_out_shadow_has_no_score():
    members = np.array([[True, False, True, False], [True, True, True, True]])
    with pytest.raises(Unresolved, match="1 of 2 images have fewer than 1 OUT shadow"):
        lira_online(np.zeros(2), np.zeros((2, 4)), members)
    with pytest.raises(Unresolved, match="1 of 2 images have fewer than 1 IN shadow"):
        lira_online(np.zeros(2), np.zeros((2, 4)), ~members)
    assert lira_offline(np.zeros(2), np.eye(2, 4), ~members).shape == (2,)


def test_a_spread_needs_two_shadows_of_some_image_and_one_per_sample_needs_two_of_each():
    two = np.array([[True, False], [False, True]])
    with pytest.raises(Unresolved, match="no image has two IN shadows"):
        lira_online(np.zeros(2), np.zeros((2, 2)), two)
    with pytest.raises(Unresolved, match="2 of 2 images have fewer than 2 OUT"):
        lira_offline(np.zeros(2), np.zeros((2, 2)), two, spread="per-sample")


def test_what_does_not_fit_together_is_refused():
    members = np.tile([True, False], (3, 2))
    with pytest.raises(ValueError, match="2 images under the audited model, but 3"):
        lira_online(np.zeros(2), np.zeros((3, 4)), members)
    with pytest.raises(ValueError, match="members: expected bool"):
        lira_online(np.zeros(3), np.zeros((3, 4)), members.astype(int))
    with pytest.raises(ValueError, match="NaN or infinite"):
        lira_online([0, 0, np.inf], np.zeros((3, 4)), members)
    with pytest.raises(ValueError, match="'global' is none of pooled, shared, per-sample"):
        lira_online(np.zeros(3), np.zeros((3, 4)), members, spread="global")
    with pytest.raises(ValueError, match="'mode' is none of median, mean"):
        lira_online(np.zeros(3), np.zeros((3, 4)), members, center="mode")
    with pytest.raises(ValueError, match="'shared' is none of pooled, per-sample"):
        lira_offline(np.zeros(3), np.zeros((3, 4)), members, spread="shared")


# U-LiRA


def unlearned(generator, images=600, originals=6, per_original=4, leak=0.0, spread=1.0):
    """Arguments of `u_lira`: Originals in pairs, each trained on half; each run forgets about a quarter of it."""
    usual = generator.normal(2, 2, (images, 1))
    seen = np.repeat(pairs(generator, images, originals), per_original, axis=1)
    forgotten = seen & (generator.random(seen.shape) < 0.25)
    log_odds = usual + leak * forgotten + spread * generator.normal(size=seen.shape)
    log_odds[seen & ~forgotten] = np.nan
    return log_odds, forgotten, ~seen, np.arange(originals * per_original) // (2 * per_original)


@pytest.mark.parametrize("spread", spreads)
def test_u_lira_judges_each_original_by_lira_fitted_on_the_others(spread):
    log_odds, forgotten, unseen, originals = unlearned(np.random.default_rng(0), images=60)
    judged = u_lira(log_odds, forgotten, unseen, originals, spread=spread, center="mean")
    fewest = 2 if spread == "per-sample" else 1
    found = dict(zip(zip(judged.images.tolist(), judged.runs.tolist(), strict=True), judged.scores, strict=True))
    expected = {}
    for original in range(3):
        others = originals != original
        fitted = [row for row in range(60) if min((each[row] & others).sum() for each in (forgotten, unseen)) >= fewest]
        inside, outside = ([side[row, others] for row in fitted] for side in (forgotten, unseen))
        groups = [[log_odds[row, others][chosen] for row, chosen in zip(fitted, side, strict=True)]
                  for side in (inside, outside)]  # fmt: skip
        widths = [np.sqrt(sum(((v - v.mean()) ** 2).sum() for v in side) / sum(len(v) - 1 for v in side))
                  for side in groups]  # fmt: skip
        for row, of_in, of_out in zip(fitted, *groups, strict=True):
            s_in, s_out = (of_in.std(ddof=1), of_out.std(ddof=1)) if spread == "per-sample" else widths
            s_out = s_in if spread == "shared" else s_out
            for run in np.flatnonzero(~others & (forgotten[row] | unseen[row])):
                value = log_odds[row, run]
                expected[row, int(run)] = stats.norm.logpdf(value, of_in.mean(), s_in) - stats.norm.logpdf(
                    value, of_out.mean(), s_out
                )
    assert found == pytest.approx(expected)
    assert judged.is_member.tolist() == forgotten[judged.images, judged.runs].tolist()


def test_an_original_is_not_judged_by_what_its_own_runs_say():
    log_odds, forgotten, unseen, originals = unlearned(np.random.default_rng(0))
    before = u_lira(log_odds, forgotten, unseen, originals)
    seen_by_none = int(np.flatnonzero(unseen[:, 0])[0])
    log_odds[seen_by_none, originals == 0] += 100
    after = u_lira(log_odds, forgotten, unseen, originals)
    own = originals[before.runs] == 0
    untouched = before.images != seen_by_none
    assert (after.scores == before.scores)[own & untouched].all()
    assert (after.scores != before.scores)[~own].all()  # the pooled spread of all others has changed


@pytest.mark.parametrize(("originals", "spread"), [(62, "pooled"), (64, "per-sample")])
def test_u_lira_counts_originals_not_their_runs_where_spreads_become_per_sample(originals, spread):
    """Each is half of a pair, and forgets every image of its half in one of its runs."""
    generator = np.random.default_rng(0)
    seen = np.repeat(pairs(generator, 20, originals), 4, axis=1)
    forgotten = seen & (np.arange(4 * originals) % 4 == np.arange(20)[:, None] % 4)
    arguments = generator.normal(size=seen.shape), forgotten, ~seen, np.arange(4 * originals) // 8
    assert u_lira(*arguments).scores.tolist() == u_lira(*arguments, spread=spread).scores.tolist()


@pytest.mark.parametrize("leak", [0.0, 1.0, -1.0])
def test_u_lira_finds_what_unlearning_left_or_overdid_and_nothing_where_it_is_exact(leak):
    log_odds, forgotten, unseen, originals = unlearned(np.random.default_rng(1), 1000, 20, leak=leak)
    judged = u_lira(log_odds, forgotten, unseen, originals)
    origin = originals[judged.runs]
    aucs = []
    for original in range(10):
        scores, members = judged.scores[origin == original], judged.is_member[origin == original]
        aucs.append(attack_auc(scores[members], scores[~members]))
    low, high = t_interval(aucs, 0.99)
    assert high - low < 0.05
    assert low <= 0.5 <= high if leak == 0 else low > 0.65


def test_u_lira_leaves_out_images_that_the_other_originals_do_not_label_and_says_so_if_that_is_all():
    """Image 0 was forgotten by Originals a and c, image 1 by a alone; the others never saw them."""
    values = np.random.default_rng(0).normal(size=(2, 8))
    originals = np.repeat(["a", "b", "c", "d"], 2)
    forgotten = np.array([np.isin(originals, ["a", "c"]), originals == "a"])
    judged = u_lira(values, forgotten, ~forgotten, originals)
    pairs = set(zip(judged.images.tolist(), originals[judged.runs].tolist(), strict=True))
    assert pairs == {(0, "a"), (0, "b"), (0, "c"), (0, "d"), (1, "b"), (1, "c"), (1, "d")}
    with pytest.raises(Unresolved, match="Originals other than"):
        u_lira(values, forgotten, ~forgotten, np.full(8, "a"))


def test_u_lira_refuses_labels_that_contradict_each_other_and_labelled_entries_that_are_no_numbers():
    log_odds, forgotten, unseen, originals = unlearned(np.random.default_rng(0), images=20)
    with pytest.raises(ValueError, match="both forgotten and unseen"):
        u_lira(log_odds, forgotten, forgotten | unseen, originals)
    with pytest.raises(ValueError, match="24 runs, but Originals"):
        u_lira(log_odds, forgotten, unseen, originals[1:])
    log_odds[unseen] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        u_lira(log_odds, forgotten, unseen, originals)
